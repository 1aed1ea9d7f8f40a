// Memory that is in use, for benchmarks that tell what something keeps.

/** Bytes of the heap and of what lies outside of it, after garbage collection (node --expose-gc). */
export function usedBytes(): number {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc');
  // What a first collection lets go of may free more in a second one.
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
