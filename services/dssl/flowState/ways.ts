// What the two ways of keeping state of flows at a backup have in common (shadows.ts, checkpoints.ts): what flowStates.ts calls.

import type { LogPlace } from '../egress/egress.ts';
import type { SaidState } from './entries.ts';

/** Where packets come from: as in `Egress.begin`. */
export interface Run {
  readonly data: Uint8Array;
  readonly timestampMs: number;
  readonly tier1Id: string;
  readonly place: LogPlace;
}

/** State of a flow with all of its packets up to a position; no bytes: the handler kept nothing. */
export interface TakenState {
  readonly bytes: Uint8Array | undefined;
  readonly position: number;
  /** Of the owner, where what came behind the position is to be had from the log alone. */
  readonly owner?: number;
}

/** What questions are asked by. */
export interface Asking {
  /** Of the last entry that was handed out. */
  readonly position: number;
  readonly nowMs: number;
  /** The other members. */
  readonly owners: readonly { readonly server: string; readonly number: number }[];
  /** The server that a flow is at; undefined where none is known, or it is this one. */
  serverOf(hi: number, lo: number): string | undefined;
}

/** Ask this server. */
export interface Question {
  readonly server: string;
  readonly position: number;
  /** -1: for the flows; else for all that have changed since. */
  readonly since: number;
  readonly flows: Int32Array;
}

export interface FlowsBehind {
  /** It wants the packets of these flows, not only starts and ends. */
  readonly packets: boolean;
  readonly size: number;
  /** Flows whose state is not here. */
  readonly coldFlows: number;
  started(hi: number, lo: number, timestampMs: number, position: number, owner: number): void;
  /** The flow, which began before, is to be kept here from this position on. */
  given(hi: number, lo: number, position: number): void;
  /** A packet that was decided at this position. */
  packet(
    run: Run,
    position: number,
    offset: number,
    length: number,
    hi: number,
    lo: number,
    flags: number,
    row: number,
  ): void;
  endRun(): void;
  /** What is due behind this position is wanted when the flow's owner has been removed; undefined: nothing is. */
  stateAt(hi: number, lo: number): number | undefined;
  /** Such a packet, from the log. */
  feed(run: Run, offset: number, length: number, hi: number, lo: number, flags: number, row: number, due: number): void;
  /** The flow goes on here; `position`: of the last entry that was handed out. Undefined: its state is not here. */
  take(hi: number, lo: number, position: number): TakenState | undefined;
  /** It has ended at this position. */
  end(hi: number, lo: number, position: number): TakenState | undefined;
  /** Somebody else stands behind it from this position on. */
  lose(hi: number, lo: number, position: number): void;
  questions(asking: Asking): Question[];
  /** What an owner has for a flow, at this position. */
  onState(hi: number, lo: number, state: SaidState, position: number, nowMs: number, owner: number): void;
  /** A whole answer is here: `upTo` as in `States`. */
  onAnswer(owner: number, upTo: number): void;
  /** What was kept is not to be trusted any more. */
  clear(): void;
}
