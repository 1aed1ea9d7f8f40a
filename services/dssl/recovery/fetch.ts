// The taking side of a fetch: the one operation by which a replica gets state, be it to join, to mend a slice, or after it fell out of the log.
//
//   get global ─► part at g ─► replica restored at g, which stands still
//   get slices ─► part at q ─► slices restored                             one request outstanding at a time
//   no slice is missing ─► the reader goes on behind g; rows up to q are passed over for each slice ─► whole at the highest q
//
// The replica must not be ahead of what the peer has: a slice as it was before the replica's position is of no use. The peer goes on
// meanwhile, and may lag itself. So the reader stands still until all parts are here, for as long as the log keeps what lies between.
//
// Each part names the checksum of the entry at its position. Where the replica passes that position it compares: a part of another line of the
// log makes the fetch fail, and the caller begins again.

import type { Life } from '../../../shared/membership/transitions.ts';
import type { Replica } from '../replica/replica.ts';
import { type Get, globalPart, type Part, splitSlices } from './messages.ts';

/** A request without an answer is sent again after this, and after so many the peer is given up. */
const againMs = 700;
const triesMax = 4;
const lastSlice = 255;

export interface FetchPorts {
  send(server: string, get: Get): void;
  /** Makes a replica of a global part; undefined when it cannot be read. */
  restore(global: Uint8Array): Replica | undefined;
  /** A slice has been restored. */
  onSlice(replica: Replica, slice: number): void;
}

export type FetchState = 'global' | 'slices' | 'done' | 'failed';

export class Fetch {
  state: FetchState;
  readonly peer: Life;
  readonly epoch: string;
  /** What is fetched. */
  readonly slices: readonly number[];
  /** Undefined until the global part has come. */
  replica: Replica | undefined;
  readonly #self: Life;
  readonly #ports: FetchPorts;
  readonly #wanted: number[];
  #nonce: number;
  #tries = 0;
  #sentAtMs = 0;
  #chunks: Uint8Array[] = [];
  /** Marks to be met: by position. */
  readonly #marks = new Map<number, number>();
  /** The replica is whole when it has come to here. */
  #upTo = 0;

  /** `replica`, `slices`: to fetch these slices only, for a replica that goes on. `nonce`: differs from that of any other fetch. */
  constructor(
    self: Life,
    peer: Life,
    epoch: string,
    nonce: number,
    ports: FetchPorts,
    mend?: { readonly replica: Replica; readonly slices: readonly number[] },
  ) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.peer = { server: peer.server, incarnation: peer.incarnation };
    this.epoch = epoch;
    this.#nonce = nonce;
    this.#ports = ports;
    this.replica = mend?.replica;
    this.state = mend === undefined ? 'global' : 'slices';
    this.slices = mend?.slices ?? Array.from({ length: lastSlice + 1 }, (_, slice) => slice);
    this.#wanted = [...this.slices];
  }

  /** Time passes; also begins it. */
  tick(nowMs: number): void {
    if (this.state === 'done' || this.state === 'failed') return;
    if (this.#tries > 0 && nowMs - this.#sentAtMs < againMs) return;
    if (this.#tries >= triesMax) this.state = 'failed';
    else if (this.#wanted.length > 0 || this.state === 'global') this.#ask(nowMs);
  }

  /** An answer. True when all parts are here with this one: the reader has to go on behind `replica.position`. */
  onPart(part: Part, nowMs: number): boolean {
    if (part.nonce !== this.#nonce || part.server !== this.peer.server || part.incarnation !== this.peer.incarnation)
      return false;
    if (part.chunk !== this.#chunks.length) {
      // A chunk was lost: the whole part is asked for again.
      this.#chunks = [];
      if (part.chunk !== 0) return false;
    }
    this.#chunks.push(part.bytes.slice());
    if (this.#chunks.length < part.chunks) {
      this.#sentAtMs = nowMs;
      return false;
    }
    const bytes = concat(this.#chunks);
    this.#chunks = [];
    if (this.state === 'slices') return this.#takeSlices(part, bytes, nowMs);
    if (this.state === 'global') this.#takeGlobal(part, bytes, nowMs);
    return false;
  }

  /** The replica has applied an entry. */
  onApplied(replica: Replica): void {
    if (replica !== this.replica) return;
    const mark = this.#marks.get(replica.position);
    if (mark !== undefined) {
      this.#marks.delete(replica.position);
      if (mark !== replica.mark) this.state = 'failed';
    }
    this.#settle();
  }

  #takeGlobal(part: Part, bytes: Uint8Array, nowMs: number): void {
    if (part.first !== globalPart) return;
    const replica = this.#ports.restore(bytes);
    if (replica === undefined || replica.position !== part.position || replica.epoch?.id !== this.epoch) {
      this.state = 'failed';
      return;
    }
    this.replica = replica;
    this.state = 'slices';
    this.#upTo = replica.position;
    this.#ask(nowMs, true);
  }

  #takeSlices(part: Part, bytes: Uint8Array, nowMs: number): boolean {
    const { replica } = this;
    if (replica === undefined || part.first !== this.#wanted[0]) return false;
    const slices = splitSlices(bytes, part.count);
    if (slices === undefined || part.position < replica.position) {
      this.#ask(nowMs, true);
      return false;
    }
    if (part.position === replica.position && part.mark !== replica.mark) {
      this.state = 'failed';
      return false;
    }
    if (part.position > replica.position) this.#marks.set(part.position, part.mark);
    for (const [index, slice] of slices.entries()) {
      const number = part.first + index;
      if (number !== this.#wanted[0]) break;
      if (!replica.restoreSlice(slice)) {
        this.state = 'failed';
        return false;
      }
      this.#wanted.shift();
      this.#ports.onSlice(replica, number);
    }
    this.#upTo = Math.max(this.#upTo, part.position);
    if (this.#wanted.length > 0) {
      this.#ask(nowMs, true);
      return false;
    }
    this.#settle();
    return true;
  }

  #settle(): void {
    if (this.state !== 'slices' || this.#wanted.length > 0 || this.replica === undefined) return;
    if (this.replica.position >= this.#upTo) this.state = 'done';
  }

  #ask(nowMs: number, isNew = false): void {
    if (isNew) {
      this.#nonce++;
      this.#tries = 0;
    }
    this.#chunks = [];
    this.#tries++;
    this.#sentAtMs = nowMs;
    const first = this.state === 'global' ? globalPart : this.#wanted[0];
    this.#ports.send(this.peer.server, {
      ...this.#self,
      kind: 'get',
      nonce: this.#nonce,
      epoch: this.epoch,
      first,
      last: first === globalPart ? globalPart : this.#lastOf(first),
      position: this.replica?.position ?? 0,
    });
  }

  /** The last of the wanted slices that follow `first` without a gap. */
  #lastOf(first: number): number {
    let last = first;
    while (this.#wanted[last - first + 1] === last + 1) last++;
    return last;
  }
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 1) return chunks[0];
  const whole = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
