// `npm run bench`: every benchmark in a process of its own, then a table, or JSON. Nothing is asserted about time: the exit
// code is 0 unless a benchmark could not run.

import { fork } from 'node:child_process';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { benchmarks } from './benchmarks.ts';
import {
  type Asked,
  type BenchmarkResult,
  type Figure,
  isMet,
  machine,
  rounded,
  rowsOf,
  type Target,
  tableOf,
  type WorkerAnswer,
} from './runner.ts';

const quick = Object.keys(benchmarks).filter((name) => benchmarks[name].isQuick);
const nameWidth = 2 + Math.max(...Object.keys(benchmarks).map((name) => name.length));

const help = `Usage: npm run bench [-- [--json] [--kills N] [NAME...]]

Measures Flowherd on this machine. Without names the quick benchmarks run (*), in about three minutes; "all" runs every one.
Nothing else should run meanwhile.

  --json      the figures as JSON, with what explains them
  --kills N   takeover: kills with each kind of availability, in place of 5 to 50
  --help      this text

Benchmarks, and about how many seconds each takes:
${Object.entries(benchmarks)
  .map(([name, { about, isQuick, seconds }]) => {
    const mark = isQuick ? '*' : ' ';
    return `${mark} ${name.padEnd(nameWidth)}${String(seconds).padStart(4)}  ${about}`;
  })
  .join('\n')}

A figure that is compared is a ratio within one run, where both sides met the same machine; of several rounds the median counts.
Progress goes to standard error. Those over NATS use the nats-server named by FLOWHERD_NATS_SERVER, or the one on the PATH;
without one they are left out. The exit code is 0 unless a benchmark could not run.
`;

/** What else the machine does shows in every figure. */
const loadBefore = rounded(loadavg()[0]);

async function main(): Promise<void> {
  const only = readOptions();
  if (only === undefined) return;
  const { names, json, asked } = only;
  const figures: Figure[] = [];
  const skipped: Record<string, string> = {};
  const failed: Record<string, string> = {};
  for (const [index, name] of names.entries()) {
    const { about, seconds } = benchmarks[name];
    process.stderr.write(`[${index + 1}/${names.length}] ${name}: ${about}, about ${seconds} s\n`);
    try {
      const result = await runApart(name, asked);
      figures.push(...result.figures);
      if (result.skipped !== undefined) skipped[name] = result.skipped;
    } catch (error) {
      failed[name] = error instanceof Error ? error.message : String(error);
      process.exitCode = 1;
    }
  }
  process.stdout.write(json ? asJson(figures, skipped, failed) : asTable(figures, skipped, failed));
}

/** The benchmarks asked for; undefined when there is nothing to run, which has then been said. */
function readOptions(): { names: string[]; json: boolean; asked: Asked } | undefined {
  const fail = (why: string) => {
    process.stderr.write(`${why}; try npm run bench -- --help\n`);
    process.exitCode = 2;
    return undefined;
  };
  try {
    const { values, positionals } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        kills: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
      allowPositionals: true,
    });
    if (values.help) {
      process.stdout.write(help);
      return undefined;
    }
    const every = Object.keys(benchmarks);
    const asked = positionals.length === 0 ? quick : positionals.includes('all') ? every : positionals;
    const unknown = asked.find((name) => !Object.hasOwn(benchmarks, name));
    if (unknown !== undefined) return fail(`there is no benchmark ${unknown}`);
    const names = every.filter((name) => asked.includes(name));
    const { json, kills } = values;
    if (kills !== undefined && !/^[1-9]\d{0,3}$/.test(kills))
      return fail(`--kills ${kills}: a number from 1 on is wanted`);
    return { names, json, asked: kills === undefined ? {} : { kills: Number(kills) } };
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

function runApart(name: string, asked: Asked): Promise<BenchmarkResult> {
  return new Promise((resolve, reject) => {
    const worker = fork(new URL('./worker.ts', import.meta.url), [name, JSON.stringify(asked)], {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    worker.once('message', (answer: WorkerAnswer) => {
      if ('problem' in answer) reject(new Error(answer.problem));
      else resolve(answer.result);
    });
    worker.once('exit', (code, signal) => reject(new Error(`ended with ${code ?? signal}`)));
  });
}

function asTable(figures: readonly Figure[], skipped: Record<string, string>, failed: Record<string, string>): string {
  const { cpu, cores, memoryGiB, os, node } = machine();
  const nats = natsServerOf(figures);
  const lines = [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${os}, Node ${node}${nats === undefined ? '' : `, ${nats}`}`,
    `${loadBefore} processes wanted a core in the minute before`,
    '',
  ];
  lines.push(tableOf(figures.flatMap(rowsOf)));
  for (const [name, why] of Object.entries(skipped)) lines.push(`left out of ${name}: ${why}`);
  for (const [name, why] of Object.entries(failed)) lines.push(`${name} failed: ${why}`);
  return `${lines.join('\n').trimEnd()}\n`;
}

function asJson(figures: readonly Figure[], skipped: Record<string, string>, failed: Record<string, string>): string {
  const all: Record<string, unknown> = {};
  const explain: Record<string, unknown> = {};
  const targets: Record<string, unknown> = {};
  for (const { key, value, unit, target, explain: why } of figures) {
    all[key] = typeof value === 'number' ? rounded(value) : mapValues(value, rounded);
    explain[key] = unit === '' ? why : { unit, ...why };
    if (target === undefined) continue;
    if (typeof value === 'number') targets[key] = withMet(value, target as Target);
    else targets[key] = mapValues(target as Record<string, Target>, (each, name) => withMet(value[name], each));
  }
  const natsServer = natsServerOf(figures);
  const on = { ...machine(), loadBefore, ...(natsServer === undefined ? {} : { natsServer }) };
  return `${JSON.stringify({ machine: on, ...all, targets, explain, skipped, failed }, null, 2)}\n`;
}

function natsServerOf(figures: readonly Figure[]): string | undefined {
  const found = figures.find(({ explain }) => explain?.natsServer !== undefined);
  return found === undefined ? undefined : String(found.explain?.natsServer);
}

function withMet(value: number, target: Target): object {
  return { ...target, met: isMet(value, target) };
}

function mapValues<T, U>(
  record: Readonly<Record<string, T>>,
  change: (value: T, name: string) => U,
): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value, name)]));
}

await main();
