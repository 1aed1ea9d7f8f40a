// -log2 of a hash, in fixed point.
//
// Weighted rendezvous hashing needs a logarithm, and `Math.log` may differ in the last bit from one engine to the next:
// two modules would then now and then disagree on the owner of a flow. Here the logarithm is a table of chords whose
// points are worked out with integers alone, so every engine has the same table and the same results.
//
//   hash   read as u = hash / 2^32, in (0, 1)
//   result -log2(u) in units of 2^-32, an integer in [1, 2^37 + 1]
//
// A result times a weight of 16 bits stays within 2^53, so two quotients score / weight are compared exactly by
// multiplying crosswise. The result falls strictly as the hash rises, so the order of two results is the order of the
// hashes. The chords err by less than 3 parts in 10,000 of the result (and one unit), also close to u = 1, where the
// winners are.

const INDEX_BITS = 10;
const REST_BITS = 31 - INDEX_BITS;
const REST_MASK = 2 ** REST_BITS - 1;
const REST_UNIT = 2 ** -REST_BITS;
const ONE = 2 ** 32;

/** -log2(hash / 2^32) in units of 2^-32 for any int32 `hash`, read unsigned; for 0 one more than for 1. */
export function negativeLog2(hash: number): number {
  if (hash === 0) return 32 * ONE + 1;
  const zeros = Math.clz32(hash);
  // The bits below the leading one, moved up to bit 30.
  const mantissa = (hash << zeros) & 0x7fffffff;
  const index = mantissa >>> REST_BITS;
  return zeros * ONE + above[index] - Math.floor(step[index] * (mantissa & REST_MASK) * REST_UNIT);
}

// above[i] = 1 - log2(1 + i / 2^INDEX_BITS) and step[i] = above[i] - above[i + 1], in units of 2^-32.
const above = new Float64Array(2 ** INDEX_BITS);
const step = new Float64Array(2 ** INDEX_BITS);

let next = 0;
for (let index = above.length - 1; index >= 0; index--) {
  above[index] = ONE - log2OfMantissa(BigInt(above.length + index) << BigInt(62 - INDEX_BITS));
  step[index] = above[index] - next;
  next = above[index];
}

/**
 * log2 of `mantissa` / 2^62, which lies in [1, 2), in units of 2^-32, rounded down: squaring doubles the logarithm, and
 * each time it passes 1 the next bit of the result is a one.
 */
function log2OfMantissa(mantissa: bigint): number {
  let result = 0;
  for (let bit = 0; bit < 32; bit++) {
    mantissa = (mantissa * mantissa) >> 62n;
    result *= 2;
    if (mantissa >> 63n) {
      mantissa >>= 1n;
      result += 1;
    }
  }
  return result;
}
