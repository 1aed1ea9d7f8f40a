// Which tunnel a GTP message is for, and which subscriber's: the endpoint identifier (TEID) in its header, and what the
// messages that create a session say of the ends.
//
// A TEID is chosen by the end that receives by it, and is unique there; so a tunnel is known by the receiver's address and the
// TEID, on each of the two planes for itself. Most messages carry it in their header. The first request of a session cannot,
// because the receiver has chosen none yet: it has 0, and says in an element by which TEID its sender wants to be answered. The
// answer goes to where the request came from, with that TEID; so request and answer name the same endpoint.
//
//   GTPv2-C        |ver|P|T|...| type | length       | TEID (if T)               | sequence, spare | elements
//   GTPv1-C, -U    |ver|1|0|E|S|N| type | length     | TEID                      | (sequence, N-PDU, next) if any of E, S, N
//
// Sources: 3GPP TS 29.274 (version 2), TS 29.060 (version 1), TS 29.281 (user plane). GTP' and version 0 have no TEID.
import { i32, u16 } from '../../bytes.ts';
import { GtpPort } from '../gtp.ts';
import type { IpLayer } from '../headers.ts';
import { Protocol } from '../transport.ts';

const userPort = 2152;
const udpHeader = 8;
const elementsLimit = 128;
const extensionsLimit = 16;

const errorIndication = 26;
/** First requests that name the sender's endpoint: PDP context, SGSN context, relocation; session, context, relocation, forwarding. */
const firstRequests1: readonly number[] = [16, 50, 53];
const firstRequests2: readonly number[] = [32, 130, 133, 166];
const createPdp = 16;
const createSession = 32;

const Element1 = { TEID_DATA: 16, TEID_CONTROL: 17, END_USER_ADDRESS: 128, PEER_ADDRESS: 133 } as const;
const Element2 = { ADDRESS_ALLOCATION: 79, TUNNEL_ENDPOINT: 87 } as const;

/** Lengths of version 1's elements that do not say theirs, by type (TS 29.060 section 7.7); 0 for those that there are none of. */
const fixedLengths = new Uint8Array(128);
for (const [type, length] of [
  [1, 1],
  [2, 8],
  [3, 6],
  [4, 4],
  [5, 4],
  [8, 1],
  [9, 28],
  [11, 1],
  [12, 3],
  [13, 1],
  [14, 1],
  [15, 1],
  [16, 4],
  [17, 4],
  [18, 5],
  [19, 1],
  [20, 1],
  [21, 1],
  [22, 9],
  [23, 1],
  [24, 1],
  [25, 2],
  [26, 2],
  [27, 2],
  [28, 2],
  [29, 1],
  [127, 4],
]) {
  fixedLengths[type] = length;
}

/** What was found in one message. Filled in place; what is an offset is valid as long as the packet's bytes are. */
export class GtpTunnel {
  /** Offset of the TEID, and of the address of the end that receives by it, of IP version `version`. */
  teid = 0;
  receiver = 0;
  version = 4;
  isControl = false;
  /** Offset of the subscriber's address, of version `subscriberVersion`. */
  subscriber = 0;
  subscriberVersion = 4;
  /** Of the element found last. */
  #length = 0;

  /** Finds the tunnel of the UDP packet with the IP header `layer`. False where there is none. */
  find(buffer: Uint8Array, layer: IpLayer): boolean {
    if (layer.protocol !== Protocol.UDP) return false;
    const message = layer.payload + udpHeader;
    if (layer.end - message < 8) return false;
    const length = u16(buffer, layer.payload + 4) - udpHeader;
    this.version = layer.version;
    this.receiver = layer.target;
    this.teid = message + 4;
    if (layer.targetPort === userPort) {
      this.isControl = false;
      return this.#findUser(buffer, layer, message, length);
    }
    if (layer.targetPort !== GtpPort.CONTROL && layer.sourcePort !== GtpPort.CONTROL) return false;
    this.isControl = true;
    return this.#findControl(buffer, layer, message, length);
  }

  /** Finds the subscriber's address in the GTP-C message at `message` that creates a session, or in its answer. */
  findSubscriber(buffer: Uint8Array, message: number, end: number): boolean {
    if (end - message < 8) return false;
    const type = buffer[message + 1];
    if (buffer[message] >> 5 === 2) {
      if ((type & ~1) !== createSession) return false;
      return this.#allocated(buffer, this.#element2(buffer, message, end, Element2.ADDRESS_ALLOCATION));
    }
    if (!isVersion1(buffer[message]) || (type & ~1) !== createPdp) return false;
    return this.#endUser(buffer, this.#element1(buffer, message, end, Element1.END_USER_ADDRESS));
  }

