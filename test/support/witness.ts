// What servers wrote down of the generated packets that they got (witnessHandler.ts), put together: packets that nobody got, those that
// somebody got twice without being told so, and flows whose packets came out of order.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A note: number of the packet, with a bit for possible repeats, and number of its flow. */
export const noteBytes = 8;
export const repeatBit = 0x8000_0000;

export interface Testimony {
  /** Different packets that some server got. */
  readonly got: number;
  /** The first numbers below `sent` that nobody got, and how many there are. */
  readonly missing: number;
  readonly firstMissing: readonly number[];
  /** Packets that came again, with the mark of a possible repeat and without it. */
  readonly repeated: number;
  readonly doubled: number;
  /** Packets that came after a later one of the same flow at the same server. */
  readonly disordered: number;
  /** Flows of which one server got a packet that lies before what another one had got by then; possible repeats do not count. */
  readonly crossed: number;
}

/** Reads what is in the folder, of packets numbered from 0 up to `sent`. */
export function readTestimony(folder: string, sent: number): Testimony {
  const seen = new Uint8Array(sent);
  let [got, repeated, doubled, disordered] = [0, 0, 0, 0];
  /** By flow, the first and the last packet of each server, without possible repeats. */
  const spans = new Map<number, { first: number; last: number }[]>();
  const again: number[] = [];
  for (const name of readdirSync(folder).sort()) {
    const bytes = readFileSync(join(folder, name));
    const own = new Map<number, { first: number; last: number }>();
    const newest = new Map<number, number>();
    for (let at = 0; at + noteBytes <= bytes.length; at += noteBytes) {
      const word = bytes.readUInt32BE(at);
      const id = word & ~repeatBit;
      const isMarked = (word & repeatBit) !== 0;
      if (seen[id] === 0) got++;
      else again.push(id);
      // Which copy is read first says nothing, so a mark on any of them counts.
      seen[id] |= isMarked ? 3 : 1;
      const flow = bytes.readUInt32BE(at + 4);
      if (id < (newest.get(flow) ?? 0)) disordered++;
      else newest.set(flow, id);
      if (isMarked) continue;
      const span = own.get(flow);
      if (span === undefined) own.set(flow, { first: id, last: id });
      else span.last = Math.max(span.last, id);
    }
    for (const [flow, span] of own) spans.set(flow, [...(spans.get(flow) ?? []), span]);
  }
  for (const id of again) {
    if ((seen[id] & 2) !== 0) repeated++;
    else doubled++;
  }
  const firstMissing: number[] = [];
  for (let id = 0; id < sent && firstMissing.length < 20; id++) if (seen[id] === 0) firstMissing.push(id);
  let crossed = 0;
  for (const each of spans.values()) {
    each.sort((one, other) => one.first - other.first);
    if (each.some(({ first }, index) => index > 0 && first <= each[index - 1].last)) crossed++;
  }
  return { got, missing: sent - got, firstMissing, repeated, doubled, disordered, crossed };
}
