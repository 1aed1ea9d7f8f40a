// MurmurHash3_x64_128 of one 16-byte block (two 64-bit words), first half of the result: the hash that katran's rings
// are permuted by. Public domain algorithm by Austin Appleby.

const mask = (1n << 64n) - 1n;
const c1 = 0x87c37b91114253d5n;
const c2 = 0x4cf5ad432745937fn;

export function murmur3x64(a: bigint, b: bigint, seed: bigint): bigint {
  let h1 = seed;
  let h2 = seed;
  h1 ^= (rotate((a * c1) & mask, 31n) * c2) & mask;
  h1 = ((rotate(h1, 27n) + h2) * 5n + 0x52dce729n) & mask;
  h2 ^= (rotate((b * c2) & mask, 33n) * c1) & mask;
  h2 = ((rotate(h2, 31n) + h1) * 5n + 0x38495ab5n) & mask;
  h1 ^= 16n;
  h2 ^= 16n;
  h1 = (h1 + h2) & mask;
  h2 = (h2 + h1) & mask;
  return (finish(h1) + finish(h2)) & mask;
}

function rotate(x: bigint, bits: bigint): bigint {
  return ((x << bits) | (x >> (64n - bits))) & mask;
}

function finish(x: bigint): bigint {
  x = ((x ^ (x >> 33n)) * 0xff51afd7ed558ccdn) & mask;
  x = ((x ^ (x >> 33n)) * 0xc4ceb9fe1a85ec53n) & mask;
  return x ^ (x >> 33n);
}
