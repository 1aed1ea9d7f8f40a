// `npm run sim` as people and programs use it: the report, the exit code, and what it says of options that cannot be.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const main = join(import.meta.dirname, 'main.ts');

test('npm run sim - seeds that hold: exit code 0, and a report for programs', async () => {
  const { code, stdout } = await sim('--seeds', '3', '--seed', '1', '--json');
  assert.equal(code, 0);
  const report = JSON.parse(stdout);
  assert.deepEqual(Object.keys(report), ['seeds', 'failed', 'simulatedSeconds', 'packets', 'seconds']);
  assert.equal(report.seeds, 3);
  assert.deepEqual(report.failed, []);
  assert.ok(report.simulatedSeconds >= 180 && report.packets > 1_000 && report.seconds > 0);
});

test('npm run sim - a sabotage: exit code 1, the story, and the command that runs exactly this again', async () => {
  const { code, stdout } = await sim('--seeds', '1', '--seed', '1', '--sabotage', 'drain-drops', '--json');
  assert.equal(code, 1);
  const { failed } = JSON.parse(stdout);
  assert.deepEqual(Object.keys(failed[0]), ['seed', 'checker', 'story']);
  assert.equal(failed[0].seed, 1);
  const again = /again: npm run sim -- (.*)$/.exec(failed[0].story)?.[1];
  assert.ok(again !== undefined, failed[0].story);
  const replay = await sim(...again.split(' '), '--json');
  assert.equal(replay.code, 1);
  assert.equal(JSON.parse(replay.stdout).failed[0].checker, failed[0].checker);
});

test('npm run sim - for people: one line that says which seeds were run and what came of them', async () => {
  const { code, stdout } = await sim('--seeds', '2', '--seed', '5');
  assert.equal(code, 0);
  assert.match(stdout, /^seeds 5 to 6: [\d,]+ simulated seconds, [\d,]+ packets, in [\d.]+ s: all held\n$/);
});

test('npm run sim - options that cannot be: one line, exit code 2', async () => {
  const wrong = [
    ['--seeds', '0'],
    ['--seed', 'x'],
    ['--keep', '1,b'],
    ['--only', 'earthquake'],
    ['--sabotage', 'nonsense'],
    ['--fast'],
    ['more'],
  ];
  for (const args of wrong) {
    const { code, stdout, stderr } = await sim(...args);
    assert.equal(code, 2, `${args.join(' ')}: exit code ${code}`);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: .+\n$/);
  }
});

test('npm run sim - asking for help is no mistake', async () => {
  const { code, stdout } = await sim('--help');
  assert.equal(code, 0);
  for (const option of ['--seeds', '--seed', '--keep', '--only', '--sabotage', '--standard', '--json'])
    assert.ok(stdout.includes(option), option);
});

function sim(...args: string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
