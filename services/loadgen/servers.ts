// The servers of a run as their receipts show them: who they are, whether they still speak, what they have lost, and which
// flows they had that went on elsewhere. Pure.
//
// A flow that moves is a defect while the server it was with lives. It is none when that server has left or died: then
// the flow had to go somewhere. Which of the two it was shows only later. So a move waits: when its server speaks again
// after `confirmMs`, it lives, and the flow counts as moved; when it says farewell or is silent, as failed over.

import { limits } from '../../shared/base/limits.ts';
import type { Receipt } from '../../shared/messages/receipt.ts';
import { Gaps } from './gaps.ts';

export interface ServerRecord {
  /** Its number in the ledger, from 1. */
  readonly number: number;
  readonly id: string;
  readonly group: string;
  /** Number of its newest message to this run, and how many before it never came. */
  sequence: number;
  lostReceipts: number;
  heardAtMs: number;
  /** It has said that it will not speak again. */
  hasLeft: boolean;
  /** Entries of the log that it has passed over. */
  skippedEntries: number;
  flowsNow: number;
  evicted: number;
  expired: number;
}

/** What tells the lives of servers apart. */
interface Life {
  readonly group: string;
  readonly server: string;
  readonly incarnation: number;
}

function nameOf({ group, server, incarnation }: Life): string {
  return `${group}/${server}/${incarnation}`;
}

/** A flow went on at another server than `from`; see LedgerOptions. */
export interface MovedFlow {
  readonly from: number;
  readonly gapMs: number | undefined;
  readonly isAgain: boolean;
}

interface Move {
  readonly atMs: number;
  /** Flows that had not moved before, and others. */
  flows: number;
  again: number;
  readonly gapsMs: number[];
}

/** A server speaks four times a second while a run goes on. */
export const silentMs: number = limits.helloSilentMs;
/** A leaver's flows may be taken by others this long before its last message comes. */
const confirmMs = 3_000;
/** Lives of servers that are followed; messages of further ones are counted and not read. */
const mostServers = 4_096;
/** Moves of one server that come within this time are kept as one. */
const sameMoveMs = 50;

export class Servers {
  /** By number, so the first place is empty. */
  readonly all: (ServerRecord | undefined)[] = [undefined];
  movedFlows = 0;
  failedOver = 0;
  /** How long those had waited at each turn. */
  readonly gaps = new Gaps();
  /** Messages that came again, or of servers beyond the limit. */
  ignored = 0;
  readonly #byLife = new Map<string, ServerRecord>();
  readonly #moves = new Map<number, Move[]>();

  /** A message of a server; its record, or undefined when the message is not to be read. */
  heard(receipt: Receipt, nowMs: number): ServerRecord | undefined {
    const { server, group, incarnation, sequence } = receipt;
    const record = this.#recordOf({ server, group, incarnation }, nowMs);
    if (record === undefined) {
      this.ignored++;
      return undefined;
    }
    if (sequence <= record.sequence) {
      this.ignored++;
      return undefined;
    }
    record.lostReceipts += sequence - record.sequence - 1;
    record.sequence = sequence;
    record.heardAtMs = nowMs;
    record.hasLeft = receipt.isLast;
    record.skippedEntries = receipt.skippedEntries;
    record.flowsNow = receipt.flows;
    record.evicted = receipt.evicted;
    record.expired = receipt.expired;
    if (this.#moves.size > 0) this.#resolve(record, nowMs);
    return record;
  }

  /** A life of a server has ended. When it never spoke to this run, what it got is known to nobody: it counts as gone. */
  ended(life: Life): void {
    if (!this.#byLife.has(nameOf(life))) this.#recordOf(life, Number.NEGATIVE_INFINITY);
  }

  /** Nobody could be heard until now. */
  excuse(nowMs: number): void {
    for (const record of this.all) if (record !== undefined) record.heardAtMs = nowMs;
  }

  /** It has not left, and says nothing any more. */
  isGone(number: number, nowMs: number): boolean {
    const record = this.all[number];
    return record !== undefined && !record.hasLeft && nowMs - record.heardAtMs > silentMs;
  }

  hasLeft(number: number): boolean {
    return this.all[number]?.hasLeft ?? false;
  }

  /** A flow that a server had went on at another one. */
  moved({ from, gapMs, isAgain }: MovedFlow, nowMs: number): void {
    let moves = this.#moves.get(from);
    let move = moves?.at(-1);
    if (move === undefined || nowMs - move.atMs >= sameMoveMs || this.hasLeft(from))
      move = { atMs: nowMs, flows: 0, again: 0, gapsMs: [] };
    if (isAgain) move.again++;
    else move.flows++;
    if (gapMs !== undefined) move.gapsMs.push(gapMs);
    if (this.hasLeft(from)) {
      this.#hasFailedOver(move);
      return;
    }
    if (moves === undefined) this.#moves.set(from, (moves = []));
    if (move !== moves.at(-1)) moves.push(move);
  }

  /** Moves that wait, of servers that may yet speak. */
  hasOpenMoves(nowMs: number): boolean {
    for (const from of this.#moves.keys()) if (!this.isGone(from, nowMs)) return true;
    return false;
  }

  /** Moves that wait. */
  get openMoves(): number {
    let flows = 0;
    for (const moves of this.#moves.values()) for (const move of moves) flows += move.flows + move.again;
    return flows;
  }

  /** The run is over: what still waits is decided by who is there now. */
  finish(nowMs: number): void {
    for (const [from, moves] of this.#moves) {
      for (const move of moves) {
        if (this.isGone(from, nowMs)) this.#hasFailedOver(move);
        else this.movedFlows += move.flows + move.again;
      }
    }
    this.#moves.clear();
  }

  /** Undefined when there are too many. */
  #recordOf(life: Life, heardAtMs: number): ServerRecord | undefined {
    const name = nameOf(life);
    const known = this.#byLife.get(name);
    if (known !== undefined) return known;
    if (this.#byLife.size >= mostServers) return undefined;
    const fresh = { lostReceipts: 0, hasLeft: false, skippedEntries: 0, flowsNow: 0, evicted: 0, expired: 0 };
    const { server: id, group } = life;
    const record = { number: this.all.length, id, group, sequence: 0, heardAtMs, ...fresh };
    this.#byLife.set(name, record);
    this.all.push(record);
    return record;
  }

  #resolve(record: ServerRecord, nowMs: number): void {
    const moves = this.#moves.get(record.number);
    if (moves === undefined) return;
    const waiting: Move[] = [];
    for (const move of moves) {
      if (record.hasLeft) this.#hasFailedOver(move);
      else if (nowMs - move.atMs > confirmMs) this.movedFlows += move.flows + move.again;
      else waiting.push(move);
    }
    if (waiting.length > 0) this.#moves.set(record.number, waiting);
    else this.#moves.delete(record.number);
  }

  /** The server of these flows had died, or left. */
  #hasFailedOver({ flows, gapsMs }: Move): void {
    this.failedOver += flows;
    for (const gapMs of gapsMs) this.gaps.add(gapMs);
  }
}
