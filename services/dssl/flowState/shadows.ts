// Flows that a server stands behind, kept by a shadow of its handler: it gets their packets as the owner does.
//
//                 begins                        owner dies, next packet
//   (nothing) ─────────────────────► warm ──────────────────────────────► state goes to the handler, which has every packet then
//       │ packet of a flow that      ▲
//       │ began before               │ its state, as of a position; what came behind it is waiting, copied
//       └──────► wanted ──► asked ───┘
//                   ▲         │ no answer, or too much is waiting
//                   └─────────┴──► cold, after some attempts: wanted again much later
//
// A flow gets another backup in mid-life when the former one has gone, drains, or has become the owner. The new one meets a packet of a flow
// that it does not know, and asks the owner, so nothing depends on who notices what first: a lost message, a replica that took its state from a
// peer and a handler that was started late are the same case. The state that comes is tagged with the owner's position, and packets up to there are
// passed over. What this server asks for is at its own position or later, so it copies packets only while an answer is under way.

import { limits } from '../../../shared/base/limits.ts';
import type { FlowKeeper, LogPlace } from '../egress/egress.ts';
import { FlowMap } from '../egress/handlers/flowMap.ts';
import type { SaidState } from './entries.ts';
import type { Asking, FlowsBehind, Question, Run, TakenState } from './ways.ts';

interface Shadow {
  readonly hi: number;
  readonly lo: number;
  phase: 'warm' | 'wanted' | 'asked' | 'cold';
  /** Packets up to this position are in its state, or will be in the one that was asked for. */
  from: number;
  atMs: number;
  asks: number;
  waiting: WaitingPacket[];
}

interface WaitingPacket {
  readonly bytes: Uint8Array;
  readonly run: Run;
  readonly position: number;
  readonly flags: number;
  readonly row: number;
}

export class Shadows implements FlowsBehind {
  readonly packets = true;
  /** Flows whose state was asked for, states that came, flows that were given up for a while, packets that found no room to wait. */
  readonly counters = { asked: 0, received: 0, givenUp: 0, unbuffered: 0 };
  readonly #shadow: FlowKeeper;
  readonly #flows = new FlowMap<Shadow>();
  #wanted: Shadow[] = [];
  readonly #asked = new Set<Shadow>();
  readonly #cold = new Set<Shadow>();
  #buffered = 0;
  #isOpen = false;

  constructor(shadow: FlowKeeper) {
    this.#shadow = shadow;
  }

  get size(): number {
    return this.#flows.size;
  }

  get coldFlows(): number {
    return this.#wanted.length + this.#asked.size + this.#cold.size;
  }

  started(hi: number, lo: number, timestampMs: number, position: number): void {
    const known = this.#flows.get(hi, lo);
    if (known !== undefined) {
      // Its state has come already, from an owner that was further on.
      if (known.from >= position && known.phase === 'warm') return;
      this.#forget(known);
    }
    this.#shadow.flowStarted(hi, lo, timestampMs);
    this.#flows.set(hi, lo, { hi, lo, phase: 'warm', from: position - 1, atMs: 0, asks: 0, waiting: [] });
  }

  given(hi: number, lo: number, position: number): void {
    if (this.#flows.get(hi, lo) === undefined) {
      this.#want({ hi, lo, phase: 'wanted', from: position, atMs: 0, asks: 0, waiting: [] });
    }
  }

