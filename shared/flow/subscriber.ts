// Whose flow a signalling packet is about, under the subscriber policy.
//
// Signalling travels between servers, yet it is about a subscriber; to start that subscriber's flow at the right server it
// has to be keyed by his address and not by the servers'.
//
//   RADIUS Accounting-Request     Framed-IP-Address (RFC 2865 section 5.8)
//   GTP-C create, and its answer  the address that the session has: PAA, End User Address. A request that leaves it open, as
//                                 most do, is keyed by its own addresses; its answer says which it is
//   DHCPv4 ACK, RELEASE           the address: yiaddr, else ciaddr
//   DHCPv4, all other messages    the client: its hardware address, else its client id (RFC 2132 section 9.14). So DISCOVER, OFFER
//                                 and REQUEST of one client go together, and the ACK that settles the address goes to the
//                                 server of the subscriber's packets
//   DHCPv6                        the client's DUID, in all messages, also in those that a relay passes on
//
// An IPv6 address counts with all its bits: where a subscriber has a prefix and not an address, his packets are as many flows
// as he uses addresses.

import { i32 } from '../packet/bytes.ts';
import {
  DhcpField,
  DhcpOption,
  DhcpPort,
  DhcpType,
  findDhcpOption,
  findDuid,
  readDhcp,
} from '../packet/decode/dhcp.ts';
import { Fragment, type IpLayer } from '../packet/decode/headers.ts';
import { GtpTunnel } from '../packet/decode/messages/gtpTunnel.ts';
import { findAttribute, RadiusAttribute } from '../packet/decode/radius.ts';
import { FrameFlags, ProtocolClass, protocolClassShift } from './frameFlags.ts';

/** What `SubscriberHint.find` found. */
export const HintKind = { NONE: 0, ADDRESS: 1, HARDWARE: 2, CLIENT_ID: 3, DUID: 4 } as const;

/** The longest hardware address that DHCPv4 has room for. */
export const hardwareBytes = 16;

/** Looks into signalling; what it finds is valid until the next call. */
export class SubscriberHint {
  kind: number = HintKind.NONE;
  /** Where it stands: the address, of IP version `version`, or `length` bytes of the client's name. */
  offset = 0;
  version = 4;
  length = 0;
  readonly #gtp = new GtpTunnel();

  /** Returns a HintKind. `flags` are those that `classify` gave the packet. */
  find(buffer: Uint8Array, layer: IpLayer, flags: number): number {
    this.kind = this.#find(buffer, layer, flags);
    return this.kind;
  }

  #find(buffer: Uint8Array, layer: IpLayer, flags: number): number {
    // A fragment is keyed like its fellows, which carry no message to look into.
    if ((flags & FrameFlags.TYPE1) === 0 || layer.fragment !== Fragment.WHOLE) return HintKind.NONE;
    const message = layer.payload + 8;
    const { end } = layer;
    this.version = 4;
    switch ((flags >> protocolClassShift) & 15) {
      case ProtocolClass.RADIUS:
        this.offset = findAttribute(buffer, message, end, RadiusAttribute.FRAMED_IP_ADDRESS);
        return this.offset < 0 ? HintKind.NONE : HintKind.ADDRESS;
      case ProtocolClass.GTP_C:
        if (!this.#gtp.findSubscriber(buffer, message, end)) return HintKind.NONE;
        this.offset = this.#gtp.subscriber;
        this.version = this.#gtp.subscriberVersion;
        return HintKind.ADDRESS;
      case ProtocolClass.DHCP:
        return isDhcp6(layer) ? this.#findDuid(buffer, message, end) : this.#findDhcp(buffer, message, end);
      default:
        return HintKind.NONE;
    }
  }

  #findDhcp(buffer: Uint8Array, message: number, end: number): number {
    if (end - message < 44) return HintKind.NONE;
    const type = readDhcp(buffer, message, end);
    if (type === DhcpType.ACK || type === DhcpType.RELEASE) {
      const given = message + DhcpField.YOUR_ADDRESS;
      this.offset = i32(buffer, given) !== 0 ? given : message + DhcpField.CLIENT_ADDRESS;
      if (i32(buffer, this.offset) !== 0) return HintKind.ADDRESS;
    }
    this.offset = message + DhcpField.HARDWARE_ADDRESS;
    this.length = Math.min(buffer[message + DhcpField.HARDWARE_LENGTH], hardwareBytes);
    for (let at = 0; at < this.length; at++) if (buffer[this.offset + at] !== 0) return HintKind.HARDWARE;
    this.offset = findDhcpOption(buffer, message, end, DhcpOption.CLIENT_ID, 2);
    if (this.offset < 0) return HintKind.NONE;
    this.length = buffer[this.offset - 1];
    return HintKind.CLIENT_ID;
  }

  #findDuid(buffer: Uint8Array, message: number, end: number): number {
    this.offset = findDuid(buffer, message, end);
    if (this.offset < 0) return HintKind.NONE;
    this.length = (buffer[this.offset - 2] << 8) | buffer[this.offset - 1];
    return HintKind.DUID;
  }
}

function isDhcp6({ sourcePort, targetPort }: IpLayer): boolean {
  return [sourcePort, targetPort].some((port) => port === DhcpPort.CLIENT_V6 || port === DhcpPort.SERVER_V6);
}
