// The checksums that packets carry: the Internet checksum of IPv4, ICMP, TCP, UDP and DCCP, and the CRC32c of SCTP.
//
// Both work on a range of a buffer and allocate nothing. The Internet checksum (RFC 1071) is a sum of 16-bit words in
// one's complement, so that it may be taken in parts: add up ranges and single words in any order, fold once at the
// end.

/**
 * Adds the 16-bit words of data[from..to) to `sum`; a last odd byte counts as the upper half of a word. The sum of up
 * to 64 KiB stays far below 2^32 and needs no folding in between.
 */
export function addWords(sum: number, data: Uint8Array, from: number, to: number): number {
  let total = sum;
  let at = from;
  for (; at + 1 < to; at += 2) total += (data[at]! << 8) | data[at + 1]!;
  return at < to ? total + (data[at]! << 8) : total;
}

/** Folds a sum of 16-bit words into the checksum as it stands in the header (RFC 1071). */
export function foldChecksum(sum: number): number {
  let folded = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}

/** The Internet checksum of data[from..to). Zero when the range holds its own right checksum. */
export function internetChecksum(data: Uint8Array, from: number, to: number): number {
  return foldChecksum(addWords(0, data, from, to));
}

const crcTable = makeCrcTable();

/**
 * The CRC32c (Castagnoli) of data[from..to), unsigned. SCTP stores it in the byte order in which it was reflected, that
 * is little-endian (RFC 9260, appendix A), taken with its own field as zero.
 */
export function crc32c(data: Uint8Array, from: number, to: number): number {
  let crc = -1;
  for (let at = from; at < to; at++) crc = crcTable[(crc ^ data[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

function makeCrcTable(): Int32Array {
  const table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    table[byte] = crc;
  }
  return table;
}
