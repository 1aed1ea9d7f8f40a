// The rows of a frame, one after the other: a packet goes to the verdict ladder (decide.ts), what is accepted goes out to the
// server, and later fragments, which do not carry their ports, are decided with the flow of their first one.

import { limits } from '../../../shared/base/limits.ts';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { type Frame, wordsPerRow } from '../../../shared/log/records/frame.ts';
import type { Egress } from '../egress/egress.ts';
import { accepts, type Decider } from './decide.ts';
import { Fragments, laterFlags, type WaitingFragment } from './fragments.ts';
import { tickOfMs } from './ticks.ts';
import { noPacket, V, waiting } from './verdict.ts';
import type { CompiledView } from './viewHistory.ts';

/** Sees every verdict, for those who check that exactly one module accepts. Costs time; absent in production. */
export interface DecisionAudit {
  /** Verdicts of all rows of a frame; valid during the call. `waiting` and `noPacket` are not final. */
  onFrame(frame: Frame, verdicts: Uint8Array): void;
  /** The verdict on a packet that had to wait. */
  onLate(tier1Id: string, sequence: number, row: number, verdict: number): void;
}

export class Rows {
  /** Keeps the reads of the prefetching pass from being optimised away. */
  prefetched = 0;
  readonly #decider: Decider;
  readonly #egress: Egress;
  readonly #audit: DecisionAudit | undefined;
  readonly #fragments = new Fragments();
  readonly #verdicts = new Uint8Array(limits.frameRows);

  constructor(decider: Decider, egress: Egress, audit: DecisionAudit | undefined) {
    this.#decider = decider;
    this.#egress = egress;
    this.#audit = audit;
  }

  /** Decides every row of a frame by the view it names. `untoldIn`: see `Decider`. */
  decide(frame: Frame, view: CompiledView, untoldIn: number): void {
    const decider = this.#decider;
    const egress = this.#egress;
    const verdicts = this.#verdicts;
    const { words } = frame;
    decider.begin(view, frame.timestampMs);
    decider.untoldIn = untoldIn;
    this.prefetched ^= decider.table.prefetch(words, frame.count);
    egress.begin(frame.payload, frame.timestampMs, frame.tier1Id);
    let offset = 0;
    let ordinal = frame.startOrdinal;
    let wasDatagram = false;
    for (let row = 0, at = 0; row < frame.count; row++, at += wordsPerRow) {
      const hi = words[at];
      const lo = words[at + 1];
      const length = words[at + 2] & 0xffff;
      const flags = words[at + 2] >>> 16;
      let verdict = noPacket;
      if (flags & FrameFlags.LATER_FRAGMENT) {
        verdict = this.#laterFragment(frame, view, row, offset);
      } else if (!(flags & FrameFlags.DATAGRAM)) {
        verdict = decider.decide(hi, lo, flags, flags & FrameFlags.START ? ordinal++ : -1);
        if (accepts(verdict)) egress.add(offset, length, hi, lo, flags);
        decider.counts[verdict]++;
        if (wasDatagram) this.#learnDatagram(frame, row, hi, lo, flags, view);
      }
      wasDatagram = (flags & FrameFlags.DATAGRAM) !== 0;
      verdicts[row] = verdict;
      offset += length;
    }
    egress.end();
    this.#audit?.onFrame(frame, verdicts);
  }

  /** Gives up on a whole frame: its packets are counted under `verdict`, not decided. */
  giveUp(frame: Frame, verdict: number): void {
    const verdicts = this.#verdicts;
    for (let row = 0; row < frame.count; row++) {
      const isPacket = !(frame.flags(row) & FrameFlags.DATAGRAM);
      verdicts[row] = isPacket ? verdict : noPacket;
      if (isPacket) this.#decider.counts[verdict]++;
    }
    this.#audit?.onFrame(frame, verdicts);
  }

  /** Gives up on the fragments that have waited too long at packet time `tick`. */
  expire(tick: number): void {
    for (const fragment of this.#fragments.expire(tick)) this.#orphan(fragment);
  }

  /** Gives up on all fragments that wait: no more frames will come. */
  finish(): void {
    for (const fragment of this.#fragments.drain()) this.#orphan(fragment);
  }

  #laterFragment(frame: Frame, view: CompiledView, row: number, offset: number): number {
    const hi = frame.hashHi(row);
    const lo = frame.hashLo(row);
    const { timestampMs, tier1Id, sequence } = frame;
    const tick = tickOfMs(timestampMs);
    const length = frame.length(row);
    const { datagrams } = this.#fragments;
    const found = datagrams.find(hi, lo, tick);
    if (found !== -1) {
      const flowHi = datagrams.flowHi(found);
      const flowLo = datagrams.flowLo(found);
      const flags = laterFlags(datagrams.flags(found));
      const verdict = this.#decider.decide(flowHi, flowLo, flags, -1);
      if (accepts(verdict)) this.#egress.add(offset, length, flowHi, flowLo, flags);
      this.#decider.counts[verdict]++;
      return verdict;
    }
    const bytes = frame.payload.slice(offset, offset + length);
    if (this.#fragments.wait({ hi, lo, bytes, view, timestampMs, tick, tier1Id, sequence, row })) return waiting;
    this.#decider.counts[V.dropFragment]++;
    return V.dropFragment;
  }

  /** The row before named the datagram of which this row's packet is the first fragment. */
  #learnDatagram(frame: Frame, row: number, hi: number, lo: number, flags: number, view: CompiledView): void {
    const datagramHi = frame.hashHi(row - 1);
    const datagramLo = frame.hashLo(row - 1);
    this.#fragments.datagrams.learn(datagramHi, datagramLo, tickOfMs(frame.timestampMs), hi, lo, flags);
    const released = this.#fragments.release(datagramHi, datagramLo);
    if (released.length === 0) return;
    const egress = this.#egress;
    egress.end();
    for (const fragment of released) {
      const verdict = this.#decideLate(fragment, hi, lo, laterFlags(flags));
      const isHere = fragment.sequence === frame.sequence && fragment.tier1Id === frame.tier1Id;
      if (isHere) this.#verdicts[fragment.row] = verdict;
      else this.#audit?.onLate(fragment.tier1Id, fragment.sequence, fragment.row, verdict);
    }
    // Back to the frame: what follows lies in its payload again.
    this.#decider.begin(view, frame.timestampMs);
    egress.begin(frame.payload, frame.timestampMs, frame.tier1Id);
  }

  #decideLate(fragment: WaitingFragment, hi: number, lo: number, flags: number): number {
    const egress = this.#egress;
    this.#decider.begin(fragment.view, fragment.timestampMs);
    egress.begin(fragment.bytes, fragment.timestampMs, fragment.tier1Id);
    const verdict = this.#decider.decide(hi, lo, flags, -1);
    if (accepts(verdict)) egress.add(0, fragment.bytes.length, hi, lo, flags);
    this.#decider.counts[verdict]++;
    egress.end();
    return verdict;
  }

  #orphan(fragment: WaitingFragment): void {
    this.#decider.counts[V.dropFragment]++;
    this.#audit?.onLate(fragment.tier1Id, fragment.sequence, fragment.row, V.dropFragment);
  }
}
