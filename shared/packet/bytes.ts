// Network byte order out of a byte array. Bounds are the caller's business: every reader checks the window it was given
// before it reads, so that no result depends on bytes outside the packet.

/** Two bytes, 0 to 65535. */
export function u16(buffer: Uint8Array, offset: number): number {
  return (buffer[offset] << 8) | buffer[offset + 1];
}

/** Four bytes as an int32: addresses and identifiers stay small integers this way. */
export function i32(buffer: Uint8Array, offset: number): number {
  return (buffer[offset] << 24) | (buffer[offset + 1] << 16) | (buffer[offset + 2] << 8) | buffer[offset + 3];
}
