// DHCPv4 (RFC 2131, 2132) and DHCPv6 (RFC 8415): a host asks for an address, or gives it back.
import { i32 } from './bytes.ts';

export const DhcpPort = { SERVER: 67, CLIENT: 68, CLIENT_V6: 546, SERVER_V6: 547 } as const;
export const DhcpOption = { REQUESTED_ADDRESS: 50, MESSAGE_TYPE: 53 } as const;

/** Message types with a meaning for the session; those of version 6 are its own numbers. */
export const DhcpType = { DISCOVER: 1, REQUEST: 3, RELEASE: 7 } as const;
export const Dhcp6Type = { SOLICIT: 1, REQUEST: 3, RELEASE: 8 } as const;

/** Offsets of fields in the fixed part of a DHCPv4 message. */
export const DhcpField = { HARDWARE_LENGTH: 2, CLIENT_ADDRESS: 12, YOUR_ADDRESS: 16, HARDWARE_ADDRESS: 28 } as const;

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

/** Offset of the value of the first option `code` with at least `length` bytes, or -1. `offset` is the message's start. */
export function findDhcpOption(buffer: Uint8Array, offset: number, end: number, code: number, length: number): number {
  let at = offset + cookieOffset;
  if (end - at < 4 || i32(buffer, at) !== cookie) return -1;
  at += 4;
  for (let count = 0; count < optionsLimit && at < end; count++) {
    const option = buffer[at];
    if (option === 255) return -1;
    if (option === 0) {
      at++;
      continue;
    }
    if (end - at < 2) return -1;
    const optionLength = buffer[at + 1];
    if (option === code) return optionLength >= length && end - at - 2 >= length ? at + 2 : -1;
    at += 2 + optionLength;
  }
  return -1;
}
