// HalfSipHash with a 64-bit key and a 64-bit result: the keyed hash of flow and group keys.
//
// Whoever sends packets must not be able to choose flows that collide or that all land on one server, so the hash needs a
// secret. HalfSipHash is the member of the SipHash family made of 32-bit words, which is what JavaScript computes fast
// without BigInt. It stands between strangers and a hash table; it is no signature, and its 64-bit key no long-term secret.
// For that use 1 round a word and 3 to finish are enough (HalfSipHash-1-3, as the Linux kernel hashes its tables); nobody
// outside sees a hash. With 2 and 4 rounds it is the reference.
//
// Source: J.-P. Aumasson's reference implementation (github.com/veorq/SipHash, halfsiphash.c), whose test vectors it meets.
// A hash is written to the fields `hi` and `lo` as int32, because small integers are stored without an allocation.

/** One key and the last result. `lo` holds the first four bytes of the reference's output, `hi` the last four. */
export class HalfSipHash {
  hi = 0;
  lo = 0;
  readonly #v0: number;
  readonly #v1: number;
  readonly #v2: number;
  readonly #v3: number;
  readonly #turns: number;
  readonly #endTurns: number;

  /**
   * `key0` and `key1` are the first and last four bytes of the key, read little-endian. `turns` and `endTurns` are the
   * rounds for each word and the rounds that finish half a result: 2 and 4 in the reference.
   */
  constructor(key0: number, key1: number, turns = 1, endTurns = 3) {
    this.#turns = turns;
    this.#endTurns = endTurns;
    this.#v0 = key0 | 0;
    this.#v1 = key1 ^ 0xee;
    this.#v2 = key0 ^ 0x6c796765;
    this.#v3 = key1 ^ 0x74656462;
  }

