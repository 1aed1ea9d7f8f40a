// Memory that is in use, for benchmarks that tell what something keeps.

/** Bytes of the heap and of what lies outside of it, after garbage collection (node --expose-gc). */
export async function usedBytes(): Promise<number> {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc');
  // The memory of arrays is given back by another thread, a moment after their collection.
  for (let turn = 0; turn < 3; turn++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
