// What a member gives away of the state that its server keeps for its own flows, to members that stand behind them.
//
// It is asked, and answers with each flow as it is after the last entry that was handed out; a question that names a position still to come waits for it.
// Where flows are checkpointed, it is asked for those that have had packets since a position, and so it notes for each flow when it had one last. An answer is
// bounded: those that changed first go first, and how far it reaches is said, so that the rest is asked for next.

import { limits } from '../../../shared/base/limits.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { FlowKeeper } from '../egress/egress.ts';
import { FlowMap } from '../egress/handlers/flowMap.ts';
import type { PeerMessage, States, Want } from '../recovery/messages.ts';
import { backupOf, ownerOf } from '../replica/flows/entry.ts';
import type { Replica } from '../replica/replica.ts';
import { EntryWriter, type SaidState } from './entries.ts';

interface Changed {
  readonly hi: number;
  readonly lo: number;
  at: number;
}

/** Questions that wait for their position, at most. */
const mostWaiting = 256;

export class OwnedStates {
  /** States that were sent, and those that were not because they were too long. */
  readonly counters = { sent: 0, tooLong: 0 };
  readonly #self: Life;
  readonly #send: (server: string, message: PeerMessage) => void;
  readonly #changed = new FlowMap<Changed>();
  #waiting: Want[] = [];

  constructor(self: Life, send: (server: string, message: PeerMessage) => void) {
    this.#self = self;
    this.#send = send;
  }

  /** A flow of this server has had a packet at this position. */
  changed(hi: number, lo: number, position: number): void {
    const known = this.#changed.get(hi, lo);
    if (known === undefined) this.#changed.set(hi, lo, { hi, lo, at: position });
    else known.at = position;
  }

  ended(hi: number, lo: number): void {
    this.#changed.delete(hi, lo);
  }

  /** Positions that were noted mean nothing any more: every flow counts as changed at this one. */
  reset(position: number): void {
    for (const flow of this.#changed.values()) flow.at = position;
    this.#waiting = [];
  }

  onWant(want: Want, replica: Replica, keeper: FlowKeeper): void {
    if (want.epoch !== replica.epoch?.id) return;
    if (want.position <= replica.position) this.#answer(want, replica, keeper);
    else if (this.#waiting.length < mostWaiting) this.#waiting.push(want);
  }

  /** The replica has come further. */
  advance(replica: Replica, keeper: FlowKeeper): void {
    if (this.#waiting.length === 0) return;
    const due = this.#waiting.filter(({ position }) => position <= replica.position);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter(({ position }) => position > replica.position);
    for (const want of due) if (want.epoch === replica.epoch?.id) this.#answer(want, replica, keeper);
  }

  #answer(want: Want, replica: Replica, keeper: FlowKeeper): void {
    const asker = replica.view.members.find((member) => isLifeOf(member, want));
    if (asker === undefined) return;
    const writer = new EntryWriter();
    const upTo =
      want.since < 0
        ? this.#answerFlows(want.flows, replica, keeper, writer)
        : this.#answerSince(want.since, asker.number, replica, keeper, writer);
    const { server, incarnation } = this.#self;
    const { nonce, epoch } = want;
    const chunks = writer.finish();
    for (const [chunk, bytes] of chunks.entries()) {
      const which = { position: replica.position, upTo, chunk, chunks: chunks.length, bytes };
      const states: States = { kind: 'states', server, incarnation, nonce, epoch, ...which };
      this.#send(want.server, states);
    }
  }

  #answerFlows(flows: Int32Array, replica: Replica, keeper: FlowKeeper, writer: EntryWriter): number {
    let bytes = 0;
    for (let at = 0; at + 1 < flows.length && bytes < limits.flowStatesAnswerBytes; at += 2) {
      const info = replica.flowInfo(flows[at], flows[at + 1]);
      const isOwn = info !== 0 && ownerOf(info) === replica.selfNumber;
      bytes += this.#write(flows[at], flows[at + 1], isOwn ? keeper : undefined, writer);
    }
    return -1;
  }

  /** How far the answer reaches. */
  #answerSince(since: number, asker: number, replica: Replica, keeper: FlowKeeper, writer: EntryWriter): number {
    const { selfNumber, position } = replica;
    const isWanted = ({ hi, lo, at }: Changed) => {
      if (at <= since) return false;
      const info = replica.flowInfo(hi, lo);
      return info !== 0 && ownerOf(info) === selfNumber && backupOf(info) === asker;
    };
    const wanted = this.#changed
      .values()
      .filter(isWanted)
      .sort((a, b) => a.at - b.at);
    let bytes = 0;
    for (const { hi, lo, at } of wanted) {
      if (bytes >= limits.flowStatesAnswerBytes) return at - 1;
      bytes += this.#write(hi, lo, keeper, writer);
    }
    return position;
  }

  #write(hi: number, lo: number, keeper: FlowKeeper | undefined, writer: EntryWriter): number {
    let state: SaidState = keeper === undefined ? 'foreign' : (keeper.saveFlow(hi, lo) ?? 'nothing');
    if (typeof state !== 'string' && state.length > limits.flowStateBytes) {
      this.counters.tooLong++;
      state = 'foreign';
    }
    writer.add(hi, lo, state);
    if (typeof state === 'string') return 0;
    this.counters.sent++;
    return state.length;
  }
}
