// Receipts for a traffic generator: an egress that wraps another one and answers for every packet that goes through it
// and carries a stamp (shared/packet/stamp.ts). The server behind it gets exactly what it would get without.
//
//   decisions ──► receipts ──► the server's egress
//      │ audit      │
//      └────────────┴───────► receipt.<run>, many rows in a message (shared/messages/receipt.ts)
//
// Of the packets that no server gets, most have a cause that the generator can see for itself; the others only an actor
// knows, so those verdicts are answered too (`audit`). One stamp is looked for in every frame, accepted or not: so an
// actor that accepts nothing of a run still says that it is there, and what it has lost.
//
// Whoever can put packets into the cluster can make actors answer. That is bounded: `limits.receiptRuns` runs at once,
// a row of 12 bytes for a packet, a message for `limits.receiptLingerMs` or 1,000 rows, and a few a second to a run that
// was heard lately. Packets of further runs are counted and not answered.

import type { Clock, Timer } from '../../../../shared/base/clock.ts';
import { limits } from '../../../../shared/base/limits.ts';
import type { Frame } from '../../../../shared/log/records/frame.ts';
import { ReceiptRows, receiptVerdicts, runName } from '../../../../shared/messages/receipt.ts';
import { readStamp, stampBytes } from '../../../../shared/packet/stamp.ts';
import type { DecisionAudit } from '../../replica/effects.ts';
import { V } from '../../replica/verdict.ts';
import type { Egress, KeptFlows, ServerEgress } from '../egress.ts';
import { HandledUpTo } from '../handledUpTo.ts';
import type { FlowEndReason, ServerLoad } from '../handlers/handler.ts';

export interface ReceiptEgressOptions {
  /** Where the packets go. */
  readonly inner: Egress & Pick<ServerEgress, 'load'>;
  readonly server: string;
  readonly group: string;
  readonly incarnation: number;
  readonly clock: Clock;
  /** Sends to `receipt.<run>`; what it cannot send is lost, and shows as a hole. */
  publish(run: string, message: Uint8Array): void;
  state(): ActorState;
}

/** What an actor says of itself beside its verdicts. */
export interface ActorState {
  /** Entries of the log that it has passed over so far. */
  readonly skippedEntries: number;
  /** Flows that it holds now. */
  readonly flows: number;
  /** It may own flows: it has become active. */
  readonly isServing: boolean;
}

/** Counts of the actor at a moment. */
interface Marks {
  readonly skippedEntries: number;
  readonly evicted: number;
  readonly expired: number;
}

interface Run {
  readonly name: string;
  readonly rows: ReceiptRows;
  /** What had happened before the run's first frame came. */
  readonly before: Marks;
  sequence: number;
  heardAtMs: number;
  saidAtMs: number;
  /** Its rows are on their way. */
  onSent: (() => void) | undefined;
}

const accepted = receiptVerdicts.indexOf('accepted');
const repeated = receiptVerdicts.indexOf('repeated');
/** Verdicts that are answered, as indexes into `receiptVerdicts`; 0 for all others. */
const answered = new Uint8Array(256);
answered[V.dropTableFull] = receiptVerdicts.indexOf('tableFull');
answered[V.dropNoOwner] = receiptVerdicts.indexOf('noServer');
answered[V.dropFragment] = receiptVerdicts.indexOf('fragment');
/** Answered by servers that may own the flow: one that joins passes over what it does not hold yet, and others accept it. */
const absent = receiptVerdicts.indexOf('absent');

/** A run without new rows is told this often that the server is there. */
const idleMs = 250;

export class ReceiptEgress implements Egress {
  /** What the actor is to report its verdicts to. */
  readonly audit: DecisionAudit;
  /** Packets that were answered. */
  rows = 0;
  /** Stamped packets of runs that were not followed, because there were too many. */
  unanswered = 0;
  readonly #options: ReceiptEgressOptions;
  readonly #runs = new Map<number, Run>();
  readonly #stamp = { run: 0, id: 0, flow: 0 };
  #data: Uint8Array = new Uint8Array(0);
  /** Of the packets of the run that is open. */
  #verdict = accepted;
  readonly #unsent = new HandledUpTo();
  #nowMs = 0;
  #marks: Marks = { skippedEntries: 0, evicted: 0, expired: 0 };
  #evicted = 0;
  #expired = 0;
  #timer: Timer | undefined;
  #timerAtMs = 0;
  #stopped = false;

  constructor(options: ReceiptEgressOptions) {
    this.#options = options;
    this.audit = {
      onFrame: (frame, verdicts) => this.#onFrame(frame, verdicts),
      // A fragment whose first one never came. Its bytes are gone, and generated packets are whole.
      onLate: () => undefined,
    };
  }

  begin(...run: Parameters<Egress['begin']>): void {
    this.#data = run[0];
    this.#verdict = run[3] === true ? repeated : accepted;
    this.#nowMs = this.#options.clock.monotonicMs();
    this.#options.inner.begin(...run);
  }

  add(offset: number, length: number, hi: number, lo: number, flags: number, row?: number, isInState?: boolean): void {
    this.#options.inner.add(offset, length, hi, lo, flags, row, isInState);
    if (length >= stampBytes) this.#answer(this.#data, offset, offset + length, this.#verdict);
  }

