// What all benchmarks share: how a figure is described, the median of several rounds, the machine, and the table.
//
// A benchmark runs in a process of its own, so that what one leaves behind (compiled code, heap) does not reach the next.
// Its figures go to the parent as plain data. A target is only compared with, never asserted: timings depend on the
// machine and on whatever else runs on it.

import { cpus, totalmem } from 'node:os';

export interface Target {
  readonly atMost?: number;
  readonly atLeast?: number;
}

export interface Figure {
  /** Key in the JSON output. */
  readonly key: string;
  /** One number, or several under names. */
  readonly value: number | Readonly<Record<string, number>>;
  /** One for all, or one for each name. */
  readonly unit: string | Readonly<Record<string, string>>;
  /** One for the number, or one for each name. */
  readonly target?: Target | Readonly<Record<string, Target>>;
  /** What the figure was made of, for the JSON output. */
  readonly explain?: Readonly<Record<string, unknown>>;
}

export interface BenchmarkResult {
  readonly figures: readonly Figure[];
  /** Why there are none, or not all. */
  readonly skipped?: string;
}

/** What a run was asked for beside the names of benchmarks. */
export interface Asked {
  /** How many servers are killed, where a benchmark kills some again and again; undefined: as many as it does by itself. */
  readonly kills?: number;
}

export interface BenchmarkModule {
  /** Runs the benchmark; `say` reports progress. */
  run(say: (line: string) => void, asked: Asked): BenchmarkResult | Promise<BenchmarkResult>;
}

/** What the process of a benchmark sends when it is over. */
export type WorkerAnswer = { readonly result: BenchmarkResult } | { readonly problem: string };

/** A row of the table. */
export interface Row {
  readonly figure: string;
  readonly value: string;
  readonly unit: string;
  readonly target: string;
  readonly met: string;
}

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value that this share of the values, 0 to 1, does not exceed; one of them. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** Rounds to three digits or so, that nobody reads more into a figure than there is. */
export function rounded(value: number): number {
  return Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(3));
}

/**
 * Times `work` again and again: nanoseconds for each of the `units` of work that one call does, one value a round. Rounds
 * before the first that counts let the engine compile.
 */
export function timeRounds(rounds: number, units: number, work: (round: number) => void): number[] {
  const warmups = 2;
  const times: number[] = [];
  for (let round = -warmups; round < rounds; round++) {
    const start = process.hrtime.bigint();
    work(round + warmups);
    const ns = Number(process.hrtime.bigint() - start) / units;
    if (round >= 0) times.push(ns);
  }
  return times;
}

/** The rounds of a timing, for `explain`. */
export function spread(times: readonly number[]): Readonly<Record<string, number>> {
  return { rounds: times.length, least: rounded(Math.min(...times)), most: rounded(Math.max(...times)) };
}

export function isMet(value: number, target: Target): boolean {
  return value <= (target.atMost ?? Number.POSITIVE_INFINITY) && value >= (target.atLeast ?? Number.NEGATIVE_INFINITY);
}

/** The rows of a figure: one, or one for each of its named values. */
export function rowsOf(figure: Figure): Row[] {
  const { key, value, unit, target } = figure;
  const unitOf = (name: string) => (typeof unit === 'string' ? unit : (unit[name] ?? ''));
  if (typeof value === 'number') return [row(key, value, unitOf(''), target as Target | undefined)];
  const targets = (target ?? {}) as Readonly<Record<string, Target>>;
  return Object.entries(value).map(([name, each]) => row(`${key}.${name}`, each, unitOf(name), targets[name]));
}

/** A table in plain text, columns under their headings. */
export function tableOf(rows: readonly Row[]): string {
  const heading: Row = { figure: 'figure', value: 'value', unit: 'unit', target: 'target', met: 'met' };
  const all = [heading, ...rows];
  const width = (column: keyof Row) => Math.max(...all.map((each) => each[column].length));
  const [figure, value, unit, target] = [width('figure'), width('value'), width('unit'), width('target')];
  const lines = all.map((each) =>
    [
      each.figure.padEnd(figure),
      each.value.padStart(value),
      each.unit.padEnd(unit),
      each.target.padEnd(target),
      each.met,
    ]
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** What the figures were measured on. */
export function machine(): Readonly<Record<string, string | number>> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memoryGiB: rounded(totalmem() / 2 ** 30),
    os: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}

function row(figure: string, value: number, unit: string, target: Target | undefined): Row {
  const shown = new Intl.NumberFormat('en-GB', { maximumSignificantDigits: value >= 1_000 ? 21 : 3 }).format(
    rounded(value),
  );
  if (target === undefined) return { figure, value: shown, unit, target: '', met: '' };
  const bound = target.atMost === undefined ? `at least ${target.atLeast}` : `at most ${target.atMost}`;
  return { figure, value: shown, unit, target: bound, met: isMet(value, target) ? 'yes' : 'no' };
}
