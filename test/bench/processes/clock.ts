// Times that processes of one machine can compare, and what they have spent of its processors.

import { readFileSync } from 'node:fs';

/** The machine's monotonic clock in milliseconds, the same in all processes. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Processor time this process has used so far, all its threads together. */
export function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Processor time that these processes have used, all threads, in steps of 10 ms; one that is gone counts 0. Linux only. */
export function cpuMsOf(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      // Behind the name in parentheses, which may hold anything: fields 14 and 15, in clock ticks of 10 ms.
      const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {}
  }
  return ticks * 10;
}
