// The outside of everything that one replica gives to another: what it is, in which version, and a checksum over the content.
//
//   [ name, version, checksum, content ]
//
// The bytes come over the network. Whatever is wrong with them is an answer, never an exception.

import { Packr } from 'msgpackr';
import { mix32 } from '../../../../shared/hash/mix.ts';

const packr = new Packr({ useRecords: false });
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

export function seal(name: string, version: number, fields: readonly unknown[]): Uint8Array {
  const content = packr.pack(fields);
  return Uint8Array.from(packr.pack([name, version, checksum(content), content]));
}

/** The fields that were sealed, `count` of them; undefined when it is anything else, or damaged. */
export function unseal(name: string, version: number, count: number, bytes: Uint8Array): unknown[] | undefined {
  const outside = unpack(bytes);
  if (outside?.length !== 4 || outside[0] !== name || outside[1] !== version) return undefined;
  const content = outside[3];
  if (!(content instanceof Uint8Array) || outside[2] !== checksum(content)) return undefined;
  const fields = unpack(content);
  return fields?.length === count ? fields : undefined;
}

/** Words as bytes, little-endian. */
export function bytesOfWords(words: Int32Array): Uint8Array {
  const bytes = Buffer.from(words.slice().buffer);
  return isLittleEndian ? bytes : bytes.swap32();
}

/** The words again; undefined when the bytes are no whole number of `wordsEach` words. */
export function wordsOfBytes(bytes: unknown, wordsEach: number): Int32Array | undefined {
  if (!(bytes instanceof Uint8Array) || bytes.length % (4 * wordsEach) !== 0) return undefined;
  const copy = Buffer.from(Uint8Array.from(bytes).buffer);
  if (!isLittleEndian) copy.swap32();
  return new Int32Array(copy.buffer, copy.byteOffset, copy.length / 4);
}

function unpack(bytes: Uint8Array): unknown[] | undefined {
  try {
    const value: unknown = packr.unpack(bytes);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function checksum(bytes: Uint8Array): number {
  let low = bytes.length | 0;
  let high = 0;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    low = mix32(low ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)));
    high = (Math.imul(high, 31) + low) | 0;
  }
  for (; at < bytes.length; at++) low = mix32(low ^ bytes[at]);
  return (high >>> 11) * 4_294_967_296 + (low >>> 0);
}