  packet(
    run: Run,
    position: number,
    offset: number,
    length: number,
    hi: number,
    lo: number,
    flags: number,
    row: number,
  ) {
    const flow = this.#flows.get(hi, lo);
    if (flow === undefined) {
      this.given(hi, lo, position);
      return;
    }
    if (position <= flow.from) return;
    if (flow.phase === 'warm') {
      if (!this.#isOpen) this.#shadow.begin(run.data, run.timestampMs, run.tier1Id, false, run.place);
      this.#isOpen = true;
      this.#shadow.add(offset, length, hi, lo, flags, row);
    } else if (flow.phase === 'asked') this.#buffer(flow, run, position, offset, length, flags, row);
  }

  endRun(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#shadow.end();
  }

  stateAt(): undefined {
    // All that is behind the state of a warm flow is in it already; of others nothing is known.
    return undefined;
  }

  feed(): void {
    // Nothing of these flows is missing that the log could give.
  }

  take(hi: number, lo: number, position: number): TakenState | undefined {
    const flow = this.#flows.get(hi, lo);
    if (flow === undefined) return undefined;
    const isWarm = flow.phase === 'warm';
    const bytes = isWarm ? this.#shadow.saveFlow(hi, lo) : undefined;
    this.#forget(flow);
    return isWarm ? { bytes, position: Math.max(position, flow.from) } : undefined;
  }

  end(hi: number, lo: number, position: number): TakenState | undefined {
    const flow = this.#flows.get(hi, lo);
    // What is kept is of the flow that has begun behind this end.
    if (flow?.phase === 'warm' && flow.from >= position) return undefined;
    return this.take(hi, lo, position);
  }

  lose(hi: number, lo: number): void {
    const flow = this.#flows.get(hi, lo);
    if (flow !== undefined) this.#forget(flow);
  }

  questions({ position, nowMs, serverOf }: Asking): Question[] {
    for (const flow of this.#asked) if (nowMs - flow.atMs >= limits.flowStateAskMs) this.#again(flow, nowMs);
    for (const flow of this.#cold) {
      if (nowMs - flow.atMs < limits.flowStateColdMs) break;
      this.#cold.delete(flow);
      flow.asks = 0;
      this.#want(flow);
    }
    if (this.#wanted.length === 0) return [];
    const byOwner = new Map<string, number[]>();
    const left: Shadow[] = [];
    for (const flow of this.#wanted) {
      if (flow.phase !== 'wanted') continue;
      const owner = serverOf(flow.hi, flow.lo);
      const flows = owner === undefined ? undefined : (byOwner.get(owner) ?? []);
      if (flows === undefined) this.#giveUp(flow, nowMs);
      else if (flows.length >= 2 * limits.flowStatesAsked || this.#asked.size >= limits.flowStatesWaiting)
        left.push(flow);
      else {
        flows.push(flow.hi, flow.lo);
        byOwner.set(owner ?? '', flows);
        Object.assign(flow, { phase: 'asked', from: position, atMs: nowMs, asks: flow.asks + 1 });
        this.#asked.add(flow);
      }
    }
    this.#wanted = left;
    return [...byOwner].map(([server, flows]) => {
      this.counters.asked += flows.length / 2;
      return { server, position, since: -1, flows: Int32Array.from(flows) };
    });
  }

  onState(hi: number, lo: number, state: SaidState, position: number, nowMs: number): void {
    const flow = this.#flows.get(hi, lo);
    if (flow?.phase !== 'asked' || position < flow.from) return;
    if (state === 'foreign') {
      this.#again(flow, nowMs);
      return;
    }
    this.counters.received++;
    this.#asked.delete(flow);
    const { waiting } = flow;
    this.#release(flow);
    flow.phase = 'warm';
    flow.from = position;
    this.#shadow.flowStarted(hi, lo, nowMs, 'promoted');
    if (state !== 'nothing') this.#shadow.loadFlow(hi, lo, state);
    for (const packet of waiting) {
      if (packet.position <= position) continue;
      const { bytes, run, flags, row } = packet;
      this.#shadow.begin(bytes, run.timestampMs, run.tier1Id, false, run.place);
      this.#shadow.add(0, bytes.length, hi, lo, flags, row);
      this.#shadow.end();
    }
  }

  onAnswer(): void {
    // Each state is good by itself.
  }

  clear(): void {
    for (const flow of [...this.#flows.values()]) this.#forget(flow);
    this.#wanted = [];
  }

  #buffer(flow: Shadow, run: Run, position: number, offset: number, length: number, flags: number, row: number): void {
    if (this.#buffered + length > limits.flowStateBufferBytes) {
      this.counters.unbuffered++;
      this.#asked.delete(flow);
      this.#want(flow);
      flow.from = position;
      return;
    }
    this.#buffered += length;
    const { timestampMs, tier1Id, place, data } = run;
    const bytes = data.slice(offset, offset + length);
    const copy: Run = { data: bytes, timestampMs, tier1Id, place: placeOf(place) };
    flow.waiting.push({ bytes, run: copy, position, flags, row });
  }

  #want(flow: Shadow): void {
    this.#release(flow);
    flow.phase = 'wanted';
    this.#wanted.push(flow);
    this.#flows.set(flow.hi, flow.lo, flow);
  }

  #again(flow: Shadow, nowMs: number): void {
    this.#asked.delete(flow);
    if (flow.asks < limits.flowStateAsks) this.#want(flow);
    else this.#giveUp(flow, nowMs);
  }

  #giveUp(flow: Shadow, nowMs: number): void {
    this.#release(flow);
    this.counters.givenUp++;
    flow.phase = 'cold';
    flow.atMs = nowMs;
    this.#cold.add(flow);
  }

  #release(flow: Shadow): void {
    for (const { bytes } of flow.waiting) this.#buffered -= bytes.length;
    flow.waiting = [];
  }

  #forget(flow: Shadow): void {
    this.#flows.delete(flow.hi, flow.lo);
    this.#asked.delete(flow);
    this.#cold.delete(flow);
    this.#release(flow);
    if (flow.phase === 'warm') this.#shadow.dropFlow(flow.hi, flow.lo);
    // Whoever is still in the list of the wanted is passed over.
    flow.phase = 'cold';
  }
}

function placeOf({ epoch, position }: LogPlace): LogPlace {
  return { epoch, position };
}
