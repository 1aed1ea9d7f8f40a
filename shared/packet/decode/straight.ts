// The straight path through the usual packet: Ethernet II with at most one 802.1Q tag, then IPv4 without options and not a
// fragment, or IPv6 without extension headers, then TCP or UDP. Nearly all traffic is of this kind, and here it is read by
// one function without a loop, where the general parser (parse.ts) walks a chain of layers and notes what it passes.
//
// It is a shortcut and no second opinion: whatever is unusual in the least is left to the general parser, and what is found
// here is what that would find.
import { u16 } from '../bytes.ts';
import { EtherType } from './link/etherType.ts';
import { Protocol } from './transport.ts';

const ethernetHeader = 14;
const vlanTag = 4;
const ipv4Header = 20;
const ipv6Header = 40;
/** What of an upper header a key needs. */
const portsBytes = 4;
/** Version 4 and a header of five words. */
const plainIpv4 = 0x45;

/** A packet of the usual kind, as far as its keys need it. Filled again for every packet. */
export class StraightPacket {
  version = 4;
  /** Offset of the source address; the target address follows it. */
  source = 0;
  protocol: number = Protocol.UDP;
  sourcePort = 0;
  targetPort = 0;
  /** As in IpLayer. */
  tcpFlags = -1;

  /**
   * Reads the Ethernet frame in `buffer[start, end)`. False when it is of another kind, or not whole as far as that goes;
   * then the fields mean nothing, and the general parser has to say what it is.
   */
  read(buffer: Uint8Array, start: number, end: number): boolean {
    if (start < 0 || end > buffer.length || !(end - start >= ethernetHeader + ipv4Header + portsBytes)) return false;
    const type = u16(buffer, start + 12);
    if (type === EtherType.IPV4) return this.#readIpv4(buffer, start + ethernetHeader, end);
    if (type === EtherType.IPV6) return this.#readIpv6(buffer, start + ethernetHeader, end);
    return type === EtherType.VLAN && this.#readTagged(buffer, start + ethernetHeader, end);
  }

  #readTagged(buffer: Uint8Array, tag: number, end: number): boolean {
    const type = u16(buffer, tag + 2);
    if (type === EtherType.IPV4) return this.#readIpv4(buffer, tag + vlanTag, end);
    return type === EtherType.IPV6 && this.#readIpv6(buffer, tag + vlanTag, end);
  }

  #readIpv4(buffer: Uint8Array, offset: number, end: number): boolean {
    if (end - offset < ipv4Header + portsBytes || buffer[offset] !== plainIpv4) return false;
    // Not a fragment: neither an offset nor "more fragments" (RFC 791).
    if ((u16(buffer, offset + 6) & 0x3fff) !== 0) return false;
    this.version = 4;
    this.source = offset + 12;
    const packetEnd = offset + u16(buffer, offset + 2);
    return this.#readPorts(buffer, buffer[offset + 9], offset + ipv4Header, packetEnd < end ? packetEnd : end);
  }

  #readIpv6(buffer: Uint8Array, offset: number, end: number): boolean {
    if (end - offset < ipv6Header + portsBytes || buffer[offset] >> 4 !== 6) return false;
    this.version = 6;
    this.source = offset + 8;
    const payload = offset + ipv6Header;
    const packetEnd = payload + u16(buffer, offset + 4);
    return this.#readPorts(buffer, buffer[offset + 6], payload, packetEnd < end ? packetEnd : end);
  }

  #readPorts(buffer: Uint8Array, protocol: number, payload: number, packetEnd: number): boolean {
    const left = packetEnd - payload;
    if (left < portsBytes) return false;
    if (protocol === Protocol.TCP) {
      const word = left < 16 ? 0 : u16(buffer, payload + 12);
      this.tcpFlags = word < 0x5000 ? -1 : word & 0xfff;
    } else if (protocol !== Protocol.UDP) {
      return false;
    }
    this.protocol = protocol;
    this.sourcePort = u16(buffer, payload);
    this.targetPort = u16(buffer, payload + 2);
    return true;
  }
}
