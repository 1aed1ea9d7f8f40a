// The way of one group's frames to the log: under which name and number each goes, and what became of it.
//
// Frames are numbered from 1 within a life, so that every replica applies each of them once and in order (frame.ts). A tier 1
// begins with a life of its own name, and takes a new one, `<name>.2`, `<name>.3`, ..., when replicas may not know any more
// where the present one stands:
//
//   silence   no frame went to the group for `limits.lifeSilentMs`; replicas forget lives that are silent for twice as long;
//   epoch     the group began another line, perhaps with an empty state, in which no life is known.
//
// A frame of the new life must not overtake one of the old, or packets of a flow would change places. So frames of the new
// life are held until the old one's window is empty, and then go through an appender of their own.
//
//   next() ─► take() ─► appender of this life ─► stored or lost
//                │ the old life's window is not empty
//                ▼
//              held, at most a window of them
//
// Pure: times come as arguments, appenders are made by the shell.

import { limits } from '../../shared/base/limits.ts';
import type { Acknowledged, FrameAppender, FrameAppenderOptions } from '../../shared/log/appender.ts';
import { lifeName } from '../../shared/log/records/frame.ts';
import type { Tier1Drop } from './distribute.ts';

/** What is used of a FrameAppender. */
export type Appender = Pick<
  FrameAppender,
  'writable' | 'isIdle' | 'unacknowledgedBytes' | 'offer' | 'whenWritable' | 'flush' | 'stop'
>;
export type AppenderHooks = Pick<FrameAppenderOptions, 'onDropped' | 'onAcknowledged'>;

export interface SentFrame {
  readonly life: string;
  readonly number: number;
  readonly packets: number;
}

export interface OutletOptions {
  /** The name of this tier 1's own life. */
  readonly tier1Id: string;
  /** Bytes of frames that are under way or held at most. */
  readonly windowBytes: number;
  /** Largest frame that the log takes. */
  readonly maxFrameBytes: number;
  /** Makes an appender to the group's log, for one life. */
  makeAppender(hooks: AppenderHooks): Appender;
  /** Told of each frame that is taken, before it leaves. */
  readonly onSend: ((frame: SentFrame) => void) | undefined;
  onStored(frame: SentFrame, bytes: number, position: number): void;
  /** `isUncertain`: it may have got into the log all the same. */
  onLost(frame: SentFrame, cause: Tier1Drop, isUncertain: boolean): void;
  /** Every frame is stored or lost. */
  onSettled(): void;
}

interface HeldFrame extends SentFrame {
  readonly bytes: Uint8Array;
}

export class Outlet {
  readonly #options: OutletOptions;
  #lives = 1;
  #life: string;
  /** Number of the last frame of this life. */
  #number = 0;
  #isRenewalDue = false;
  #lastWallMs = 0;
  #lastMs = 0;
  #appender: Appender;
  /** Frames of the present life while those of the one before are under way; undefined when none are. */
  #held: HeldFrame[] | undefined;
  #heldBytes = 0;
  #isStopped = false;

  constructor(options: OutletOptions) {
    this.#options = options;
    this.#life = options.tier1Id;
    this.#appender = this.#makeAppender();
  }

  get life(): string {
    return this.#life;
  }

  /** The appender of the frames that are under way, for those who wait. */
  get appender(): Appender {
    return this.#appender;
  }

  /** True while frames wait for those of an earlier life. */
  get isHolding(): boolean {
    return this.#held !== undefined;
  }

  /** False when frames have to wait: who can wait should. */
  get writable(): boolean {
    return this.#held === undefined && this.#appender.writable;
  }

  /** False when frames will be dropped. */
  get hasRoom(): boolean {
    const bytes = this.#held === undefined ? this.#appender.unacknowledgedBytes : this.#heldBytes;
    return bytes < this.#options.windowBytes;
  }

  /** True when nothing is on its way to the log. */
  get isIdle(): boolean {
    return this.#held === undefined && this.#appender.isIdle;
  }

  /** The group has begun another line: frames go under another life from the next one on. */
  renew(): void {
    // A life that has no frame in the log yet is as good as a new one.
    if (this.#number > 0 && this.#held === undefined) this.#isRenewalDue = true;
  }

  /**
   * Where the next frame stands. Times are monotonic and wall time: the one stands still while the machine sleeps, the other
   * may be set.
   */
  next(nowMs: number, wallMs: number): { readonly life: string; readonly number: number } {
    const silentMs = Math.max(nowMs - this.#lastMs, Math.abs(wallMs - this.#lastWallMs));
    const mustRenew = this.#isRenewalDue || (this.#number > 0 && silentMs >= limits.lifeSilentMs);
    if (mustRenew && this.#held === undefined && !this.#isStopped) this.#beginLife();
    this.#lastMs = nowMs;
    this.#lastWallMs = wallMs;
    return { life: this.#life, number: this.#number + 1 };
  }

  /** Takes the frame for which `next` was asked. */
  take(bytes: Uint8Array, packets: number): void {
    const frame = { life: this.#life, number: this.#number + 1, packets };
    const { maxFrameBytes, onSend, onLost } = this.#options;
    onSend?.(frame);
    if (bytes.length > maxFrameBytes) {
      // A packet above what the log takes, alone in its frame.
      onLost(frame, 'oversize', false);
      this.#settle();
    } else if (this.#held === undefined) {
      // A frame that is not taken has been told as lost; its number is used again.
      if (this.#appender.offer(bytes, frame.number, packets)) this.#number++;
    } else if (this.#heldBytes + bytes.length <= this.#options.windowBytes) {
      this.#number++;
      this.#held.push({ ...frame, bytes });
      this.#heldBytes += bytes.length;
    } else {
      onLost(frame, 'log-full', false);
    }
  }

  /** What is still under way is lost, and whatever comes later. */
  stop(): void {
    this.#isStopped = true;
    this.#appender.stop();
    for (const frame of this.#held ?? []) this.#options.onLost(frame, 'log-down', false);
    this.#held = undefined;
  }

  #beginLife(): void {
    this.#isRenewalDue = false;
    this.#lives++;
    this.#life = lifeName(this.#options.tier1Id, this.#lives);
    this.#number = 0;
    if (this.#appender.isIdle) this.#appender = this.#makeAppender();
    else this.#held = [];
    this.#heldBytes = 0;
  }

  #makeAppender(): Appender {
    const life = this.#life;
    const { onStored, onLost } = this.#options;
    return this.#options.makeAppender({
      onAcknowledged: ({ number, packets, bytes, position }: Acknowledged) => {
        onStored({ life, number, packets }, bytes, position);
        this.#settle();
      },
      onDropped: (packets, cause, isUncertain, number) => {
        onLost({ life, number, packets }, cause, isUncertain);
        this.#settle();
      },
    });
  }

  /** After a frame was stored or lost: when it was the last one, those that were held go on. */
  #settle(): void {
    if (!this.#appender.isIdle || this.#isStopped) return;
    const held = this.#held;
    if (held !== undefined) {
      this.#held = undefined;
      this.#heldBytes = 0;
      this.#appender = this.#makeAppender();
      for (const { bytes, number, packets } of held) this.#appender.offer(bytes, number, packets);
    }
    if (this.isIdle) this.#options.onSettled();
  }
}
