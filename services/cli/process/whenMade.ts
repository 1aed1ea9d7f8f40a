// Waiting for a cluster that somebody else has to make. Where logins are narrow, only an administrator may make the bucket
// and the map (`flowherd init`); a service that comes earlier waits for that, says so, and gives up after a while with one
// line. A NATS server that has just started has a key-value store a moment later, so that is waited for too, but not as
// long: a server without JetStream will never have one.

import type { Clock } from '../../../shared/base/clock.ts';
import { type ErrorCode, errorCodes, FlowherdError, isFlowherdError } from '../../../shared/base/errors.ts';

/** How long each lack is borne, in milliseconds. */
const patienceMs: Partial<Record<ErrorCode, number>> = {
  [errorCodes.storeMissing]: 60_000,
  [errorCodes.storeUnavailable]: 10_000,
  [errorCodes.busDisconnected]: 10_000,
  [errorCodes.busTimeout]: 10_000,
};
const retryMs = 1_000;
/** What is waited for is said again after this long. */
const sayAgainMs = 10_000;

export interface WaitOptions {
  readonly clock: Clock;
  /** Told when the waiting begins, and now and then while it goes on. */
  readonly onWait: (reason: string, waitedMs: number) => void;
  /** True for who has to make it: a login that may not is not waited with. */
  readonly isMaker?: boolean;
}

/** Resolves to what `attempt` does as soon as it can; rejects with what it says when that is no use, or the time is over. */
export async function whenMade<T>(attempt: () => Promise<T>, options: WaitOptions): Promise<T> {
  const { clock, onWait, isMaker = false } = options;
  const startMs = clock.monotonicMs();
  let saidAtMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!isFlowherdError(error)) throw error;
      const patience = patienceMs[error.code];
      if (patience === undefined || (isMaker && error.code === errorCodes.storeMissing)) throw error;
      const waitedMs = clock.monotonicMs() - startMs;
      if (waitedMs + retryMs > patience) throw givenUp(error, waitedMs);
      if (clock.monotonicMs() - saidAtMs >= sayAgainMs) {
        saidAtMs = clock.monotonicMs();
        onWait(error.message, Math.round(waitedMs));
      }
      await new Promise<void>((resolve) => clock.setTimer(retryMs, resolve));
    }
  }
}

function givenUp(error: FlowherdError, waitedMs: number): FlowherdError {
  const help = error.code === errorCodes.storeMissing ? ': run "flowherd init" with a login that may' : '';
  const text = `${error.message}${help} (waited ${Math.round(waitedMs / 1_000)} s)`;
  return new FlowherdError(error.code, text, error);
}
