// Captures as ingress: a file's packets go into tier 1, as fast as the logs and the slowest member take them, or in the
// file's own time.

import { stat } from 'node:fs/promises';
import type { Clock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import type { CaptureBatch } from '../../../shared/capture/batch.ts';
import { PacketTimes } from '../../../shared/capture/packetTimes.ts';
import { type CaptureSummary, readCapture } from '../../../shared/capture/reader.ts';
import { UnreadLinkTypes } from '../../../shared/packet/decode/link/linkTypes.ts';
import type { Tier1Actor } from '../actor.ts';

export interface CaptureIngressOptions {
  /** `max`: without pauses. Otherwise a factor on the capture's own pace: 1 is as recorded, 10 ten times as fast. */
  readonly speed: 'max' | number;
  /** Whether frames carry the capture's time, or the time of the replay as if the packets came in live. */
  readonly packetTime: 'capture' | 'live';
  readonly clock: Clock;
  /** Called after each batch; the ingress goes on when it has resolved. */
  readonly onBatch?: () => Promise<void>;
  /** Something is to happen before the next packet: `act` is called then, and the ingress goes on when it has resolved. */
  readonly between?: { isDue(): boolean; act(): Promise<void> };
  /** Ends the ingress early when it is aborted, between two batches or during a pause. */
  readonly stop?: AbortSignal;
}

/** Longest pause between two packets of a paced replay, in milliseconds: gaps in a capture are not worth waiting for. */
const longestPauseMs = 2_000;
/** Packets fed between two looks at the logs and the event loop, when the pace allows. */
const runLength = 256;
/** Or so many bytes, whichever comes first. */
const runBytes = 256 * 1024;

/** A capture that was fed: the reader's summary, and what was seen of its packets. */
export interface FedCapture extends CaptureSummary {
  readonly times: PacketTimes;
  readonly unread: UnreadLinkTypes;
}

/**
 * Looks whether there is a capture to read, before anything depends on it. Rejects with a CaptureError when there is none, and
 * with FlowherdError bad-config for a kind of source that does not exist. What is no file (a pipe) is not read, as that could not
 * be undone.
 */
export async function checkCapture(source: string): Promise<void> {
  if (source === '-') return;
  const found = await stat(source).catch(() => undefined);
  const scheme = /^([A-Za-z][\w+.-]*):/.exec(source)?.[1];
  if (found === undefined && scheme !== undefined) {
    throw new FlowherdError(
      errorCodes.badConfig,
      `${source}: there is no such file, and no kind of input "${scheme}:"; name a capture, "-" or, for tier1, udp://host:port or "bus"`,
    );
  }
  if (found !== undefined && !found.isFile() && !found.isDirectory()) return;
  const reader = readCapture(source, { batchPackets: 1 });
  await reader.next();
  await reader.return(undefined as never);
}

/**
 * Feeds a capture ('-' is standard input) to tier 1. Rejects with a CaptureError when there is no capture to read; damage
 * part-way is the summary's `problem`.
 */
export async function feedCapture(
  tier1: Tier1Actor,
  source: string,
  options: CaptureIngressOptions,
): Promise<FedCapture> {
  const times = new PacketTimes();
  const unread = new UnreadLinkTypes();
  const { end, packets } = await feedBatches(tier1, mended(readCapture(source), times), unread, options);
  if (end !== undefined) return { ...end, times, unread };
  return { packets, bytes: 0, format: '', problem: 'it was stopped', times, unread };
}

/** The same batches, with their times put right. */
async function* mended<T>(
  reader: AsyncGenerator<CaptureBatch, T, void>,
  times: PacketTimes,
): AsyncGenerator<CaptureBatch, T, void> {
  try {
    for (;;) {
      const { done, value } = await reader.next();
      if (done) return value;
      times.mend(value);
      yield value;
    }
  } finally {
    // Only an early end leaves it open; what it would return then is of no use to anybody.
    await reader.return(undefined as T);
  }
}

/**
 * Feeds batches to tier 1, whose times are good, and counts their packets by link type in `unread`. Resolves to the number
 * of packets and to what the reader returns, which is undefined when it was stopped before.
 */
export async function feedBatches<T>(
  tier1: Tier1Actor,
  reader: AsyncGenerator<CaptureBatch, T, void>,
  unread: UnreadLinkTypes,
  options: CaptureIngressOptions,
): Promise<{ readonly end: T | undefined; readonly packets: number }> {
  const { clock, speed, packetTime, onBatch, between, stop } = options;
  const pace = new Pace(clock, speed);
  let packets = 0;
  let fedBytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.next();
      if (done) {
        tier1.fed();
        return { end: value, packets };
      }
      const batch = value;
      unread.add(batch.linkTypes, batch.count);
      for (let row = 0; row < batch.count; row++) {
        const timeMs = batch.timesMs[row];
        const waitMs = pace.waitMs(timeMs);
        fedBytes += batch.lengths[row];
        const isRunOver = row % runLength === 0 || fedBytes >= runBytes;
        if (isRunOver) fedBytes = 0;
        if (waitMs > 0 || (isRunOver && !(tier1.isReady && tier1.isKeptUp))) {
          tier1.fed();
          await pause(clock, waitMs);
          await tier1.keptUp();
          if (stop?.aborted) return { end: undefined, packets };
        }
        if (between?.isDue()) {
          tier1.fed();
          await between.act();
          if (stop?.aborted) return { end: undefined, packets };
        }
        packets++;
        const start = batch.offsets[row];
        tier1.distributor.packet(
          batch.buffer,
          start,
          start + batch.lengths[row],
          batch.linkTypes[row],
          batch.interfaces[row],
          packetTime === 'live' ? clock.nowMs() : timeMs,
        );
      }
      tier1.fed();
      // Let deliveries and timers run between batches: on the embedded bus all of them share this thread.
      await new Promise<void>((resolve) => clock.defer(resolve));
      await tier1.keptUp();
      await onBatch?.();
      if (stop?.aborted) return { end: undefined, packets };
    }
  } finally {
    await reader.return(undefined as T);
  }
}

/** When the next packet of a paced replay is due. */
class Pace {
  readonly #clock: Clock;
  readonly #factor: number;
  #originMs = 0;
  #startedAtMs = -1;

  constructor(clock: Clock, speed: 'max' | number) {
    this.#clock = clock;
    this.#factor = speed === 'max' ? 0 : speed;
  }

  waitMs(timeMs: number): number {
    if (this.#factor === 0) return 0;
    const nowMs = this.#clock.monotonicMs();
    if (this.#startedAtMs < 0) {
      this.#startedAtMs = nowMs;
      this.#originMs = timeMs;
    }
    const waitMs = this.#startedAtMs + (timeMs - this.#originMs) / this.#factor - nowMs;
    if (waitMs <= longestPauseMs && waitMs >= -longestPauseMs) return waitMs;
    // A gap or a jump of the capture's clock: go on from here.
    this.#startedAtMs = nowMs;
    this.#originMs = timeMs;
    return 0;
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(Math.max(0, ms), resolve));
}
