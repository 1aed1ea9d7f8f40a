// Ending on a signal. A service ends in order at the first one: it drains, or sends what it has. The second one ends it at
// once, and so does the first one as long as there is nothing to end in order.
//
// The latter needs a handler too: in a container a service may be process 1, and the kernel keeps signals without a
// handler from process 1.

const exitCodes: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143 };
const signals = ['SIGINT', 'SIGTERM'] as const;

let release: () => void = () => undefined;

/** From here on a signal ends the process at once, after telling `log`; until onSignals(). */
export function endAtSignals(log: { info(fields: object, message: string): void }): void {
  replace((signal) => {
    log.info({ signal }, 'ended before it was part of the cluster');
    process.exit(exitCodes[signal]);
  });
}

/** Calls `onSignal` at the first SIGINT or SIGTERM; a second one ends the process at once. Returns how to stop that. */
export function onSignals(onSignal: (signal: string) => void): () => void {
  let signalled = false;
  return replace((signal) => {
    if (signalled) process.exit(130);
    signalled = true;
    onSignal(signal);
  });
}

function replace(handle: (signal: NodeJS.Signals) => void): () => void {
  const former = release;
  for (const signal of signals) process.on(signal, handle);
  former();
  const mine = () => {
    for (const signal of signals) process.off(signal, handle);
  };
  release = mine;
  return mine;
}
