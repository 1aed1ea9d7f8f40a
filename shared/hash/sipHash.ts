// SipHash-2-4, the keyed 64-bit hash of strings and other short messages where speed does not matter.
//
// Placements turn names of servers and groups into seeds with it: a seed is needed once for each member of a view,
// never for a packet. JavaScript has no 64-bit integers worth the name outside of BigInt, so the four words of the
// state lie in one Uint32Array as pairs, the low half first.
//
// Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), section 2.

/** A 64-bit hash as two unsigned 32-bit halves. */
export interface Hash64 {
  readonly hi: number;
  readonly lo: number;
}

/**
 * Hashes `message` under the 16 bytes of `key`. The reference implementation writes the result little-endian: `lo`
 * first.
 *
 * @throws RangeError when the key does not have 16 bytes.
 */
export function sipHash24(key: Uint8Array, message: Uint8Array): Hash64 {
  if (key.length !== 16) throw new RangeError(`a SipHash key has 16 bytes, not ${key.length}`);
  const k0lo = word(key, 0);
  const k0hi = word(key, 4);
  const k1lo = word(key, 8);
  const k1hi = word(key, 12);
  // "somepseudorandomlygeneratedbytes"
  const state = Uint32Array.of(
    k0lo ^ 0x70736575,
    k0hi ^ 0x736f6d65,
    k1lo ^ 0x6e646f6d,
    k1hi ^ 0x646f7261,
    k0lo ^ 0x6e657261,
    k0hi ^ 0x6c796765,
    k1lo ^ 0x79746573,
    k1hi ^ 0x74656462,
  );

  const whole = message.length & ~7;
  for (let at = 0; at < whole; at += 8) absorb(state, word(message, at), word(message, at + 4));

  // The last block holds the bytes that are left and, on top, the length of the message.
  const last = new Uint8Array(8);
  last.set(message.subarray(whole));
  last[7] = message.length & 0xff;
  absorb(state, word(last, 0), word(last, 4));

  state[V2] ^= 0xff;
  for (let round = 0; round < 4; round++) sipRound(state);
  return {
    lo: (state[V0] ^ state[V1] ^ state[V2] ^ state[V3]) >>> 0,
    hi: (state[V0 + 1] ^ state[V1 + 1] ^ state[V2 + 1] ^ state[V3 + 1]) >>> 0,
  };
}

const V0 = 0;
const V1 = 2;
const V2 = 4;
const V3 = 6;

function absorb(state: Uint32Array, lo: number, hi: number): void {
  state[V3] ^= lo;
  state[V3 + 1] ^= hi;
  sipRound(state);
  sipRound(state);
  state[V0] ^= lo;
  state[V0 + 1] ^= hi;
}

function sipRound(state: Uint32Array): void {
  add(state, V0, V1);
  rotateXor(state, V1, 13, V0);
  swapHalves(state, V0);
  add(state, V2, V3);
  rotateXor(state, V3, 16, V2);
  add(state, V0, V3);
  rotateXor(state, V3, 21, V0);
  add(state, V2, V1);
  rotateXor(state, V1, 17, V2);
  swapHalves(state, V2);
}

/** target += source */
function add(state: Uint32Array, target: number, source: number): void {
  const lo = state[target] + state[source];
  state[target + 1] += state[source + 1] + (lo > 0xffffffff ? 1 : 0);
  state[target] = lo;
}

/** target = (target <<< bits) ^ source, with bits below 32 */
function rotateXor(state: Uint32Array, target: number, bits: number, source: number): void {
  const lo = state[target];
  const hi = state[target + 1];
  state[target] = ((lo << bits) | (hi >>> (32 - bits))) ^ state[source];
  state[target + 1] = ((hi << bits) | (lo >>> (32 - bits))) ^ state[source + 1];
}

/** target <<<= 32 */
function swapHalves(state: Uint32Array, target: number): void {
  const lo = state[target];
  state[target] = state[target + 1];
  state[target + 1] = lo;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}
