// Flows that a server stands behind, kept as what their owners had of them a moment ago.
//
//   log   ── begins ──── checkpoint ──────────────── removal ──
//            ▪   ▪   ▪   │  ▪      ▪     ▪     ▪     │
//                        └─ from the log, to the shadow; then the state goes to the handler
//
// Each owner is asked about once a second for the flows that have changed since it was asked last, and says how far its answer reaches. So a flow that is not in
// an answer is as good as one that is, a lost message is made good by the next question, and nobody keeps a list of what was sent to whom. A flow whose
// beginning was seen is known from its first packet on: it has nothing yet. When the owner is removed, the rows behind what is here are read from the log
// again (failover/replay.ts) and given to the shadow of the handler, which has the state then.

import { limits } from '../../../shared/base/limits.ts';
import type { FlowKeeper } from '../egress/egress.ts';
import { FlowMap } from '../egress/handlers/flowMap.ts';
import type { SaidState } from './entries.ts';
import type { Asking, FlowsBehind, Question, Run, TakenState } from './ways.ts';

interface Checkpoint {
  readonly owner: number;
  /** Its state has all packets up to there. */
  position: number;
  bytes: Uint8Array | undefined;
  /** The shadow has it, and what came behind it. */
  isFed: boolean;
}

export class Checkpoints implements FlowsBehind {
  readonly packets = false;
  readonly counters = { asked: 0, received: 0, fedPackets: 0 };
  readonly #shadow: FlowKeeper;
  readonly #flows = new FlowMap<Checkpoint>();
  /** What ended while its owner was at work, or was taken out: looked up for its state like the others. */
  readonly #endedOf: (hi: number, lo: number) => Checkpoint | undefined;
  /** By owner: no flow has changed up to there but what is here. */
  readonly #upTo = new Map<number, number>();
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(shadow: FlowKeeper, endedOf: (hi: number, lo: number) => unknown) {
    this.#shadow = shadow;
    this.#endedOf = (hi, lo) => {
      const ended = endedOf(hi, lo);
      return ended instanceof EndedCheckpoint ? ended.checkpoint : undefined;
    };
  }

  get size(): number {
    return this.#flows.size;
  }

  get coldFlows(): number {
    return 0;
  }

  started(hi: number, lo: number, _timestampMs: number, position: number, owner: number): void {
    const known = this.#flows.get(hi, lo);
    // Its state has come already, from an owner that was further on.
    if (known !== undefined && known.position >= position) return;
    this.#flows.set(hi, lo, { owner, position: position - 1, bytes: undefined, isFed: false });
  }

  given(): void {
    // Its owner says what it has when it is asked next.
  }

  packet(): void {
    // The log has them.
  }

  endRun(): void {
    // Nothing was begun.
  }

  stateAt(hi: number, lo: number): number | undefined {
    const flow = this.#flows.get(hi, lo) ?? this.#endedOf(hi, lo);
    return flow === undefined ? undefined : this.#positionOf(flow);
  }

  feed(
    run: Run,
    offset: number,
    length: number,
    hi: number,
    lo: number,
    flags: number,
    row: number,
    due: number,
  ): void {
    const flow = this.#flows.get(hi, lo) ?? this.#endedOf(hi, lo);
    if (flow === undefined || due <= this.#positionOf(flow)) return;
    if (!flow.isFed) {
      flow.isFed = true;
      this.#shadow.flowStarted(hi, lo, run.timestampMs, flow.bytes === undefined ? 'new' : 'promoted');
      if (flow.bytes !== undefined) this.#shadow.loadFlow(hi, lo, flow.bytes);
    }
    this.counters.fedPackets++;
    this.#shadow.begin(run.data, run.timestampMs, run.tier1Id, false, run.place);
    this.#shadow.add(offset, length, hi, lo, flags, row);
    this.#shadow.end();
  }

  take(hi: number, lo: number): TakenState | undefined {
    const flow = this.#flows.delete(hi, lo);
    return flow === undefined ? undefined : this.#stateOf(hi, lo, flow);
  }

  end(hi: number, lo: number, position: number): TakenState | undefined {
    const flow = this.#flows.get(hi, lo);
    // What is kept is of the flow that has begun behind this end.
    if (flow === undefined || flow.position >= position) return undefined;
    this.#flows.delete(hi, lo);
    return new EndedCheckpoint(flow, this.#positionOf(flow), () => this.#stateOf(hi, lo, flow).bytes);
  }

  lose(hi: number, lo: number, position: number): void {
    const flow = this.#flows.get(hi, lo);
    // An owner that was further on has sent it: by then this server stood behind the flow once more.
    if (flow !== undefined && flow.position < position) this.#flows.delete(hi, lo);
  }

  questions({ position, nowMs, owners }: Asking): Question[] {
    const everyMs = limits.checkpointMs * Math.ceil((owners.length + 1) / limits.checkpointMembers);
    if (nowMs - this.#askedAtMs < everyMs) return [];
    this.#askedAtMs = nowMs;
    this.counters.asked += owners.length;
    const flows = new Int32Array(0);
    return owners.map(({ server, number }) => ({ server, position, since: this.#upTo.get(number) ?? 0, flows }));
  }

  onState(hi: number, lo: number, state: SaidState, position: number, _nowMs: number, owner: number): void {
    const known = this.#flows.get(hi, lo);
    if (state === 'foreign' || (known !== undefined && known.position > position)) return;
    this.counters.received++;
    this.#flows.set(hi, lo, { owner, position, bytes: state === 'nothing' ? undefined : state, isFed: false });
  }

  onAnswer(owner: number, upTo: number): void {
    if (upTo > (this.#upTo.get(owner) ?? 0)) this.#upTo.set(owner, upTo);
  }

  clear(): void {
    this.#flows.clear();
    this.#upTo.clear();
  }

  #positionOf({ owner, position }: Checkpoint): number {
    return Math.max(position, this.#upTo.get(owner) ?? 0);
  }

  #stateOf(hi: number, lo: number, flow: Checkpoint): TakenState {
    const position = this.#positionOf(flow);
    const { owner } = flow;
    if (!flow.isFed) return { bytes: flow.bytes, position, owner };
    const bytes = this.#shadow.saveFlow(hi, lo);
    this.#shadow.dropFlow(hi, lo);
    return { bytes, position, owner };
  }
}

/** Made whole when it is wanted: what came behind the checkpoint is read only then. */
class EndedCheckpoint implements TakenState {
  readonly checkpoint: Checkpoint;
  readonly position: number;
  readonly owner: number;
  readonly #bytes: () => Uint8Array | undefined;
  #made: Uint8Array | undefined;
  #isMade = false;

  constructor(checkpoint: Checkpoint, position: number, bytes: () => Uint8Array | undefined) {
    this.checkpoint = checkpoint;
    this.position = position;
    this.owner = checkpoint.owner;
    this.#bytes = bytes;
  }

  get bytes(): Uint8Array | undefined {
    if (!this.#isMade) this.#made = this.#bytes();
    this.#isMade = true;
    return this.#made;
  }
}
