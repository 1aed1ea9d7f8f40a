// Waiting for what no event tells: a condition is looked at once in every turn of the event loop.

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setImmediate(resolve));
}
