// What is not ours may never end: a handler's promise, for one. Ends are waited for, but not for ever.

import { systemClock } from '../../shared/clock.ts';

/** Resolves to true when `work` is done within `patienceMs`, else to false; then nobody waits for it any longer. */
export async function within(patienceMs: number, work: Promise<void>): Promise<boolean> {
  let giveUp: { cancel(): void } | undefined;
  const late = new Promise<false>((resolve) => {
    giveUp = systemClock.setTimer(patienceMs, () => resolve(false));
  });
  const done = await Promise.race([work.then(() => true), late]);
  giveUp?.cancel();
  return done;
}

/** Resolves after so long, or as soon as it is ended. */
export function pause(ms: number, ended?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (ended?.aborted) return resolve();
    const end = () => {
      timer.cancel();
      ended?.removeEventListener('abort', end);
      resolve();
    };
    const timer = systemClock.setTimer(ms, end);
    ended?.addEventListener('abort', end);
  });
}

/** How long a handler may take to finish its batches and to stop. */
export const handlerPatienceMs = 10_000;
/**
 * How long leaving may take after the drain: the key-value store has to learn of it, and then the server goes on deciding
 * until every tier 1 has, some 3 s at most. The store may be out of reach for good.
 */
export const leavePatienceMs = 10_000;
