// The giving side of a fetch: a replica that follows the log offers its state to those that look for some, and answers them. It never stops for that: a part is a raw copy of
// what it has at the moment, with its position, and the next one is sent when it is asked for.
//
// A part is asked for at a position that is not below a given one. Where this replica has not come so far yet, the request waits a moment.

import type { LiveState } from '../../../shared/membership/gossip.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { Replica } from '../replica/replica.ts';
import { rankOf } from './donorChoice.ts';
import { chunkBytes, type Get, globalPart, joinSlices, type Offer, type Part } from './messages.ts';

/** Slices are put into one part until they are so many bytes. */
const partBytes = 192 * 1024;
const waitingMax = 64;
const waitsMs = 2_000;

interface Waiting {
  readonly get: Get;
  readonly sinceMs: number;
}

export class Donor {
  /** Parts sent so far. */
  parts = 0;
  readonly #self: Life;
  readonly #send: (server: string, part: Part) => void;
  #waiting: Waiting[] = [];

  constructor(self: Life, send: (server: string, part: Part) => void) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#send = send;
  }

  /** What to answer somebody who looks for state. `state`: where the member of this replica stands. */
  offer(
    to: Life & { readonly nonce: number },
    replica: Replica | undefined,
    state: LiveState | undefined,
  ): Offer | undefined {
    if (replica?.epoch === undefined || isLifeOf(to, this.#self)) return undefined;
    const { position, epoch } = replica;
    const line = { epochNumber: epoch.number, epoch: epoch.id, position };
    return { ...this.#self, kind: 'offer', nonce: to.nonce, rank: rankOf(state), ...line };
  }

  /** Somebody asks. `replica`: what can be given; undefined when this one needs state itself. */
  onGet(get: Get, replica: Replica | undefined, nowMs: number): void {
    if (replica === undefined || replica.epoch?.id !== get.epoch) return;
    if (replica.position >= get.position) this.#answer(get, replica);
    else if (this.#waiting.length < waitingMax) this.#waiting.push({ get, sinceMs: nowMs });
  }

  /** The replica has come further, or time has passed. */
  advance(replica: Replica | undefined, nowMs: number): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) {
      const { get, sinceMs } = each;
      if (replica === undefined || replica.epoch?.id !== get.epoch || nowMs - sinceMs > waitsMs) continue;
      if (replica.position >= get.position) this.#answer(get, replica);
      else this.#waiting.push(each);
    }
  }

  #answer(get: Get, replica: Replica): void {
    const { first, last, nonce } = get;
    const slices: Uint8Array[] = [];
    let bytes = 0;
    for (let slice = first; slice !== globalPart && slice <= last && bytes < partBytes; slice++) {
      const copy = replica.snapshotSlice(slice);
      bytes += copy.length;
      slices.push(copy);
    }
    const whole = first === globalPart ? replica.snapshotGlobal() : joinSlices(slices);
    const count = Math.max(1, slices.length);
    const chunks = Math.max(1, Math.ceil(whole.length / chunkBytes));
    for (let chunk = 0; chunk < chunks; chunk++) {
      this.parts++;
      this.#send(get.server, {
        ...this.#self,
        kind: 'part',
        nonce,
        first,
        count,
        position: replica.position,
        mark: replica.mark,
        chunk,
        chunks,
        bytes: whole.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes),
      });
    }
  }
}
