// `npm run sim`: runs the schedules of seeds S, S+1, ... and tells of the first thing that does not hold in each.

import { Command } from 'commander';
import { wholeNumber } from '../../services/cli/parse.ts';
import { storyOf } from './checkers.ts';
import { Schedule } from './schedule.ts';

interface Options {
  readonly seeds: number;
  readonly seed: number;
  readonly steps: number;
  readonly json?: boolean;
}

const largestSeed = 2 ** 31 - 1;

const options = new Command('npm run sim --')
  .description(
    'Runs a group of DSSL actors through random schedules of joins, drains and deliveries, one for each seed.',
  )
  .option('--seeds <n>', 'schedules to run', wholeNumber(1, 10_000_000), 500)
  .option('--seed <n>', 'the first seed ', wholeNumber(0, largestSeed), Date.now() % largestSeed)
  .option('--steps <n>', 'steps of each schedule', wholeNumber(1, 100_000), 400)
  .option('--json', 'the outcome as JSON')
  .addHelpText(
    'after',
    '\nExample:\n  $ npm run sim -- --seeds 10000 --seed 1\n\nExit code 1 when something did not hold in any of them.',
  )
  .parse()
  .opts<Options>();

const startMs = performance.now();
const failed: { seed: number; checker: string; story: string }[] = [];
let packets = 0;
let simulatedMs = 0;
for (let seed = options.seed; seed < options.seed + options.seeds; seed++) {
  const schedule = new Schedule(seed);
  const beganMs = schedule.group.nowMs;
  schedule.run(options.steps);
  packets += schedule.group.packets.size;
  simulatedMs += schedule.group.nowMs - beganMs;
  const story = storyOf(schedule);
  if (story === undefined) continue;
  failed.push({ seed, ...story });
  if (!options.json) {
    const again = `npm run sim -- --seeds 1 --seed ${seed} --steps ${options.steps}`;
    process.stdout.write(`seed ${seed}: ${story.checker}: ${story.story}\n  again: ${again}\n`);
  }
}
const seconds = Number(((performance.now() - startMs) / 1_000).toFixed(3));
const { seeds } = options;
process.stdout.write(
  options.json
    ? `${JSON.stringify({ seeds, failed, simulatedSeconds: simulatedMs / 1_000, packets, seconds }, null, 2)}\n`
    : `${seeds} seeds from ${options.seed}, ${packets} packets, ${seconds} s: ${failed.length === 0 ? 'all held' : `${failed.length} failed`}\n`,
);
if (failed.length > 0) process.exitCode = 1;
