// DHCPv4 (RFC 2131, 2132) and DHCPv6 (RFC 8415): a host asks for an address, or gives it back.
import { i32 } from '../bytes.ts';

export const DhcpPort = { SERVER: 67, CLIENT: 68, CLIENT_V6: 546, SERVER_V6: 547 } as const;
export const DhcpOption = { REQUESTED_ADDRESS: 50, OVERLOAD: 52, MESSAGE_TYPE: 53 } as const;

/** Message types with a meaning for the session; those of version 6 are its own numbers. */
export const DhcpType = { DISCOVER: 1, REQUEST: 3, RELEASE: 7 } as const;
export const Dhcp6Type = { SOLICIT: 1, REQUEST: 3, RELEASE: 8 } as const;

/** Offsets of fields in the fixed part of a DHCPv4 message. */
export const DhcpField = { HARDWARE_LENGTH: 2, CLIENT_ADDRESS: 12, YOUR_ADDRESS: 16, HARDWARE_ADDRESS: 28 } as const;

/** Server name (64 bytes), file (128 bytes) and the options' cookie (RFC 2131 section 2). */
const nameOffset = 44;
const fileOffset = 108;
const cookieOffset = 236;
const cookie = 0x63825363;
const optionsLimit = 256;

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
