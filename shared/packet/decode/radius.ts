// RADIUS accounting (RFC 2866): an access server reports that a subscriber came or went.
import { i32, u16 } from '../bytes.ts';

export const RadiusPort = { ACCOUNTING: 1813, ACCOUNTING_OLD: 1646 } as const;
export const RadiusAttribute = { FRAMED_IP_ADDRESS: 8, ACCT_STATUS_TYPE: 40 } as const;

/** What an accounting message means to the session it belongs to. */
export const RadiusMessage = { NOT_ACCOUNTING: -1, OTHER: 0, START: 1, STOP: 2 } as const;

const accountingRequest = 4;
const attributesLimit = 256;
/** RFC 2865 section 3. */
const maxMessage = 4096;

/** Reads the message at `offset`, which has `length` bytes by its UDP header; checked like a GTP message. */
export function readAccounting(buffer: Uint8Array, offset: number, end: number, length: number): number {
  // A message that was cut off is taken for what its port says.
  if (end - offset < 4) return RadiusMessage.OTHER;
  const code = buffer[offset];
  const messageLength = u16(buffer, offset + 2);
  if (messageLength < 20 || messageLength > maxMessage || messageLength > length) return RadiusMessage.NOT_ACCOUNTING;
  if (code !== accountingRequest) return RadiusMessage.OTHER;
  const status = findAttribute(buffer, offset, end, RadiusAttribute.ACCT_STATUS_TYPE);
  if (status < 0) return RadiusMessage.OTHER;
  const value = i32(buffer, status);
  return value === 1 ? RadiusMessage.START : value === 2 ? RadiusMessage.STOP : RadiusMessage.OTHER;
}

/** Offset of the four-byte value of the first attribute `type`, or -1. `offset` is where the message starts. */
export function findAttribute(buffer: Uint8Array, offset: number, end: number, type: number): number {
  if (end - offset < 20) return -1;
  const stop = Math.min(end, offset + u16(buffer, offset + 2));
  let at = offset + 20;
  for (let count = 0; count < attributesLimit && stop - at >= 2; count++) {
    const length = buffer[at + 1];
    if (length < 2) return -1;
    if (buffer[at] === type) return length === 6 && stop - at >= 6 ? at + 2 : -1;
    at += length;
  }
  return -1;
}
