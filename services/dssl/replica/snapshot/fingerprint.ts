// A short sum over values in their order, by which replicas compare what they hold. Not a defence against anybody: it finds
// defects.

import { mix32 } from '../../../../shared/hash/mix.ts';
import { idleNames } from '../../../../shared/membership/idleLimits.ts';
import type { View } from '../../../../shared/membership/view.ts';

export class Fingerprint {
  #low = 0x1b87_3593;
  #high = 0x3c6e_f372;

  /** A finite number; undefined counts as another one than all of them. */
  number(value: number | undefined): this {
    if (value === undefined) return this.#word(0x7fff_fffe);
    // Whole numbers up to 2^53 are told apart by both halves; what is behind the point does not count.
    return this.#word(value | 0).#word(Math.floor(value / 4_294_967_296) | 0);
  }

  text(value: string): this {
    this.#word(value.length);
    for (let at = 0; at < value.length; at++) this.#word(value.charCodeAt(at));
    return this;
  }

  /** Below 2^53. */
  get value(): number {
    return (this.#high >>> 11) * 4_294_967_296 + (this.#low >>> 0);
  }

  #word(word: number): this {
    this.#low = mix32(this.#low ^ word);
    this.#high = (mix32(this.#high ^ word) + this.#low) | 0;
    return this;
  }
}

/** The sum over a view, in whatever order its fields lie. */
export function viewFingerprint({ group, number, placement, seed, rules, members }: View): number {
  const sum = new Fingerprint().text(group).number(number).text(placement).number(seed);
  sum
    .text(rules.availability)
    .text(rules.typeOneMethod)
    .text(rules.midFlow)
    .text(rules.time)
    .number(rules.maxFlows)
    .number(+rules.tableFirst);
  for (const name of idleNames) sum.number(rules.idle[name]);
  for (const member of members) {
    sum.text(member.server).number(member.incarnation).number(member.number).text(member.state);
    sum.number(member.weight).number(member.base).number(member.flows);
    sum
      .text(member.standsFor?.join() ?? ' ')
      .text(member.inPlaceOf ?? '')
      .text(member.movesTo ?? '');
  }
  return sum.value;
}
