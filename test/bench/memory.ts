// Memory that is in use, for benchmarks that tell what something keeps.

import { readFileSync } from 'node:fs';

/** Bytes of memory that a process has at the moment; 0 when it is gone. Linux only. */
export function residentBytesOf(pid: number): number {
  try {
    return 1_024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Bytes of the heap and of what lies outside of it, after garbage collection (node --expose-gc). */
export async function usedBytes(): Promise<number> {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc');
  // Arrays are given back by another thread a moment after their collection, and code that is not used goes with the
  // second or third one: until nothing changes any more.
  let used = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 12; turn++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { heapUsed, external } = process.memoryUsage();
    const before = used;
    used = heapUsed + external;
    if (turn >= 3 && Math.abs(used - before) < 16_384) break;
  }
  return used;
}
