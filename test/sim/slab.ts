// Copies of short messages, side by side in larger buffers: a buffer of its own costs a message twenty times as much.

const slabBytes = 65_536;
let slab = new Uint8Array(slabBytes);
let used = 0;

/** A copy of `bytes`, in memory that it shares with others made at about the same time. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  if (bytes.length > slabBytes >> 4) return bytes.slice();
  if (used + bytes.length > slabBytes) {
    slab = new Uint8Array(slabBytes);
    used = 0;
  }
  const copy = slab.subarray(used, used + bytes.length);
  copy.set(bytes);
  used += bytes.length;
  return copy;
}