  end(): void {
    this.#options.inner.end();
  }

  flowStarted(...event: Parameters<Egress['flowStarted']>): void {
    this.#options.inner.flowStarted(...event);
  }

  flowEnded(hi: number, lo: number, reason: FlowEndReason, timestampMs: number): void {
    if (reason === 'evicted') this.#evicted++;
    else if (reason === 'idle') this.#expired++;
    this.#options.inner.flowEnded(hi, lo, reason, timestampMs);
  }

  /** A packet is done with when its receipt is out, too: the generator must hear of it, from here or from the heir of this server. */
  handled(position: number): number {
    return Math.min(this.#unsent.at(position), this.#options.inner.handled?.(position) ?? position);
  }

  get kept(): KeptFlows | undefined {
    return this.#options.inner.kept;
  }

  tick(nowMs: number): void {
    this.#options.inner.tick?.(nowMs);
  }

  load(): ServerLoad | undefined {
    return this.#options.inner.load?.();
  }

  /** The server has left its group: says what is left, and to every run that it will not speak again. */
  leave(): void {
    if (this.#stopped) return;
    this.stop();
    const nowMs = this.#options.clock.monotonicMs();
    for (const run of this.#runs.values()) this.#send(run, nowMs);
    this.#runs.clear();
  }

  /** Says nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #onFrame(frame: Frame, verdicts: Uint8Array): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#nowMs = nowMs;
    let end = 0;
    let isKnown = false;
    const ifAbsent = this.#options.state().isServing ? absent : 0;
    for (let row = 0; row < frame.count; row++) {
      const start = end;
      end += frame.length(row);
      const verdict = verdicts[row] === V.ignoreAbsent ? ifAbsent : answered[verdicts[row]];
      if (verdict !== 0) this.#answer(frame.payload, start, end, verdict);
      else if (!isKnown && end - start >= stampBytes && readStamp(frame.payload, start, end, this.#stamp)) {
        isKnown = true;
        this.#follow(this.#stamp.run);
      }
    }
    this.#marks = this.#now();
  }

  #answer(data: Uint8Array, start: number, end: number, verdict: number): void {
    const stamp = this.#stamp;
    if (this.#stopped || !readStamp(data, start, end, stamp)) return;
    const run = this.#follow(stamp.run);
    if (run === undefined) {
      this.unanswered++;
      return;
    }
    this.rows++;
    run.onSent ??= this.#unsent.begin();
    run.rows.add(stamp.id, stamp.flow, verdict, this.#nowMs);
    if (run.rows.isFull) this.#send(run, this.#nowMs);
    else if (run.rows.count === 1) this.#wakeAt(this.#nowMs + limits.receiptLingerMs);
  }

  /** The run, as heard now; undefined when there are too many. */
  #follow(id: number): Run | undefined {
    const nowMs = this.#nowMs;
    let run = this.#runs.get(id);
    if (run === undefined) {
      if (this.#stopped || this.#runs.size >= limits.receiptRuns) return undefined;
      const before = this.#marks;
      const rows = new ReceiptRows();
      run = { name: runName(id), rows, before, sequence: 0, heardAtMs: nowMs, saidAtMs: nowMs, onSent: undefined };
      this.#runs.set(id, run);
      this.#wakeAt(nowMs + idleMs);
    }
    run.heardAtMs = nowMs;
    return run;
  }

  #now(): Marks {
    return { skippedEntries: this.#options.state().skippedEntries, evicted: this.#evicted, expired: this.#expired };
  }

  /** One timer for all runs: at the earliest moment that any of them needs. */
  #wakeAt(atMs: number): void {
    if (this.#timer !== undefined) {
      if (this.#timerAtMs <= atMs) return;
      this.#timer.cancel();
    }
    this.#timerAtMs = atMs;
    const waitMs = Math.max(0, atMs - this.#options.clock.monotonicMs());
    this.#timer = this.#options.clock.setTimer(waitMs, () => this.#wake());
  }

  #wake(): void {
    this.#timer = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    for (const [id, run] of this.#runs) {
      if (run.rows.count > 0 || nowMs - run.saidAtMs >= idleMs) this.#send(run, nowMs);
      if (nowMs - run.heardAtMs > limits.receiptRunMs) this.#runs.delete(id);
    }
    if (this.#runs.size > 0) this.#wakeAt(nowMs + idleMs);
  }

  #send(run: Run, nowMs: number): void {
    const { server, group, incarnation } = this.#options;
    const { skippedEntries, evicted, expired } = this.#now();
    const header = {
      server,
      group,
      incarnation,
      sequence: ++run.sequence,
      isLast: this.#stopped,
      skippedEntries: skippedEntries - run.before.skippedEntries,
      flows: this.#options.state().flows,
      evicted: evicted - run.before.evicted,
      expired: expired - run.before.expired,
    };
    run.saidAtMs = nowMs;
    this.#options.publish(run.name, run.rows.finish(header, nowMs));
    run.onSent?.();
    run.onSent = undefined;
  }
}
