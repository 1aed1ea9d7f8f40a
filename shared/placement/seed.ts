// Seeds from names: what makes one member's answers to the flows different from another's.
//
// A seed comes from the name alone, not from the position in a list and not from the incarnation. So a list may come in
// any order, a newcomer changes nobody else's seed, and a server that was restarted gets back the share it had.

import { type Hash64, sipHash24 } from '../hash/sipHash.ts';

/** What a seed is for; the same name under two purposes gives unrelated seeds. */
export type SeedPurpose = 'rendezvous' | 'maglev' | 'slot' | 'link';

/** The 64-bit seed of `name` under the u32 `seed` of a group (or 0), for one purpose. */
export function seedOf(seed: number, purpose: SeedPurpose, name: string): Hash64 {
  const key = new Uint8Array(16);
  new DataView(key.buffer).setUint32(0, seed >>> 0, true);
  key.set(encoder.encode(purpose), 4);
  return sipHash24(key, encoder.encode(name));
}

/** Order of names that depends on nothing but the names: by code unit, never by locale. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const encoder = new TextEncoder();
