// What a dead server had not handled comes from the log once more, for its heir.
//
//   log     ... ├─ handled ──────────── removal ─┤ ...
//                  ▪  ▪▪   ▪ ▪▪▪   ▪        ▲
//                  rows that are its heir's │ the main reader waits here
//
// The command that removes a server says how far it had handled the log, and every replica remembers whose the rows behind that were
// (replica/global/recentRows.ts). Whoever is heir to some of them reads their frames a second time and hands those rows to its server, in order and
// marked: the dead server may have had some of them, or, if it is only cut off, may yet hand them out up to its removal. Only then does it go on
// behind the removal. So a flow's packets stay in order, and none is left out.
//
// While it is at this, what it says it has handled stays before the removal. When it dies then, its own removal makes those rows its heirs', and
// they are replayed again. Entries are known by their marks: those of another line of the log are not taken. What the log does not have any more,
// or not in time, is counted and said.
//
// It hands out on its server's lease (lease.ts): where that is over it waits, until a look ahead has shown that the server is still a member.
//
// Pure: entries, bounds and time in; what is to be done goes out through `ReplayPorts`.

import { limits } from '../../../shared/base/limits.ts';
import type { BrokenReason, EntryMark, LogBounds, LogEntry } from '../../../shared/log/log.ts';
import { markOf } from '../../../shared/log/mark.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import type { Heritage } from '../replica/effects.ts';
import type { DueFrame } from '../replica/global/recentRows.ts';

export interface ReplayPorts {
  /** Holds the main reader behind the removal, and lets it go on. */
  hold(at: Heritage): void;
  release(): void;
  /** From now on, frames behind this position go to `onEntry`. */
  reread(after: number): void;
  stopRereading(): void;
  /** `onBounds` gets the answer. */
  lookAtLog(): void;
  /** Whether anything may be handed out now; if not, `goOn` is called once it may, or never. */
  mayHand(): boolean;
  /** These rows of the frame go to the server. */
  hand(frame: Frame, due: DueFrame): void;
  tell(kind: 'info' | 'warn', fields: object, message: string): void;
}

export interface ReplayCounters {
  /** Servers that this one was an heir of, and packets that it has replayed for them. */
  replays: number;
  replayedRows: number;
  /** Packets that it could not replay: the log had trimmed them, or was another one by then. */
  unreplayed: number;
  /** Servers of which it did not remember everything that they had not handled: it joined, or fetched its state, a moment before. */
  partialReplays: number;
}

export class Replay {
  readonly counters: ReplayCounters = { replays: 0, replayedRows: 0, unreplayed: 0, partialReplays: 0 };
  readonly #ports: ReplayPorts;
  readonly #frame = new Frame();
  #heritage: Heritage | undefined;
  /** The removal that was dealt with last. */
  #done: EntryMark = { position: 0, mark: 0 };
  /** The next frame of the heritage. */
  #next = 0;
  #handed = 0;
  /** The second reader is at work. */
  #isReading = false;
  /** The lease is over: nothing may be handed out until it is renewed. */
  #waits = false;
  /** What this server has come by while it waited, in order. */
  #later: Heritage[] = [];
  /** When it got something or asked how far the log reaches last, and how often it has asked since it got something. */
  #heardAtMs = 0;
  #asks = 0;

  constructor(ports: ReplayPorts) {
    this.#ports = ports;
  }

  get isRunning(): boolean {
    return this.#heritage !== undefined;
  }

