// `npm run sim`: a cluster in one process, virtual time, one seed after the other. It says what did not hold, tells the
// story of the packet or flow that broke, and prints the command that runs exactly this again.

import { availableParallelism } from 'node:os';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { wholeNumber } from '../../services/cli/process/parse.ts';
import { isOneOf } from '../../shared/base/validate.ts';
import { type FaultKind, faultKinds } from './faults.ts';
import { runSeeds } from './pool.ts';
import type { RunOptions } from './run.ts';
import { sabotages } from './sabotage.ts';
import type { SeedResult } from './worker.ts';

interface Options {
  readonly seeds: number;
  readonly seed: number;
  readonly steps: number;
  readonly standard?: boolean;
  readonly keep?: readonly number[];
  readonly only?: readonly FaultKind[];
  readonly sabotage?: string;
  readonly jobs: number;
  readonly json?: boolean;
}

const largestSeed = 2 ** 31 - 1;
/** Stories printed in full; of further failures only the first line. */
const storiesTold = 3;

const command = new Command('npm run sim --')
  .description(
    'Runs a whole cluster under simulated traffic and faults, once for each seed, and checks what must hold.',
  )
  .option('--seeds <n>', 'seeds to run, one after the other', wholeNumber(1, 10_000_000), 200)
  .option('--seed <n>', 'the first seed (default: another one each time)', wholeNumber(0, largestSeed))
  .option('--steps <n>', 'simulated seconds of each run', wholeNumber(25, 86_400), 60)
  .option(
    '--standard',
    'the standard cluster instead of one drawn from the seed: 3 tier 1s, 4 groups, 12 actors, 10,000 flows',
  )
  .option('--keep <numbers>', 'let only these faults of the seed happen, such as 3,7; "none" for none', numbersOf)
  .option('--only <kinds>', `only faults of these kinds, and more of them: ${faultKinds.join(', ')}`, kindsOf)
  .addOption(
    new Option('--sabotage <name>', 'put a wrong part in, to see that it is caught').choices(Object.keys(sabotages)),
  )
  .option('--jobs <n>', 'threads', wholeNumber(1, 64), availableParallelism())
  .option('--json', 'the outcome as JSON')
  .addHelpText(
    'after',
    `
Examples:
  $ npm run sim -- --seeds 10000
  $ npm run sim -- --seed 7 --seeds 1 --keep 2,5
  $ npm run sim -- --sabotage join-unsynchronised

Exit code 1 when something did not hold in any of them, 2 for arguments that cannot be. test/sim/README.md tells how to
add a fault or a checker.`,
  )
  .exitOverride();

const options = readOptions();
const sabotage = options.sabotage === undefined ? undefined : sabotages[options.sabotage];
const kinds = options.only ?? sabotage?.kinds;
const firstSeed = options.seed ?? Date.now() % largestSeed;
const lastSeed = firstSeed + options.seeds - 1;
const startMs = performance.now();
const failed: { seed: number; checker: string; story: string }[] = [];
let packets = 0;
let simulatedSeconds = 0;
let done = 0;

// Whoever reads may go away, as `head` does; nothing is left to be told to anybody then.
process.stdout.on('error', () => process.exit(1));

await runAll();

failed.sort((one, other) => one.seed - other.seed);
const seconds = Number(((performance.now() - startMs) / 1_000).toFixed(3));
if (options.json) {
  process.stdout.write(
    `${JSON.stringify({ seeds: options.seeds, failed, simulatedSeconds: Math.round(simulatedSeconds), packets, seconds }, null, 2)}\n`,
  );
} else {
  const verdict = failed.length === 0 ? 'all held' : `${failed.length} failed`;
  process.stdout.write(
    `seeds ${firstSeed} to ${lastSeed}: ${count(Math.round(simulatedSeconds))} simulated seconds, ${count(packets)} packets, in ${seconds} s: ${verdict}\n`,
  );
}
if (failed.length > 0) process.exitCode = 1;

function readOptions(): Options {
  try {
    return command.parse().opts<Options>();
  } catch (error) {
    // Commander has printed its own line already; asking for help is no mistake.
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
    throw error;
  }
}

function runAll(): Promise<void> {
  const run: RunOptions = {
    seconds: options.steps,
    standard: options.standard === true,
    ...(options.keep === undefined ? {} : { keep: options.keep }),
    ...(kinds === undefined ? {} : { kinds }),
    ...(sabotage?.plan === undefined ? {} : { plan: sabotage.plan }),
  };
  const seeds = { first: firstSeed, count: options.seeds };
  return runSeeds(seeds, { options: run, sabotage: options.sabotage }, options.jobs, take);
}

function take({ seed, failure, ...counts }: SeedResult): void {
  packets += counts.packets;
  simulatedSeconds += counts.simulatedSeconds;
  done++;
  if (process.stderr.isTTY && !options.json) process.stderr.write(`\r${done} of ${options.seeds} seeds \r`);
  if (failure === undefined) return;
  const again = commandFor(seed, failure.keep);
  failed.push({ seed, checker: failure.checker, story: `${failure.story}\nagain: ${again}` });
  if (options.json) return;
  const story = failed.length > storiesTold ? failure.story.split('\n', 1)[0] : failure.story;
  process.stdout.write(`seed ${seed}: ${failure.checker}: ${story}\n  again: ${again}\n`);
}

function commandFor(seed: number, keep: readonly number[]): string {
  return [
    `npm run sim -- --seeds 1 --seed ${seed} --steps ${options.steps}`,
    options.standard ? ' --standard' : '',
    options.only === undefined ? '' : ` --only ${options.only.join(',')}`,
    options.sabotage === undefined ? '' : ` --sabotage ${options.sabotage}`,
    ` --keep ${keep.length === 0 ? 'none' : keep.join(',')}`,
  ].join('');
}

function numbersOf(text: string): readonly number[] {
  if (text === 'none') return [];
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError('numbers separated by commas are wanted, or "none"');
  return text.split(',').map(Number);
}

function kindsOf(text: string): readonly FaultKind[] {
  return text.split(',').map((kind) => {
    if (!isOneOf(faultKinds, kind)) throw new InvalidArgumentError(`there is no fault "${kind}"`);
    return kind;
  });
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}
