// The time of a line of the log: what flows age by.
//
// Wall clocks are wrong now and then, and a log's stamps come from wall clocks: a leader that is an hour ahead would end every
// flow at once. So the line counts a time of its own, from 0 at its beginning, and takes from the stamps only their
// differences: between two entries at least 0 and at most a second. A clock that steps costs a second at most, and a clock that
// steps back costs nothing but standing still for one entry. In a capture the packets' own times count in the same way, with
// steps of up to the longest idle limit, since a capture may well pause. Its packets may be a little out of order, where several
// queues or interfaces were captured: were each step ahead counted, such a capture would be as many times as long. So time stands
// still until a packet is newer than all, unless it goes back by more than that.
//
// Both are kept side by side: the group's rules say which one flows age by, and the log's one times the second hand of epochs.

import { mostIdleSeconds } from '../../../../shared/membership/idleLimits.ts';
import type { Fingerprint } from '../snapshot/fingerprint.ts';

/** Longest step between two entries, in milliseconds. */
export const maxLogStepMs = 1_000;
/** Longest step between two frames of a capture. */
export const maxCaptureStepMs: number = 1_000 * mostIdleSeconds;

/** Packets of a capture that are older by no more are out of order; others begin an older part of it. */
export const captureDisorderMs = 60_000;

export interface LineTimeState {
  readonly logMs: number;
  readonly captureMs: number;
  readonly stampMs: number | undefined;
  readonly captureStampMs: number | undefined;
}

export class LineTime {
  /** Milliseconds since the line began, by the log's stamps. */
  logMs = 0;
  /** The same by the packets' times. */
  captureMs = 0;
  #stampMs: number | undefined;
  #captureStampMs: number | undefined;

  /** An entry with this stamp of the log. The newest stamp is remembered, also if it lies before the last one. */
  onEntry(stampMs: number): void {
    if (this.#stampMs !== undefined) this.logMs += clamp(stampMs - this.#stampMs, maxLogStepMs);
    this.#stampMs = stampMs;
  }

  /** A frame with packets of this time, applied or not. */
  onFrame(timestampMs: number): void {
    const stampMs = Math.floor(timestampMs);
    if (this.#captureStampMs !== undefined) {
      const stepMs = stampMs - this.#captureStampMs;
      if (stepMs < 0 && stepMs >= -captureDisorderMs) return;
      this.captureMs += clamp(stepMs, maxCaptureStepMs);
    }
    this.#captureStampMs = stampMs;
  }

  /** A line begins with this entry. */
  begin(stampMs: number): void {
    this.restore({ logMs: 0, captureMs: 0, stampMs, captureStampMs: undefined });
  }

  state(): LineTimeState {
    const { logMs, captureMs } = this;
    return { logMs, captureMs, stampMs: this.#stampMs, captureStampMs: this.#captureStampMs };
  }

  addTo(sum: Fingerprint): void {
    sum.number(this.logMs).number(this.captureMs).number(this.#stampMs).number(this.#captureStampMs);
  }

  restore({ logMs, captureMs, stampMs, captureStampMs }: LineTimeState): void {
    this.logMs = logMs;
    this.captureMs = captureMs;
    this.#stampMs = stampMs;
    this.#captureStampMs = captureStampMs;
  }
}

function clamp(stepMs: number, mostMs: number): number {
  return stepMs > 0 ? Math.min(stepMs, mostMs) : 0;
}
