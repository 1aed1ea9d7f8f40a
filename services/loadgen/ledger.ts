// The ledger of a generator's run: of every packet, whether exactly one server has got it. Pure: packets, receipts and the
// time go in, counts come out.
//
//   oldest not settled                                     newest
//   tail ──────────────────────────────────────────────────► head        a ring, by packet id
//    │  the grace is over: counted once and for all           │  sent, handed to the bus, receipts come in
//    ▼
//   accepted once │ repeats │ double │ refused, by cause │ in mid-flow │ unknown: see accounts.ts
//
// Within the grace a second receipt for a packet is noticed, whenever it comes; so packets stay in the ring although
// their verdict is known. Packets settle in the order of their ids. So when one of a flow is settled, the flow's start
// was settled before it, and a packet in mid-flow that nobody took can be told from one of a flow that somebody has.

import { receiptVerdicts } from '../../shared/messages/receipt.ts';
import { FlowBook, Start } from './flowBook.ts';

export interface LedgerOptions {
  /** Packets that can be unsettled at once: a power of two. */
  readonly capacity: number;
  /** A packet is settled so long after it was handed to the bus, in milliseconds. */
  readonly graceMs: number;
  /**
   * A flow that `from` had went on at `to`. `gapMs`: for so long the oldest packet had waited that nobody had taken meanwhile; undefined when it is
   * not known. `isAgain`: the flow has moved before.
   */
  onMove(from: number, to: number, nowMs: number, gapMs: number | undefined, isAgain: boolean): void;
}

/** What a receipt was good for. */
export const Answer = {
  /** The first one for this packet. */
  once: 0,
  /** The same server again, or the heir of one that has died; another server too. */
  repeat: 1,
  double: 2,
  /** Of a packet that is settled already. */
  late: 3,
  /** Of a packet that was not sent, or is not of that flow. */
  strange: 4,
} as const;
export type AnswerCode = (typeof Answer)[keyof typeof Answer];

const open = 0;
const accepted = 1;
const repeated = 2;
const doubled = 3;
/** Refused for the cause `receiptVerdicts[outcome - refused]`. */
const refused = 4;

const isFirstMark = 1;
const isLastMark = 2;
/** The heir of a dead server has it: that one may have it, too. */
const isReplayedMark = 4;

export class Ledger {
  readonly flows = new FlowBook();
  /** Packets settled so far, by what became of them. */
  acceptedOnce = 0;
  repeats = 0;
  double = 0;
  /** By index into `receiptVerdicts`. */
  readonly refused = new Float64Array(receiptVerdicts.length);
  midFlow = 0;
  expired = 0;
  /** Nobody has said anything: packets by tier 1 and by the server that had the flow then (0: none). */
  readonly unknown = new Map<number, Map<number, number>>();
  /** Flows with such packets, by the server that has them. */
  readonly missingFlows = new Map<number, number>();
  /** By server: packets that it accepted first, and flows that began there. */
  readonly packetsOf = new Float64Array(0x1_0000);
  readonly flowsOf = new Float64Array(0x1_0000);
  /** Receipts that came after their packet was settled, or made no sense. */
  late = 0;
  strange = 0;
  /** After `Answer.once`: when that packet was handed to the bus. */
  handedOverAtMs = 0;
  readonly #options: LedgerOptions;
  readonly #mask: number;
  readonly #outcome: Uint8Array;
  readonly #marks: Uint8Array;
  readonly #server: Uint16Array;
  readonly #tier1: Uint16Array;
  readonly #row: Int32Array;
  readonly #atMs: Float64Array;
  #head = 0;
  #tail = 0;
  #decided = 0;

  constructor(options: LedgerOptions) {
    const { capacity } = options;
    if (!Number.isInteger(Math.log2(capacity))) throw new Error(`ledger: ${capacity} is not a power of two`);
    this.#options = options;
    this.#mask = capacity - 1;
    this.#outcome = new Uint8Array(capacity);
    this.#marks = new Uint8Array(capacity);
    this.#server = new Uint16Array(capacity);
    this.#tier1 = new Uint16Array(capacity);
    this.#row = new Int32Array(capacity);
    this.#atMs = new Float64Array(capacity);
  }

