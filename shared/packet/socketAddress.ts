// Addresses as sockets give them: text, one for each datagram. Read into bytes without making anything on the way; the
// forms that people write are for addressText.ts.

import { parseAddress } from './addressText.ts';

const dot = 0x2e;
const colon = 0x3a;

/** Writes the 4 bytes of `192.0.2.1` to target[at ..]; false, and rubbish there, when it is no such address. */
export function readIpv4Text(text: string, target: Uint8Array, at: number): boolean {
  let value = 0;
  let digits = 0;
  let parts = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : dot;
    if (code === dot) {
      if (digits === 0 || value > 255 || parts === 4) return false;
      target[at + parts++] = value;
      value = 0;
      digits = 0;
    } else {
      if (code < 0x30 || code > 0x39 || ++digits > 3) return false;
      value = value * 10 + code - 0x30;
    }
  }
  return parts === 4;
}

/**
 * Writes the 16 bytes of `2001:db8::1` to target[at ..], less the zone that follows a `%`; false, and rubbish there, when
 * it is no such address.
 */
export function readIpv6Text(text: string, target: Uint8Array, at: number): boolean {
  const zone = text.indexOf('%');
  const end = zone < 0 ? text.length : zone;
  let words = 0;
  let gap = -1;
  let value = 0;
  let digits = 0;
  for (let i = 0; i <= end; i++) {
    const code = i < end ? text.charCodeAt(i) : colon;
    if (code === dot) return readDottedTail(text.slice(0, end), target, at);
    if (code !== colon) {
      const digit = hexDigit(code);
      if (digit < 0 || ++digits > 4) return false;
      value = value * 16 + digit;
    } else if (digits > 0) {
      if (words === 8) return false;
      target[at + 2 * words] = value >>> 8;
      target[at + 2 * words + 1] = value;
      words++;
      value = 0;
      digits = 0;
    } else if (i === end) {
      // Nothing between the last colon and the end: right behind a double colon only.
      if (gap !== words) return false;
    } else if (i > 0) {
      if (gap >= 0) return false;
      gap = words;
    } else if (text.charCodeAt(1) !== colon) {
      return false;
    }
  }
  if (gap < 0) return words === 8;
  if (words === 8) return false;
  const tail = 2 * (words - gap);
  target.copyWithin(at + 16 - tail, at + 2 * gap, at + 2 * words);
  target.fill(0, at + 2 * gap, at + 16 - tail);
  return true;
}

/** A dotted tail (`::ffff:192.0.2.1`) is no address of a client that came over IPv6, so it may take its time. */
function readDottedTail(text: string, target: Uint8Array, at: number): boolean {
  try {
    target.set(parseAddress(text), at);
    return true;
  } catch {
    return false;
  }
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
