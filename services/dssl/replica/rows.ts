// The rows of a frame, one after the other: a packet goes to the verdict ladder (decide.ts), what is accepted becomes an item for
// the server, and later fragments, which do not carry their ports, are decided with the flow of their first one. A packet that is a flow
// of its own goes out as one of flow 0: what servers keep for a flow (a record, a socket) would else be made for each packet, for good.

import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { wordsPerRow } from '../../../shared/log/records/frame.ts';
import type { Decider } from './decide.ts';
import type { EffectsBuffer } from './effects.ts';
import { noServer } from './flows/entry.ts';
import { Fragments, laterFlags, type WaitingFragment } from './global/fragments.ts';
import type { RecentRows } from './global/recentRows.ts';
import { accepts, noPacket, V, waiting } from './verdict.ts';

const { START, LATER_FRAGMENT, DATAGRAM } = FrameFlags;

export class Rows {
  readonly fragments = new Fragments();
  /** Flow starts of the group so far, modulo 2^31: what the round robins place by. */
  ordinal = 0;
  /** Keeps the reads of the prefetching pass from being optimised away. */
  prefetched = 0;
  /** Whose the rows of the last seconds are; undefined where nothing is replayed. */
  recent: RecentRows | undefined;
  readonly #decider: Decider;
  readonly #effects: EffectsBuffer;
  readonly #counts: Float64Array;
  /** Of the frame that was decided last. */
  #position = 0;
  #tick = 0;
  #timeMs = 0;

  /** `counts`: packets by rung, in the order of `verdicts`. */
  constructor(decider: Decider, effects: EffectsBuffer, counts: Float64Array) {
    this.#decider = decider;
    this.#effects = effects;
    this.#counts = counts;
  }

  /** The line's time has moved on. Fragments that have waited too long are given up. */
  setTime(timeMs: number, tick: number): void {
    this.#timeMs = timeMs;
    this.#tick = tick;
    this.fragments.datagrams.table.expire(tick);
    for (const fragment of this.fragments.expire(timeMs)) this.#late(fragment, V.dropFragment, noServer);
  }

  /** Decides every row of the frame in the effects, which is at this position and, by the log's clock, time of the line. */
  decideFrame(position: number, logMs: number): void {
    const { frame, verdicts, owners, items } = this.#effects;
    const decider = this.#decider;
    const counts = this.#counts;
    const { recent } = this;
    const { words, count } = frame;
    if (decider.ownTable !== undefined) this.prefetched ^= decider.ownTable.prefetch(words, count);
    this.prefetched ^= decider.table.prefetch(words, count);
    this.#position = position;
    recent?.begin(position, logMs, frame.tier1Id, frame.number, count);
    let offset = 0;
    let wasDatagram = false;
    for (let row = 0, at = 0; row < count; row++, at += wordsPerRow) {
      const hi = words[at];
      const lo = words[at + 1];
      const word = words[at + 2];
      const length = word & 0xffff;
      const flags = word >>> 16;
      if ((flags & (LATER_FRAGMENT | DATAGRAM)) === 0) {
        const verdict = decider.decide(hi, lo, flags, flags & START ? this.#nextOrdinal() : -1, row);
        if (verdict === V.acceptSingle) items.accept(offset, length, 0, 0, flags, row);
        else if (accepts(verdict)) items.accept(offset, length, hi, lo, flags, row);
        else if (items.behind?.packets && decider.isBehind(verdict))
          items.behindPacket(offset, length, hi, lo, flags, row);
        counts[verdict]++;
        verdicts[row] = verdict;
        owners[row] = decider.owner;
        if (recent !== undefined) this.#remember(recent, row, hi, lo, verdict);
        if (wasDatagram) this.#learnDatagram(row, hi, lo, flags);
        wasDatagram = false;
      } else {
        wasDatagram = this.#withoutPorts(row, offset, hi, lo, length, flags);
      }
      offset += length;
    }
  }

  #nextOrdinal(): number {
    const { ordinal } = this;
    this.ordinal = (ordinal + 1) & 0x7fff_ffff;
    return ordinal;
  }

