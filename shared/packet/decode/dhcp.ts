// DHCPv4 (RFC 2131, 2132) and DHCPv6 (RFC 8415): a host asks for an address, or gives it back.
import { i32, u16 } from '../bytes.ts';

export const DhcpPort = { SERVER: 67, CLIENT: 68, CLIENT_V6: 546, SERVER_V6: 547 } as const;
export const DhcpOption = { OVERLOAD: 52, MESSAGE_TYPE: 53, CLIENT_ID: 61 } as const;

/** Message types with a meaning for the session; those of version 6 are its own numbers. */
export const DhcpType = { DISCOVER: 1, REQUEST: 3, ACK: 5, RELEASE: 7 } as const;
export const Dhcp6Type = { SOLICIT: 1, REQUEST: 3, RELEASE: 8, RELAY_FORWARD: 12, RELAY_REPLY: 13 } as const;
const Dhcp6Option = { CLIENT_ID: 1, RELAYED: 9 } as const;

/** Offsets of fields in the fixed part of a DHCPv4 message. */
export const DhcpField = { HARDWARE_LENGTH: 2, CLIENT_ADDRESS: 12, YOUR_ADDRESS: 16, HARDWARE_ADDRESS: 28 } as const;

/** Server name (64 bytes), file (128 bytes) and the options' cookie (RFC 2131 section 2). */
const nameOffset = 44;
const fileOffset = 108;
const cookieOffset = 236;
const cookie = 0x63825363;
const optionsLimit = 256;
/** A relay's header, and how many relays may pass a message on (RFC 8415 sections 9, 7.6). */
const relayHeader = 34;
const relaysLimit = 8;

/** The DHCPv4 message type at `offset`, or -1. */
export function readDhcp(buffer: Uint8Array, offset: number, end: number): number {
  const option = findDhcpOption(buffer, offset, end, DhcpOption.MESSAGE_TYPE, 1);
  return option < 0 ? -1 : buffer[option];
}

/** The DHCPv6 message type at `offset`, or -1. What a relay passes on is not looked into: it is the relay's message. */
export function readDhcp6(buffer: Uint8Array, offset: number, end: number): number {
  return offset < end ? buffer[offset] : -1;
}

/**
 * Offset of the value of the first option `code` with at least `length` bytes, or -1. `offset` is the message's start.
 * Options may go on in the fields for file and server name, if the message says so (RFC 2131 section 4.1).
 */
export function findDhcpOption(buffer: Uint8Array, offset: number, end: number, code: number, length: number): number {
  const options = offset + cookieOffset;
  if (end - options < 4 || i32(buffer, options) !== cookie) return -1;
  const found = searchOptions(buffer, options + 4, end, code, length);
  if (found >= 0) return found;
  const option = searchOptions(buffer, options + 4, end, DhcpOption.OVERLOAD, 1);
  const overload = option < 0 ? 0 : buffer[option];
  const inFile = (overload & 1) === 0 ? -1 : searchOptions(buffer, offset + fileOffset, options, code, length);
  if (inFile >= 0 || (overload & 2) === 0) return inFile;
  return searchOptions(buffer, offset + nameOffset, offset + fileOffset, code, length);
}

/**
 * Offset of the client's DUID in the DHCPv6 message at `offset`, or -1; its length stands in the two bytes before it. It is
 * looked for in what relays pass on, too.
 */
export function findDuid(buffer: Uint8Array, offset: number, end: number): number {
  let message = offset;
  let stop = end;
  for (let relays = 0; relays <= relaysLimit && message < stop; relays++) {
    const type = buffer[message];
    const isRelay = type === Dhcp6Type.RELAY_FORWARD || type === Dhcp6Type.RELAY_REPLY;
    const wanted = isRelay ? Dhcp6Option.RELAYED : Dhcp6Option.CLIENT_ID;
    const found = searchOptions6(buffer, message + (isRelay ? relayHeader : 4), stop, wanted);
    if (found < 0 || !isRelay) return found;
    message = found;
    stop = found + u16(buffer, found - 2);
  }
  return -1;
}

/** Offset of the value of the first option `code` that is not empty, or -1. */
function searchOptions6(buffer: Uint8Array, from: number, end: number, code: number): number {
  let at = from;
  for (let count = 0; count < optionsLimit && end - at >= 4; count++) {
    const length = u16(buffer, at + 2);
    if (end - at - 4 < length) return -1;
    if (u16(buffer, at) === code) return length > 0 ? at + 4 : -1;
    at += 4 + length;
  }
  return -1;
}

function searchOptions(buffer: Uint8Array, from: number, end: number, code: number, length: number): number {
  let at = from;
  for (let count = 0; count < optionsLimit && at < end; count++) {
    const option = buffer[at];
    if (option === 255) return -1;
    if (option === 0) {
      at++;
      continue;
    }
    if (end - at < 2) return -1;
    const optionLength = buffer[at + 1];
    if (end - at - 2 < optionLength) return -1;
    if (option === code) return optionLength >= length ? at + 2 : -1;
    at += 2 + optionLength;
  }
  return -1;
}
