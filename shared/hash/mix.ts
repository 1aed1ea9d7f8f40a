// Fast integer mixing for the data plane: from a flow hash that is already good to as many independent-looking numbers
// as there are members.
//
// A placement asks, for one flow, one question per member: how well does this flow suit you? The answers must look
// random and independent, but nobody has to be kept from predicting them: the flow hash that goes in was keyed before.
// So a bijective mixer with a low bias is enough, and it has to cost a few nanoseconds. Everything is `Math.imul`,
// shift and xor on 32-bit integers, which every engine computes alike.

/**
 * Mixes the 32 bits of `x` (any int32) into an int32; bijective.
 *
 * Shifts and constants: Chris Wellons' hash-prospector, the best two-round mixers found
 * (github.com/skeeto/hash-prospector).
 */
export function mix32(x: number): number {
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0aaad);
  x ^= x >>> 15;
  x = Math.imul(x, 0xd35a2d97 | 0);
  return x ^ (x >>> 15);
}

/**
 * Mixes a 64-bit hash (`hi`, `lo`) with a 64-bit seed into an int32. Under two different seeds the results for one hash
 * look independent of each other, and independent of the bits of the hash itself, so that the choice of a group and the
 * choice of a member by the same hash do not go together.
 */
export function mixSeeded(hi: number, lo: number, seedHi: number, seedLo: number): number {
  return mix32(mix32(lo ^ seedLo) ^ hi ^ seedHi);
}
