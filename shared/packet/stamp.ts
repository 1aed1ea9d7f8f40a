// The stamp that the traffic generator puts behind a packet, by which servers can say which packet they got.
//
// It is a trailer: the last 16 bytes of the packet as it travels through the cluster, behind what its own headers say is
// its end, as timestamping switches append theirs. So every packet can have one, also those without room for a payload
// (TCP SYN, SCTP INIT), no header changes, and it is found without reading any header.
//
//        end-16          end-12          end-8           end-4           end
//   ... ──+───────────────+───────────────+───────────────+───────────────+
//         | "FHst"        | run           | id            | flow          |   u32 each, network byte order
//         +───────────────+───────────────+───────────────+───────────────+
//
//   run    drawn at random by each run of a generator: tells the packets of several apart
//   id     counts the packets of that run from 0
//   flow   counts the flows of that run from 0; the packets of a SYN flood, which have no others with them, from 2^31

export const stampBytes = 16;
const magic = 0x46_48_73_74;

/** A stamp as numbers. Readers fill one object again and again. */
export interface Stamp {
  run: number;
  id: number;
  flow: number;
}

/** Writes a stamp at buffer[at .. at + stampBytes); the values are taken modulo 2^32. */
export function writeStamp(buffer: Uint8Array, at: number, run: number, id: number, flow: number): void {
  put32(buffer, at, magic);
  put32(buffer, at + 4, run);
  put32(buffer, at + 8, id);
  put32(buffer, at + 12, flow);
}

/** Reads the stamp of the packet data[start .. end) into `stamp`. False, and nothing written, when it has none. */
export function readStamp(data: Uint8Array, start: number, end: number, stamp: Stamp): boolean {
  const at = end - stampBytes;
  if (at < start || end > data.length || get32(data, at) !== magic) return false;
  stamp.run = get32(data, at + 4);
  stamp.id = get32(data, at + 8);
  stamp.flow = get32(data, at + 12);
  return true;
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
