// Putting integers, bytes and text into a buffer in network byte order; shared by the files that build packets.

/** Bytes, or text that is sent as UTF-8. */
export type Bytes = Uint8Array | string;

/** Writes the low 16 bits of `value`, most significant byte first, and returns where they end. */
export function put16(buffer: Uint8Array, at: number, value: number): number {
  buffer[at] = value >>> 8;
  buffer[at + 1] = value;
  return at + 2;
}

/** Writes the low 32 bits of `value`, most significant byte first, and returns where they end. */
export function put32(buffer: Uint8Array, at: number, value: number): number {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
  return at + 4;
}

const encoder = new TextEncoder();

/** Writes bytes or text and returns where it ends. */
export function writeBytes(bytes: Bytes, buffer: Uint8Array, at: number): number {
  const data = typeof bytes === 'string' ? encoder.encode(bytes) : bytes;
  buffer.set(data, at);
  return at + data.length;
}
