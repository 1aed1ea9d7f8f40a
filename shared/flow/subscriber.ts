// Whose flow a signalling packet is about, under the subscriber policy.
//
// RADIUS and DHCP messages travel between servers, yet they are about a subscriber; to start that subscriber's flow at
// the right server they have to be keyed by his address and not by the servers'. A RADIUS Accounting-Request is keyed by
// its Framed-IP-Address (RFC 2865 section 5.8); a DHCPv4 message by the requested address (option 50), else by the
// address the server gives (yiaddr), else by the one the client has (ciaddr), else by the client's MAC address. A
// DISCOVER without a wish and the OFFER that answers it are therefore keyed differently: nobody knows the address yet.

import { i32 } from '../packet/bytes.ts';
import { DhcpField, DhcpOption, findDhcpOption } from '../packet/decode/dhcp.ts';
import { Fragment, type IpLayer } from '../packet/decode/headers.ts';
import { findAttribute, RadiusAttribute } from '../packet/decode/radius.ts';
import { FrameFlags, ProtocolClass, protocolClassShift } from './frameFlags.ts';

/** What `SubscriberHint.find` found. */
export const HintKind = { NONE: 0, ADDRESS: 1, MAC: 2 } as const;

/** Looks into signalling; `offset` is where the IPv4 or MAC address stands, valid until the next call. */
export class SubscriberHint {
  offset = 0;

  /** Returns a HintKind. `flags` are those that `classify` gave the packet. */
  find(buffer: Uint8Array, layer: IpLayer, flags: number): number {
    // A fragment is keyed like its fellows, which carry no message to look into.
    if ((flags & FrameFlags.TYPE1) === 0 || layer.fragment !== Fragment.WHOLE) return HintKind.NONE;
    const message = layer.payload + 8;
    const protocolClass = (flags >> protocolClassShift) & 15;
    if (protocolClass === ProtocolClass.RADIUS) {
      this.offset = findAttribute(buffer, message, layer.end, RadiusAttribute.FRAMED_IP_ADDRESS);
      return this.offset < 0 ? HintKind.NONE : HintKind.ADDRESS;
    }
    if (protocolClass !== ProtocolClass.DHCP || layer.version !== 4 || layer.end - message < 44) return HintKind.NONE;
    return this.#findDhcp(buffer, message, layer.end);
  }

  #findDhcp(buffer: Uint8Array, message: number, end: number): number {
    const requested = findDhcpOption(buffer, message, end, DhcpOption.REQUESTED_ADDRESS, 4);
    const given = message + DhcpField.YOUR_ADDRESS;
    const own = message + DhcpField.CLIENT_ADDRESS;
    if (requested >= 0 && i32(buffer, requested) !== 0) this.offset = requested;
    else if (i32(buffer, given) !== 0) this.offset = given;
    else if (i32(buffer, own) !== 0) this.offset = own;
    else if (buffer[message + DhcpField.HARDWARE_LENGTH] === 6) {
      this.offset = message + DhcpField.HARDWARE_ADDRESS;
      return HintKind.MAC;
    } else return HintKind.NONE;
    return HintKind.ADDRESS;
  }
}
