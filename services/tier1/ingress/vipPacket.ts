// From a datagram to the packet that brought it. A socket hands out the payload and the client's address; the rest of the
// cluster reads packets, as it does from a capture. So the headers are made again: raw IP (LINKTYPE 101) and UDP, from
// the client to the VIP, with right lengths and checksums. What the kernel has taken off is not known any more: TTL,
// traffic class, IP options, and into how many fragments the datagram was cut.

import { addWords, foldChecksum } from '../../../shared/packet/checksum.ts';
import { Protocol } from '../../../shared/packet/decode/transport.ts';
import { put16 } from '../../../shared/packet/encode/buildBytes.ts';
import { readIpv4Text, readIpv6Text } from '../../../shared/packet/socketAddress.ts';

/** LINKTYPE_RAW: the packet begins with its IP header. */
export const vipLinkType = 101;

const udpHeader = 8;
const hopLimit = 64;

/** Makes packets to one VIP, one after the other in the same buffer. */
export class VipPacket {
  /** The packet is buffer[0 .. what `write` returned). */
  readonly buffer: Uint8Array;
  readonly #addressBytes: number;
  /** Where the client's address, and the UDP header, begin. */
  readonly #client: number;
  readonly #udp: number;
  /** What stays the same in the sums: of the IPv4 header, and of the UDP checksum. */
  readonly #ipSum: number;
  readonly #udpSum: number;
  #lastClient: string | undefined;
  #clientSum = 0;

  /** `vip` has 4 or 16 bytes. */
  constructor(vip: Uint8Array, port: number) {
    const isIpv4 = vip.length === 4;
    this.#addressBytes = vip.length;
    this.#client = isIpv4 ? 12 : 8;
    this.#udp = isIpv4 ? 20 : 40;
    this.buffer = new Uint8Array(this.#udp + 0xffff);
    const { buffer } = this;
    if (isIpv4) {
      // A datagram that is not fragmented needs no identification (RFC 6864); "do not fragment" says that it is whole.
      buffer.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, hopLimit, Protocol.UDP], 0);
    } else {
      buffer.set([0x60, 0, 0, 0, 0, 0, Protocol.UDP, hopLimit], 0);
    }
    buffer.set(vip, this.#client + vip.length);
    buffer[this.#udp + 2] = port >>> 8;
    buffer[this.#udp + 3] = port;
    this.#ipSum = isIpv4 ? addWords(0, buffer, 0, 20) : 0;
    this.#udpSum = addWords(Protocol.UDP + port, vip, 0, vip.length);
  }

  /**
   * Writes the packet of a datagram of at most 65,527 bytes and returns its length, or 0 when `client` is no address of
   * the VIP's family.
   */
  write(client: string, clientPort: number, datagram: Uint8Array): number {
    const { buffer } = this;
    // Clients come in bursts, and reading an address costs more than knowing it again.
    if (client !== this.#lastClient && !this.#readClient(client)) return 0;
    const udp = this.#udp;
    const udpBytes = udpHeader + datagram.length;
    const end = udp + udpBytes;
    put16(buffer, udp, clientPort);
    put16(buffer, udp + 4, udpBytes);
    buffer.set(datagram, udp + udpHeader);
    // The length is part of the pseudo header and of the header (RFC 768, RFC 8200 section 8.1).
    const sum = this.#udpSum + this.#clientSum + clientPort + 2 * udpBytes;
    put16(buffer, udp + 6, foldChecksum(addWords(sum, buffer, udp + udpHeader, end)) || 0xffff);
    if (this.#addressBytes === 4) {
      put16(buffer, 2, end);
      put16(buffer, 10, foldChecksum(this.#ipSum + this.#clientSum + end));
    } else {
      put16(buffer, 4, udpBytes);
    }
    return end;
  }

  #readClient(client: string): boolean {
    const at = this.#client;
    this.#lastClient = undefined;
    const isRead =
      this.#addressBytes === 4 ? readIpv4Text(client, this.buffer, at) : readIpv6Text(client, this.buffer, at);
    if (!isRead) return false;
    this.#clientSum = addWords(0, this.buffer, at, at + this.#addressBytes);
    this.#lastClient = client;
    return true;
  }
}
