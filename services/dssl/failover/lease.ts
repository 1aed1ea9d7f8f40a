// A server that has been asleep does not hand out what is another one's by now.
//
// A member that falls silent is removed, and its heirs replay what it had not handled. If it was only paused, it wakes up with entries of the log
// before it in which it is still a member, and would hand out their packets long after its heirs did. So where flows have backups a server hands
// packets out on a lease: as long as the entries it gets are younger than half the time in which the others give a member up, by the log's own
// stamps, it cannot have been removed unseen. When they are older, it first looks through the commands that lie ahead in the log (a filtered
// read, while the main reader waits), and renews its lease if they leave it in. What it sees there is as old as its question: the lease counts from
// then on, and where the answer took longer than that, it asks again.
//
//   log    ─ handled ┤ ▪ ▪ ▪  ▪  R  ▪ ▪        R: a command that removes this life
//                      └─────────┘
//            asleep      fenced: applied, and not handed out; the heir has them
//
// A command need not take effect: whoever appended it may have been removed before. Then this life is still a member behind R, no heir has its
// rows, and it hands them out from the log then, once a further look ahead has found no other one.
//
// Pure: entries, answers and time in; what is to be done goes out through `LeasePorts`.

import type { EntryMark, LogEntry } from '../../../shared/log/log.ts';
import { decodeCommand } from '../../../shared/log/records/command.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';

export interface LeasePorts {
  /** Holds the main reader behind this entry, and lets it go on. */
  hold(at: EntryMark): void;
  release(): void;
  /** From now on, commands behind this position go to `onCommand`. */
  lookAhead(after: number): void;
  stopLooking(): void;
  /** All commands that there are have been seen. */
  isCurrent(): boolean;
  tell(fields: object, message: string): void;
}

export interface LeaseCounters {
  /** Times that the server was so late that it looked ahead. */
  looks: number;
  /** Packets that it did not hand out, because it had been removed. */
  fencedRows: number;
}

export class Lease {
  readonly counters: LeaseCounters = { looks: 0, fencedRows: 0 };
  /** How late entries may be: half the time in which members are given up. */
  limitMs: number;
  readonly #self: Life;
  readonly #ports: LeasePorts;
  #isLooking = false;
  /** When the look ahead began. */
  #lookedAtMs = 0;
  /** When the newest entry was appended of those that came in time, and until when a look ahead allows it to hand out. */
  #freshAtMs = Number.NEGATIVE_INFINITY;
  #untilMs = Number.NEGATIVE_INFINITY;
  /** The command that removes this life, and behind which entry nothing is handed out before it; 0: none. */
  #removal = 0;
  #fencedBehind = 0;

  constructor(self: Life, limitMs: number, ports: LeasePorts) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.limitMs = limitMs;
    this.#ports = ports;
  }

  /** Something lies ahead that may remove this life: what comes before it is not handed out. */
  get isFencing(): boolean {
    return this.#removal !== 0;
  }

  /** Whether an entry that is so late may be applied. */
  holds(lateMs: number, nowMs: number): boolean {
    if (lateMs > this.limitMs) return nowMs < this.#untilMs || this.isFencing;
    this.#freshAtMs = nowMs - lateMs;
    return true;
  }

  /** Whether what is read again may be handed out: it says nothing of how late it is. */
  isHeld(nowMs: number): boolean {
    return !this.#isLooking && (nowMs - this.#freshAtMs <= this.limitMs || nowMs < this.#untilMs);
  }

  /** Looks ahead, behind this entry, which was applied last; the entry that was late comes again when it may be applied. */
  renew({ position, mark }: EntryMark, nowMs: number): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#lookedAtMs = nowMs;
    this.counters.looks++;
    this.#fencedBehind = position;
    this.#ports.hold({ position, mark });
    this.#ports.lookAhead(position);
  }

  /** A command that lies ahead. */
  onCommand(entry: LogEntry): void {
    if (!this.#isLooking || !this.#removesSelf(entry)) return;
    this.#removal = entry.position;
    this.#ports.tell(
      { position: entry.position },
      'was asleep, and removed meanwhile: what lies before that in the log is not handed out',
    );
    this.#end();
  }

  /** Nobody can look ahead: the main reader finds out why. */
  onBroken(nowMs: number): void {
    if (!this.#isLooking) return;
    this.#untilMs = nowMs + this.limitMs;
    this.#end();
  }

  /** To be called every few tens of milliseconds. */
  tick(nowMs: number): void {
    if (!this.#isLooking || !this.#ports.isCurrent()) return;
    const untilMs = this.#lookedAtMs + this.limitMs;
    if (nowMs < untilMs) {
      this.#untilMs = untilMs;
      this.#end();
    } else {
      this.#lookedAtMs = nowMs;
      this.#ports.stopLooking();
      this.#ports.lookAhead(this.#fencedBehind);
    }
  }

  /**
   * The entry at this position was applied, and `rows` packets of it were not handed out. Answers with the position behind which the server is to be
   * handed its own rows after all, or undefined: the command that should have removed it has not.
   */
  onApplied(position: number, isMember: boolean, rows: number): number | undefined {
    if (!this.isFencing) return undefined;
    if (position < this.#removal) {
      this.counters.fencedRows += rows;
      return undefined;
    }
    this.#removal = 0;
    return isMember && position > this.#fencedBehind ? this.#fencedBehind : undefined;
  }

  /** The log is followed from elsewhere on. */
  clear(): void {
    this.#removal = 0;
    if (!this.#isLooking) return;
    this.#isLooking = false;
    this.#ports.stopLooking();
    this.#ports.release();
  }

  #removesSelf({ data }: LogEntry): boolean {
    const command = decodeCommand(data);
    if (command?.kind === 'remove') return isLifeOf(command.life, this.#self);
    const { server, incarnation } = this.#self;
    return command?.kind === 'join' && command.author.server === server && command.replaces === incarnation;
  }

  #end(): void {
    this.#isLooking = false;
    this.#ports.stopLooking();
    this.#ports.release();
  }
}
