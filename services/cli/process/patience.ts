// What is not ours may never end: a handler's promise, for one. Ends are waited for, but not for ever.

import { systemClock } from '../../../shared/base/clock.ts';

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

/** How long a handler may take to finish its batches and to stop. */
export const handlerPatienceMs = 10_000;
/**
 * How long leaving may take after the drain: the group's log has to take the word of it and give it back, and the last server of a
 * group leaves word in the key-value store too. Either may be out of reach for good.
 */
export const leavePatienceMs = 10_000;

/** Resolves to what `work` does, or to undefined as soon as `signal` is aborted; then nobody waits for it any longer. */
export function unless<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) resolve(undefined);
    const stop = () => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
    const done = () => signal.removeEventListener('abort', stop);
    work.then(resolve, reject).then(done);
  });
}

/** Waits; resolves to false when `signal` was aborted first. */
export async function pause(ms: number, signal: AbortSignal = new AbortController().signal): Promise<boolean> {
  let timer: { cancel(): void } | undefined;
  const over = new Promise<true>((resolve) => {
    timer = systemClock.setTimer(ms, () => resolve(true));
  });
  const passed = await unless(signal, over);
  timer?.cancel();
  return passed === true;
}
