// The one source of randomness: a small seeded generator that is passed in wherever chance is needed.
//
// Nothing in Flowherd calls Math.random: a run must be repeatable from its seed, whether it is a simulation, a traffic
// generator or the jitter of a timer. The generator is xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear
// pseudorandom number generators", 2018; https://prng.di.unimi.it/xoshiro128starstar.c): 128 bits of state, 32-bit
// integer arithmetic only, so that every engine gives the same numbers. It is not for secrets.
//
// Probabilities are ratios of integers, not fractions. Give every part of a program a fork of its own, by a label: then
// one more draw in one part does not change what the others see. The distributions at the end go through Math.log and
// Math.pow, whose last bit may differ between engines: round what they return and do not compare across engines.

/** A seed, as users give it: a number is used by its value, a string by its characters. */
export type Seed = number | string;

export class Prng {
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;
  /** What forks are derived from: the seed, not the state, so that a fork does not depend on the draws before it. */
  readonly #origin: string;

  constructor(seed: Seed) {
    this.#origin = String(seed);
    this.#seedFrom(this.#origin);
  }

  /**
   * Takes up where `state` was printed. Throws on text that is not 32 hex digits or is all zero. Forks follow `state`.
   */
  static fromState(state: string): Prng {
    if (!/^[0-9a-f]{32}$/.test(state) || /^0+$/.test(state)) throw new Error(`not the state of a generator: ${state}`);
    const prng = new Prng(state);
    const word = (i: number) => Number.parseInt(state.slice(8 * i, 8 * i + 8), 16) | 0;
    prng.#a = word(0);
    prng.#b = word(1);
    prng.#c = word(2);
    prng.#d = word(3);
    return prng;
  }

  /** The whole state as 32 hex digits, to be printed in a failure and given to fromState(). */
  get state(): string {
    return [this.#a, this.#b, this.#c, this.#d].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  /** The next 32 bits as a signed integer; the cheapest draw. */
  i32(): number {
    const b = this.#b;
    const times5 = Math.imul(b, 5);
    const result = Math.imul((times5 << 7) | (times5 >>> 25), 9);
    const c = this.#c ^ this.#a;
    const d = this.#d ^ b;
    this.#b = b ^ c;
    this.#a ^= d;
    this.#c = c ^ (b << 9);
    this.#d = (d << 11) | (d >>> 21);
    return result;
  }

  /** An integer from 0 to 2^32 - 1. */
  u32(): number {
    return this.i32() >>> 0;
  }

  /** An integer from 0 to n - 1, each exactly as likely; n is an integer from 1 to 2^32. */
  below(n: number): number {
    if (!(n >= 1 && n <= 0x1_0000_0000)) throw new RangeError(`below(${n}): not from 1 to 2^32`);
    if (n === 1) return 0;
    // Just as many high bits as n - 1 has, drawn again when too large: on average fewer than two draws, and no bias.
    const shift = Math.clz32(n - 1);
    for (;;) {
      const value = this.i32() >>> shift;
      if (value < n) return value;
    }
  }

  /** An integer from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** True in `numerator` of `denominator` cases: chance(0, d) never, chance(d, d) always. */
  chance(numerator: number, denominator: number): boolean {
    return this.below(denominator) < numerator;
  }

  /** One of the items. Throws on an empty list. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** The index of one of the weights (integers, not all 0), each as likely as its share of their sum. */
  pickWeighted(weights: readonly number[]): number {
    let sum = 0;
    for (const weight of weights) sum += weight;
    let left = this.below(sum);
    let index = 0;
    while (left >= weights[index]!) left -= weights[index++]!;
    return index;
  }

  /** Puts the items in random order, in place (Fisher and Yates), and returns them. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const other = this.below(i + 1);
      const item = items[i] as T;
      items[i] = items[other] as T;
      items[other] = item;
    }
    return items;
  }

  /** A generator of its own for one part of the program; the same seed and label give the same one at any time. */
  fork(label: Seed): Prng {
    return new Prng(`${this.#origin}/${label}`);
  }

  /** A fraction strictly between 0 and 1, in steps of 2^-32. */
  fraction(): number {
    return (this.u32() + 0.5) / 0x1_0000_0000;
  }

  /** Exponentially distributed with this mean: the gaps between independent arrivals (a Poisson process). */
  exponential(mean: number): number {
    return -mean * Math.log(this.fraction());
  }

  /**
   * Pareto distributed with the tail cut: from `min` to `max`, P(X > x) falls like x^-shape. Sizes of flows look like
   * this with a shape between 1 and 1.5: most are mice, most bytes are in elephants. Bounded Pareto by inversion.
   */
  pareto(min: number, max: number, shape: number): number {
    const u = this.fraction();
    return min * (1 - u * (1 - (min / max) ** shape)) ** (-1 / shape);
  }

  /** Spreads a text over the state: two running hashes in the manner of FNV-1a, then the finaliser of murmur3. */
  #seedFrom(text: string): void {
    let low = 0x811c9dc5 | 0;
    let high = 0x9e3779b9 | 0;
    for (let i = 0; i < text.length; i++) {
      low = Math.imul(low ^ text.charCodeAt(i), 0x01000193);
      high = Math.imul(high ^ text.charCodeAt(i) ^ (low >>> 15), 0x85ebca6b);
    }
    this.#a = mix(low);
    this.#b = mix(high);
    this.#c = mix(low + 0x9e3779b9);
    this.#d = mix(high + 0x3c6ef372);
    // The all-zero state is the one from which the generator never gets away.
    if ((this.#a | this.#b | this.#c | this.#d) === 0) this.#a = 1;
  }
}

/** The finaliser of murmur3: every bit of the input reaches every bit of the output. */
function mix(word: number): number {
  let mixed = word | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