  /** A row that is no packet or one without ports; whether it names the datagram of the next row. */
  #withoutPorts(row: number, offset: number, hi: number, lo: number, length: number, flags: number): boolean {
    const { verdicts, owners } = this.#effects;
    owners[row] = noServer;
    const isLater = (flags & LATER_FRAGMENT) !== 0;
    verdicts[row] = isLater ? this.#laterFragment(row, offset, hi, lo, length) : noPacket;
    if (isLater && verdicts[row] !== waiting) this.#counts[verdicts[row]]++;
    return (flags & DATAGRAM) !== 0;
  }

  #laterFragment(row: number, offset: number, hi: number, lo: number, length: number): number {
    const { frame, items, owners } = this.#effects;
    const { datagrams } = this.fragments;
    const found = datagrams.find(hi, lo);
    if (found !== -1) {
      const flowHi = datagrams.flowHi(found);
      const flowLo = datagrams.flowLo(found);
      const flags = laterFlags(datagrams.flags(found));
      const verdict = this.#decider.decide(flowHi, flowLo, flags, -1, -1);
      if (accepts(verdict)) items.accept(offset, length, flowHi, flowLo, flags, row);
      else if (items.behind?.packets && this.#decider.isBehind(verdict))
        items.behindPacket(offset, length, flowHi, flowLo, flags, row);
      owners[row] = this.#decider.owner;
      if (this.recent !== undefined) this.#remember(this.recent, row, flowHi, flowLo, verdict);
      return verdict;
    }
    const bytes = frame.payload.slice(offset, offset + length);
    const { timestampMs, tier1Id, number } = frame;
    const fragment = { hi, lo, bytes, timestampMs, atMs: this.#timeMs, tier1Id, number, row };
    return this.fragments.wait(fragment) ? waiting : V.dropFragment;
  }

  /** The row before named the datagram of which this row's packet is the first fragment. */
  #learnDatagram(row: number, hi: number, lo: number, flags: number): void {
    const { frame, items } = this.#effects;
    const datagramHi = frame.hashHi(row - 1);
    const datagramLo = frame.hashLo(row - 1);
    this.fragments.datagrams.learn(datagramHi, datagramLo, this.#tick, hi, lo, flags);
    for (const fragment of this.fragments.release(datagramHi, datagramLo)) {
      const verdict = this.#decider.decide(hi, lo, laterFlags(flags), -1, -1);
      const { owner, privateOwner, backup } = this.#decider;
      const server = owner === noServer ? privateOwner : owner;
      let position = 0;
      if (verdict === V.ignoreAbsent) this.recent?.missed(this.#position);
      else if (server !== noServer)
        position = this.recent?.noteLate(fragment, { hi, lo, owner: server, backup }, this.#position) ?? 0;
      if (accepts(verdict)) items.acceptLate({ ...fragment, position }, hi, lo, laterFlags(flags));
      else if (items.behind?.packets && this.#decider.isBehind(verdict))
        items.behindLate({ ...fragment, position }, hi, lo, laterFlags(flags));
      this.#late(fragment, verdict, owner);
    }
  }

  #remember(recent: RecentRows, row: number, hi: number, lo: number, verdict: number): void {
    const { owner, privateOwner, backup } = this.#decider;
    if (owner !== noServer) recent.note(row, hi, lo, owner, backup);
    else if (privateOwner !== noServer) recent.note(row, hi, lo, privateOwner, backup);
    else if (verdict === V.ignoreAbsent) recent.missed(this.#position);
  }

  /** The final verdict on a row that had waited. */
  #late(fragment: WaitingFragment, verdict: number, owner: number): void {
    const { frame, late, outcome, owners, verdicts } = this.#effects;
    const { tier1Id, number, row } = fragment;
    this.#counts[verdict]++;
    if (outcome === 'frame' && number === frame.number && tier1Id === frame.tier1Id) {
      verdicts[row] = verdict;
      owners[row] = owner;
    } else {
      late.push({ tier1Id, number, row, verdict, owner });
    }
  }
}