  /**
   * Hashes `count` 32-bit words (each standing for its four bytes, little-endian) and then the `tailLength` (0 to 3) low
   * bytes of `tail`, lowest first. Bits of `tail` above that must be zero.
   */
  hash(words: Int32Array, count: number, tail: number, tailLength: number): void {
    const turns = this.#turns;
    const endTurns = this.#endTurns;
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    const last = (((count << 2) + tailLength) << 24) | tail;
    // One turn a word, one for the tail with the length, then the two finishing turns of four rounds each.
    for (let index = 0; index <= count; index++) {
      const word = index < count ? words[index] : last;
      v3 ^= word;
      for (let round = 0; round < turns; round++) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      v0 ^= word;
    }
    v2 ^= 0xee;
    for (let round = 0; round < 2 * endTurns; round++) {
      if (round === endTurns) {
        this.lo = v1 ^ v3;
        v1 ^= 0xdd;
      }
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.hi = v1 ^ v3;
  }

  /**
   * Two hashes at once, of which one is the beginning of the other: `words[0, count)` with `tail` under this key, and
   * `words[0, count - 1)` with `otherTail` under the key of `other`, of which only `other.lo` is set. Both tails have
   * two bytes. The rounds of one hash wait for each other, those of two do not, so the second comes nearly for free:
   * 35 ns for both, where one after the other take 100. Only for keys with 1 and 3 rounds.
   */
  hashBoth(words: Int32Array, count: number, tail: number, other: HalfSipHash, otherTail: number): void {
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    let w0 = other.#v0;
    let w1 = other.#v1;
    let w2 = other.#v2;
    let w3 = other.#v3;
    const shared = count - 1;
    for (let index = 0; index < shared; index++) {
      const word = words[index];
      v3 ^= word;
      w3 ^= word;
      v0 = (v0 + v1) | 0;
      w0 = (w0 + w1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      w1 = ((w1 << 5) | (w1 >>> 27)) ^ w0;
      v0 = (v0 << 16) | (v0 >>> 16);
      w0 = (w0 << 16) | (w0 >>> 16);
      v2 = (v2 + v3) | 0;
      w2 = (w2 + w3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      w3 = ((w3 << 8) | (w3 >>> 24)) ^ w2;
      v0 = (v0 + v3) | 0;
      w0 = (w0 + w3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      w3 = ((w3 << 7) | (w3 >>> 25)) ^ w0;
      v2 = (v2 + v1) | 0;
      w2 = (w2 + w1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      w1 = ((w1 << 13) | (w1 >>> 19)) ^ w2;
      v2 = (v2 << 16) | (v2 >>> 16);
      w2 = (w2 << 16) | (w2 >>> 16);
      v0 ^= word;
      w0 ^= word;
    }
    const word = words[shared];
    const otherLast = (((shared << 2) + 2) << 24) | otherTail;
    v3 ^= word;
    w3 ^= otherLast;
    v0 = (v0 + v1) | 0;
    w0 = (w0 + w1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    w1 = ((w1 << 5) | (w1 >>> 27)) ^ w0;
    v0 = (v0 << 16) | (v0 >>> 16);
    w0 = (w0 << 16) | (w0 >>> 16);
    v2 = (v2 + v3) | 0;
    w2 = (w2 + w3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    w3 = ((w3 << 8) | (w3 >>> 24)) ^ w2;
    v0 = (v0 + v3) | 0;
    w0 = (w0 + w3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    w3 = ((w3 << 7) | (w3 >>> 25)) ^ w0;
    v2 = (v2 + v1) | 0;
    w2 = (w2 + w1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    w1 = ((w1 << 13) | (w1 >>> 19)) ^ w2;
    v2 = (v2 << 16) | (v2 >>> 16);
    w2 = (w2 << 16) | (w2 >>> 16);
    v0 ^= word;
    w0 ^= otherLast;
    const last = (((count << 2) + 2) << 24) | tail;
    v3 ^= last;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= last;
    v2 ^= 0xee;
    w2 ^= 0xee;
    for (let round = 0; round < 3; round++) {
      v0 = (v0 + v1) | 0;
      w0 = (w0 + w1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      w1 = ((w1 << 5) | (w1 >>> 27)) ^ w0;
      v0 = (v0 << 16) | (v0 >>> 16);
      w0 = (w0 << 16) | (w0 >>> 16);
      v2 = (v2 + v3) | 0;
      w2 = (w2 + w3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      w3 = ((w3 << 8) | (w3 >>> 24)) ^ w2;
      v0 = (v0 + v3) | 0;
      w0 = (w0 + w3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      w3 = ((w3 << 7) | (w3 >>> 25)) ^ w0;
      v2 = (v2 + v1) | 0;
      w2 = (w2 + w1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      w1 = ((w1 << 13) | (w1 >>> 19)) ^ w2;
      v2 = (v2 << 16) | (v2 >>> 16);
      w2 = (w2 << 16) | (w2 >>> 16);
    }
    this.lo = v1 ^ v3;
    other.lo = w1 ^ w3;
    v1 ^= 0xdd;
    for (let round = 0; round < 3; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.hi = v1 ^ v3;
  }

  /**
   * `hashBoth` for three words, which is what an IPv4 five-tuple has. Written out, without a loop over the words: that keeps
   * everything in registers, and takes 28 ns where the general one takes 35.
   */
  hashBothOfThree(
    first: number,
    second: number,
    third: number,
    tail: number,
    other: HalfSipHash,
    otherTail: number,
  ): void {
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    let w0 = other.#v0;
    let w1 = other.#v1;
    let w2 = other.#v2;
    let w3 = other.#v3;
    // The lengths: three words and two bytes, two words and two bytes.
    const last = (14 << 24) | tail;
    const otherLast = (10 << 24) | otherTail;
    v3 ^= first;
    w3 ^= first;
    v0 = (v0 + v1) | 0;
    w0 = (w0 + w1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    w1 = ((w1 << 5) | (w1 >>> 27)) ^ w0;
    v0 = (v0 << 16) | (v0 >>> 16);
    w0 = (w0 << 16) | (w0 >>> 16);
    v2 = (v2 + v3) | 0;
    w2 = (w2 + w3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    w3 = ((w3 << 8) | (w3 >>> 24)) ^ w2;
    v0 = (v0 + v3) | 0;
    w0 = (w0 + w3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    w3 = ((w3 << 7) | (w3 >>> 25)) ^ w0;
    v2 = (v2 + v1) | 0;
    w2 = (w2 + w1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    w1 = ((w1 << 13) | (w1 >>> 19)) ^ w2;
    v2 = (v2 << 16) | (v2 >>> 16);
    w2 = (w2 << 16) | (w2 >>> 16);
    v0 ^= first;
    w0 ^= first;
    v3 ^= second;
    w3 ^= second;
    v0 = (v0 + v1) | 0;
    w0 = (w0 + w1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    w1 = ((w1 << 5) | (w1 >>> 27)) ^ w0;
    v0 = (v0 << 16) | (v0 >>> 16);
    w0 = (w0 << 16) | (w0 >>> 16);
    v2 = (v2 + v3) | 0;
    w2 = (w2 + w3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    w3 = ((w3 << 8) | (w3 >>> 24)) ^ w2;
    v0 = (v0 + v3) | 0;
    w0 = (w0 + w3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    w3 = ((w3 << 7) | (w3 >>> 25)) ^ w0;
    v2 = (v2 + v1) | 0;
    w2 = (w2 + w1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    w1 = ((w1 << 13) | (w1 >>> 19)) ^ w2;
    v2 = (v2 << 16) | (v2 >>> 16);
    w2 = (w2 << 16) | (w2 >>> 16);
    v0 ^= second;
    w0 ^= second;
    v3 ^= third;
    w3 ^= otherLast;
    v0 = (v0 + v1) | 0;
    w0 = (w0 + w1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    w1 = ((w1 << 5) | (w1 >>> 27)) ^ w0;
    v0 = (v0 << 16) | (v0 >>> 16);
    w0 = (w0 << 16) | (w0 >>> 16);
    v2 = (v2 + v3) | 0;
    w2 = (w2 + w3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    w3 = ((w3 << 8) | (w3 >>> 24)) ^ w2;
    v0 = (v0 + v3) | 0;
    w0 = (w0 + w3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    w3 = ((w3 << 7) | (w3 >>> 25)) ^ w0;
    v2 = (v2 + v1) | 0;
    w2 = (w2 + w1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    w1 = ((w1 << 13) | (w1 >>> 19)) ^ w2;
    v2 = (v2 << 16) | (v2 >>> 16);
    w2 = (w2 << 16) | (w2 >>> 16);
    v0 ^= third;
    w0 ^= otherLast;
    v3 ^= last;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= last;
    v2 ^= 0xee;
    w2 ^= 0xee;
    for (let round = 0; round < 3; round++) {
      v0 = (v0 + v1) | 0;
      w0 = (w0 + w1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      w1 = ((w1 << 5) | (w1 >>> 27)) ^ w0;
      v0 = (v0 << 16) | (v0 >>> 16);
      w0 = (w0 << 16) | (w0 >>> 16);
      v2 = (v2 + v3) | 0;
      w2 = (w2 + w3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      w3 = ((w3 << 8) | (w3 >>> 24)) ^ w2;
      v0 = (v0 + v3) | 0;
      w0 = (w0 + w3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      w3 = ((w3 << 7) | (w3 >>> 25)) ^ w0;
      v2 = (v2 + v1) | 0;
      w2 = (w2 + w1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      w1 = ((w1 << 13) | (w1 >>> 19)) ^ w2;
      v2 = (v2 << 16) | (v2 >>> 16);
      w2 = (w2 << 16) | (w2 >>> 16);
    }
    this.lo = v1 ^ v3;
    other.lo = w1 ^ w3;
    v1 ^= 0xdd;
    for (let round = 0; round < 3; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.hi = v1 ^ v3;
  }

  /** Hashes a string of bytes. For configuration and tests; it allocates. */
  hashBytes(bytes: Uint8Array): void {
    const count = bytes.length >> 2;
    const words = new Int32Array(count);
    for (let index = 0; index < count; index++) words[index] = littleEndian(bytes, index << 2, 4);
    this.hash(words, count, littleEndian(bytes, count << 2, bytes.length & 3), bytes.length & 3);
  }
}

function littleEndian(bytes: Uint8Array, offset: number, length: number): number {
  let word = 0;
  for (let index = 0; index < length; index++) word |= bytes[offset + index] << (index << 3);
  return word;
}