  #findUser(buffer: Uint8Array, layer: IpLayer, message: number, length: number): boolean {
    if (!isVersion1(buffer[message]) || u16(buffer, message + 2) + 8 > length) return false;
    if (buffer[message + 1] !== errorIndication) return i32(buffer, this.teid) !== 0;
    // It is about the tunnel by which its sender got a packet.
    this.teid = this.#element1(buffer, message, layer.end, Element1.TEID_DATA);
    if (this.teid < 0 || i32(buffer, this.teid) === 0) return false;
    const address = this.#element1(buffer, message, layer.end, Element1.PEER_ADDRESS);
    const isSameVersion = address >= 0 && this.#length === (layer.version === 4 ? 4 : 16);
    this.receiver = isSameVersion ? address : layer.source;
    return true;
  }

  #findControl(buffer: Uint8Array, layer: IpLayer, message: number, length: number): boolean {
    const flags = buffer[message];
    const type = buffer[message + 1];
    const isVersion2 = flags >> 5 === 2;
    if (isVersion2 ? (flags & 8) === 0 : !isVersion1(flags)) return false;
    if (u16(buffer, message + 2) + (isVersion2 ? 4 : 8) > length) return false;
    if (i32(buffer, this.teid) !== 0) return true;
    if (!(isVersion2 ? firstRequests2 : firstRequests1).includes(type)) return false;
    // The interface's type comes first in version 2's element.
    const element = isVersion2
      ? this.#element2(buffer, message, layer.end, Element2.TUNNEL_ENDPOINT) + 1
      : this.#element1(buffer, message, layer.end, Element1.TEID_CONTROL);
    if (element < 1 || this.#length < (isVersion2 ? 5 : 4) || i32(buffer, element) === 0) return false;
    this.teid = element;
    this.receiver = layer.source;
    return true;
  }

  /** PDN Address Allocation (TS 29.274 section 8.14): type, then IPv4; prefix length and IPv6; or both, IPv6 first. */
  #allocated(buffer: Uint8Array, at: number): boolean {
    if (at < 0 || this.#length < 1) return false;
    const type = buffer[at] & 7;
    if (type === 1) return this.#subscriberAt(buffer, at + 1, this.#length - 1, -1, 0);
    if (type === 2) return this.#subscriberAt(buffer, -1, 0, at + 2, this.#length - 2);
    return type === 3 && this.#subscriberAt(buffer, at + 18, this.#length - 18, at + 2, this.#length - 2);
  }

  /** End User Address (TS 29.060 section 7.7.27): organisation, type (0x21 IPv4, 0x57 IPv6, 0x8d both), addresses. */
  #endUser(buffer: Uint8Array, at: number): boolean {
    if (at < 0 || this.#length < 2 || (buffer[at] & 15) !== 1) return false;
    const type = buffer[at + 1];
    if (type === 0x21) return this.#subscriberAt(buffer, at + 2, this.#length - 2, -1, 0);
    if (type === 0x57) return this.#subscriberAt(buffer, -1, 0, at + 2, this.#length - 2);
    return type === 0x8d && this.#subscriberAt(buffer, at + 2, this.#length - 2, at + 6, this.#length - 6);
  }

  /** Takes the IPv4 address if it is there and not all zeros (to be assigned), else the IPv6 address likewise. */
  #subscriberAt(buffer: Uint8Array, at4: number, length4: number, at6: number, length6: number): boolean {
    if (length4 >= 4 && i32(buffer, at4) !== 0) {
      this.subscriber = at4;
      this.subscriberVersion = 4;
      return true;
    }
    if (length6 < 16) return false;
    this.subscriber = at6;
    this.subscriberVersion = 6;
    for (let word = 0; word < 16; word += 4) if (i32(buffer, at6 + word) !== 0) return true;
    return false;
  }

  /** Offset of the first element `type`, instance 0, of a version 2 message, or a number below -1; its length in `#length`. */
  #element2(buffer: Uint8Array, message: number, end: number, type: number): number {
    const stop = Math.min(end, message + 4 + u16(buffer, message + 2));
    let at = message + ((buffer[message] & 8) === 0 ? 8 : 12);
    for (let count = 0; count < elementsLimit && stop - at >= 4; count++) {
      const length = u16(buffer, at + 1);
      if (stop - at - 4 < length) return none;
      if (buffer[at] === type && (buffer[at + 3] & 15) === 0) {
        this.#length = length;
        return at + 4;
      }
      at += 4 + length;
    }
    return none;
  }

  /** The same for a version 1 message, where types below 128 have a length of their own. */
  #element1(buffer: Uint8Array, message: number, end: number, type: number): number {
    const stop = Math.min(end, message + 8 + u16(buffer, message + 2));
    let at = skipExtensions(buffer, message, stop);
    for (let count = 0; count < elementsLimit && at >= 0 && stop - at >= 3; count++) {
      const element = buffer[at];
      const isFixed = element < 128;
      const length = isFixed ? fixedLengths[element] : u16(buffer, at + 1);
      const value = at + (isFixed ? 1 : 3);
      if ((isFixed && length === 0) || stop - value < length) return none;
      if (element === type) {
        this.#length = length;
        return value;
      }
      at = value + length;
    }
    return none;
  }
}

/** No element; one byte behind it is still no offset. */
const none = -2;

/** Version 1, and not GTP', the charging protocol. */
function isVersion1(flags: number): boolean {
  return flags >> 5 === 1 && (flags & 0x10) !== 0;
}

/** Where the elements of a version 1 message begin, or -1. */
function skipExtensions(buffer: Uint8Array, message: number, stop: number): number {
  const flags = buffer[message];
  if ((flags & 7) === 0) return message + 8;
  let at = message + 12;
  if (stop < at) return -1;
  let next = (flags & 4) === 0 ? 0 : buffer[at - 1];
  for (let count = 0; next !== 0; count++) {
    const length = at < stop ? buffer[at] << 2 : 0;
    if (length === 0 || stop - at < length || count === extensionsLimit) return -1;
    at += length;
    next = buffer[at - 1];
  }
  return at;
}