  /** A server has been removed, whose heir this one may be. Where a removal is read again, because state of before it was fetched, it has been dealt with. */
  begin(heritage: Heritage, nowMs: number): void {
    const { life, handled, frames, isWhole, position, mark } = heritage;
    if (position === this.#done.position && mark === this.#done.mark) return;
    if (!isWhole && heritage.isOwn !== true) {
      this.counters.partialReplays++;
      const fields = { server: life.server, handled };
      this.#ports.tell('warn', fields, 'this replica does not remember all that the dead server had not handled');
    }
    if (frames.length === 0) return;
    this.#ports.hold(heritage);
    if (this.isRunning) this.#later.push(heritage);
    else this.#start(heritage, nowMs);
  }

  /** It may hand out again. */
  goOn(nowMs: number): void {
    const due = this.#heritage?.frames[this.#next];
    if (!this.#waits || due === undefined) return;
    this.#waits = false;
    this.#heardAtMs = nowMs;
    this.#asks = 0;
    this.#read(due);
  }

  /** A frame that is read again. */
  onEntry(entry: LogEntry, nowMs: number): void {
    const heritage = this.#heritage;
    if (heritage === undefined || this.#waits) return;
    if (!this.#ports.mayHand()) {
      this.#waits = true;
      this.#isReading = false;
      this.#ports.stopRereading();
      return;
    }
    this.#heardAtMs = nowMs;
    this.#asks = 0;
    this.#dropUpTo(entry.position - 1);
    for (;;) {
      const due = heritage.frames[this.#next];
      if (due === undefined || due.position !== entry.position) break;
      if (markOf(entry) !== due.mark || this.#frame.decode(entry.data) !== 'none') {
        this.#end('the log is another one now', nowMs);
        return;
      }
      this.#next++;
      this.#handed += due.rows.length;
      this.counters.replayedRows += due.rows.length;
      this.#ports.hand(this.#frame, due);
    }
    if (this.#next === heritage.frames.length) this.#end(undefined, nowMs);
  }

  /** The log is followed from elsewhere on. */
  clear(nowMs: number): void {
    while (this.isRunning) this.#end('the log is another one now', nowMs);
  }

  /** The second reader cannot go on. */
  onBroken(reason: BrokenReason, nowMs: number): void {
    if (this.#heritage === undefined || this.#waits) return;
    this.#isReading = false;
    if (reason !== 'trimmed') this.#end('the log is another one now', nowMs);
    else this.#ask(nowMs);
  }

  /** What the log holds. */
  onBounds(bounds: LogBounds, nowMs: number): void {
    const heritage = this.#heritage;
    if (heritage === undefined || this.#waits) return;
    const before = this.#next;
    this.#dropUpTo(bounds.first - 1);
    const due = heritage.frames[this.#next];
    if (due === undefined) this.#end(undefined, nowMs);
    else if (this.#next !== before || !this.#isReading) this.#read(due);
  }

  tick(nowMs: number): void {
    if (!this.isRunning || this.#waits || nowMs - this.#heardAtMs < limits.replayQuietMs) return;
    if (this.#asks >= limits.replayAsks) this.#end('the log gave nothing for too long', nowMs);
    else this.#ask(nowMs);
  }

  #start(heritage: Heritage, nowMs: number): void {
    this.counters.replays++;
    this.#heritage = heritage;
    this.#next = 0;
    this.#handed = 0;
    this.#heardAtMs = nowMs;
    this.#asks = 0;
    this.#read(heritage.frames[0]);
  }

  #read({ position }: DueFrame): void {
    this.#isReading = true;
    this.#ports.reread(position - 1);
  }

  #ask(nowMs: number): void {
    this.#heardAtMs = nowMs;
    this.#asks++;
    this.#ports.lookAtLog();
  }

  /** The log does not have what lies up to this position any more. */
  #dropUpTo(position: number): void {
    const frames = this.#heritage?.frames ?? [];
    while (this.#next < frames.length && frames[this.#next].position <= position) {
      this.counters.unreplayed += frames[this.#next++].rows.length;
    }
  }

  /** It is done, or cannot go on. */
  #end(problem: string | undefined, nowMs: number): void {
    const heritage = this.#heritage;
    if (heritage === undefined) return;
    this.#dropUpTo(Number.POSITIVE_INFINITY);
    const { life, packets, position, mark, isOwn } = heritage;
    if (problem === undefined) this.#done = { position, mark };
    const unreplayed = packets - this.#handed;
    this.#heritage = undefined;
    this.#waits = false;
    const fields = { server: life.server, packets: this.#handed, position };
    const what = isOwn === true ? 'handed out what was kept back:' : 'replayed';
    this.#ports.tell('info', fields, `${what} ${this.#handed} packets of server ${life.server}`);
    if (unreplayed > 0) {
      const reason = problem ?? 'the log had trimmed them';
      const lost = { server: life.server, unreplayed, reason };
      this.#ports.tell('warn', lost, 'packets that a dead server had not handled could not be replayed');
    }
    this.#ports.stopRereading();
    const next = this.#later.shift();
    if (next === undefined) this.#ports.release();
    else this.#start(next, nowMs);
  }
}