  get sent(): number {
    return this.#head;
  }

  /** Packets without a verdict. */
  get underWay(): number {
    return this.#head - this.#decided;
  }

  get settled(): number {
    return this.#tail;
  }

  /** False when as many packets are unsettled as the ledger can follow. */
  get hasRoom(): boolean {
    return this.#head - this.#tail <= this.#mask;
  }

  /** A packet of the flow in `row` goes to a tier 1. Returns its id; the caller has checked `hasRoom`. */
  add(row: number, tier1: number, isFirst: boolean, isLast: boolean): number {
    const id = this.#head++;
    const at = id & this.#mask;
    this.#outcome[at] = open;
    this.#marks[at] = (isFirst ? isFirstMark : 0) | (isLast ? isLastMark : 0);
    this.#tier1[at] = tier1;
    this.#row[at] = row;
    this.flows.newest[row] = id;
    this.#atMs[at] = Number.POSITIVE_INFINITY;
    return id;
  }

  /** The bus has it: the grace runs from here on. */
  handedOver(id: number, nowMs: number): void {
    const at = id & this.#mask;
    const { waitsSince } = this.flows;
    this.#atMs[at] = nowMs;
    if (Number.isNaN(waitsSince[this.#row[at]])) waitsSince[this.#row[at]] = nowMs;
  }

  /**
   * A server (a number from 1 on) says that it accepted a packet. `id` and `flow` as in the stamp, modulo 2^32. `isReplay`: as the heir of one that may
   * have accepted it before it died.
   */
  accept(id: number, flow: number, server: number, nowMs: number, isReplay = false): AnswerCode {
    const found = this.#find(id, flow);
    if (found < 0) return found === tooLate ? Answer.late : Answer.strange;
    const at = found & this.#mask;
    const outcome = this.#outcome[at];
    if (isReplay) this.#marks[at] |= isReplayedMark;
    if (outcome !== open && outcome < refused) {
      const isSame = this.#server[at] === server || (this.#marks[at] & isReplayedMark) !== 0;
      if (outcome === doubled || !isSame) {
        this.#outcome[at] = doubled;
        return Answer.double;
      }
      this.#outcome[at] = repeated;
      return Answer.repeat;
    }
    if (outcome === open) this.#decided++;
    this.#outcome[at] = accepted;
    this.#server[at] = server;
    this.packetsOf[server]++;
    this.handedOverAtMs = this.#atMs[at];
    this.#follow(this.#row[at], found, server, nowMs);
    return Answer.once;
  }

  /** An actor says that it dropped a packet, for `receiptVerdicts[verdict]`. Another one may yet accept it. */
  refuse(id: number, flow: number, verdict: number): AnswerCode {
    const found = this.#find(id, flow);
    if (found < 0) return found === tooLate ? Answer.late : Answer.strange;
    const at = found & this.#mask;
    if (this.#outcome[at] !== open) return Answer.repeat;
    this.#outcome[at] = refused + verdict;
    this.#decided++;
    return Answer.once;
  }

  /**
   * Settles what was handed to the bus longer than the grace ago; the grace begins at `notBeforeMs` at the earliest, the
   * moment at which a broken connection was mended.
   */
  settle(nowMs: number, notBeforeMs = Number.NEGATIVE_INFINITY): void {
    const dueMs = nowMs - this.#options.graceMs;
    if (notBeforeMs > dueMs) return;
    while (this.#tail < this.#head && this.#atMs[this.#tail & this.#mask] <= dueMs) this.#settleOne();
  }

  /** Settles all that is left: the run is over. */
  settleAll(): void {
    while (this.#tail < this.#head) this.#settleOne();
  }

  /** The full id, or `tooLate` or `neverSent`. */
  #find(id: number, flow: number): number {
    const age = (this.#head - id) >>> 0;
    const full = this.#head - age;
    // A number behind the head by more than the ring holds is either settled or was never given out.
    if (age === 0 || full < 0) {
      this.strange++;
      return neverSent;
    }
    if (full < this.#tail) {
      this.late++;
      return tooLate;
    }
    const at = full & this.#mask;
    const isOnItsWay = this.#atMs[at] !== Number.POSITIVE_INFINITY;
    if (!isOnItsWay || this.flows.number[this.#row[at]] >>> 0 !== flow >>> 0) {
      this.strange++;
      return neverSent;
    }
    return full;
  }

  /** Which server has the flow, by the order of its packets and not of their receipts. */
  #follow(row: number, id: number, server: number, nowMs: number): void {
    const { flows } = this;
    if (flows.scattered[row] === 1) return;
    const present = flows.server[row];
    const gapMs = this.#served(row, id, nowMs);
    if (present === 0) {
      flows.server[row] = server;
      flows.since[row] = id;
      this.flowsOf[server]++;
    } else if (present === server) {
      if (id < flows.since[row]) flows.since[row] = id;
    } else if (id > flows.since[row]) {
      flows.former[row] = present;
      flows.server[row] = server;
      flows.since[row] = id;
      this.#moved(row, present, server, nowMs, gapMs);
    } else if (flows.former[row] !== server) {
      flows.former[row] = server;
      if (flows.moved[row] === 0) this.#moved(row, server, present, nowMs, undefined);
    }
  }

  /** A packet of the flow has got to a server; for how long the flow had waited for one. */
  #served(row: number, id: number, nowMs: number): number {
    const { waitsSince, newest } = this.flows;
    const sinceMs = waitsSince[row];
    // Of those that are still under way none is older than this one.
    const sentMs = this.#atMs[id & this.#mask];
    if (id >= newest[row]) waitsSince[row] = Number.NaN;
    else if (sentMs > sinceMs) waitsSince[row] = sentMs;
    return nowMs - sinceMs;
  }

  #moved(row: number, from: number, to: number, nowMs: number, gapMs: number | undefined): void {
    const isAgain = this.flows.moved[row] === 1;
    this.flows.moved[row] = 1;
    this.#options.onMove(from, to, nowMs, gapMs, isAgain);
  }

  #settleOne(): void {
    const id = this.#tail++;
    const at = id & this.#mask;
    const { flows } = this;
    const row = this.#row[at];
    const marks = this.#marks[at];
    const outcome = this.#outcome[at];
    const isFirst = (marks & isFirstMark) !== 0;
    if (isFirst) flows.start[row] = outcome === open || outcome >= refused ? Start.missed : Start.accepted;
    if (outcome === accepted) this.acceptedOnce++;
    else if (outcome === repeated) this.repeats++;
    else if (outcome === doubled) this.double++;
    else if (outcome >= refused) this.refused[outcome - refused]++;
    else {
      this.#decided++;
      this.#settleUnknown(id, row, this.#tier1[at], isFirst);
    }
    if (marks & isLastMark) flows.remove(row);
  }

  #settleUnknown(id: number, row: number, tier1: number, isFirst: boolean): void {
    const { flows } = this;
    if (flows.typeOne[row] === 1 && !isFirst) {
      if (flows.start[row] === Start.missed && flows.server[row] === 0) {
        this.midFlow++;
        return;
      }
      if (flows.start[row] === Start.forgotten) {
        this.expired++;
        return;
      }
    }
    // Who has the flow by now may have taken it up only later, when the server that should have got this packet was dead.
    const server = id < flows.since[row] ? flows.former[row] : flows.server[row];
    let servers = this.unknown.get(tier1);
    if (servers === undefined) this.unknown.set(tier1, (servers = new Map()));
    servers.set(server, (servers.get(server) ?? 0) + 1);
    if (flows.missing[row] === 1) return;
    flows.missing[row] = 1;
    this.missingFlows.set(server, (this.missingFlows.get(server) ?? 0) + 1);
  }
}

const tooLate = -1;
const neverSent = -2;
