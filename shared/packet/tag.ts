// The tag that generated packets carry, so that a receiver can tell which packet it has got, and whether any is
// missing, twice, out of order or at the wrong server, without knowing what was sent.
//
// It is the first 16 bytes of the TCP or UDP payload or of an SCTP DATA chunk, wherever these have room for it:
//
//   0               2               4               8              12              16
//   +---------------+---------------+---------------+---------------+---------------+
//   | magic "FH"    | run           | flow          | sequence      | total         |   network byte order
//   +---------------+---------------+---------------+---------------+---------------+
//
//   run       u16, derived from the seed: tells the packets of several generators apart
//   flow      u32, counts the flows of that generator from 0
//   sequence  u32, counts the packets of that flow from 0, those without a tag (TCP SYN, FIN, short packets) included
//   total     u32, packets this flow will have had when it ends, or 0 when it does not end

export const tagBytes = 16;
const magic = 0x4648;

/** A tag as numbers. Readers fill one object again and again. */
export interface TrafficTag {
  run: number;
  flow: number;
  sequence: number;
  total: number;
}

/** Writes a tag at `at`; the values are taken modulo their width. */
export function writeTag(
  buffer: Uint8Array,
  at: number,
  run: number,
  flow: number,
  sequence: number,
  total: number,
): void {
  buffer[at] = magic >>> 8;
  buffer[at + 1] = magic & 0xff;
  buffer[at + 2] = run >>> 8;
  buffer[at + 3] = run;
  put32(buffer, at + 4, flow);
  put32(buffer, at + 8, sequence);
  put32(buffer, at + 12, total);
}

/** Reads the tag at `at` into `tag`. False, and nothing written, when data[at..end) does not begin with one. */
export function readTag(data: Uint8Array, at: number, end: number, tag: TrafficTag): boolean {
  if (
    at < 0 ||
    end - at < tagBytes ||
    end > data.length ||
    data[at] !== magic >>> 8 ||
    data[at + 1] !== (magic & 0xff)
  ) {
    return false;
  }
  tag.run = (data[at + 2]! << 8) | data[at + 3]!;
  tag.flow = get32(data, at + 4);
  tag.sequence = get32(data, at + 8);
  tag.total = get32(data, at + 12);
  return true;
}

/**
 * Where the tag of a generated packet data[at..end) would be: after Ethernet (with VLAN tags), IPv4 or IPv6 without
 * extension headers, and TCP, UDP or SCTP with one DATA chunk. -1 for any other packet. It knows what the generator
 * makes, no more: a receiver with the parser at hand may use the parser's payload offset.
 */
export function tagOffset(data: Uint8Array, at: number, end: number): number {
  let next = at + 12;
  if (end > data.length || next + 2 > end) return -1;
  let etherType = (data[next]! << 8) | data[next + 1]!;
  while ((etherType === 0x8100 || etherType === 0x88a8) && next + 6 <= end) {
    next += 4;
    etherType = (data[next]! << 8) | data[next + 1]!;
  }
  const ip = next + 2;
  if (ip + 40 > end) return -1;
  const isIpv4 = etherType === 0x0800;
  if (!isIpv4 && etherType !== 0x86dd) return -1;
  const protocol = data[isIpv4 ? ip + 9 : ip + 6]!;
  const transport = isIpv4 ? ip + (data[ip]! & 15) * 4 : ip + 40;
  if (protocol === 17) return transport + 8 + tagBytes <= end ? transport + 8 : -1;
  if (protocol === 6 && transport + 20 <= end) {
    const payload = transport + (data[transport + 12]! >>> 4) * 4;
    return payload + tagBytes <= end ? payload : -1;
  }
  return protocol === 132 && transport + 28 + tagBytes <= end && data[transport + 12] === 0 ? transport + 28 : -1;
}

function put32(buffer: Uint8Array, at: number, value: number): void {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
}

function get32(data: Uint8Array, at: number): number {
  return ((data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!) >>> 0;
}
