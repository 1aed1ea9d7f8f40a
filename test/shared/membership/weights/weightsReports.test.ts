// Running means of what members report.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../../../shared/base/limits.ts';
import { Reports } from '../../../../shared/membership/weights/reports.ts';
import { loadOf } from '../../../support/weights.ts';

const report = (cpu: number, heardAtMs: number, incarnation = 1, server = 's0') => ({
  server,
  incarnation,
  heardAtMs,
  load: loadOf({ cpu }),
});

test('weight reports - the mean runs after the newest report', () => {
  const reports = new Reports();
  reports.take(report(1, 0), 0.25, 3_000);
  reports.take(report(3, 1_000), 0.25, 3_000);
  assert.equal(reports.get('s0')?.mean.cpu, 1.5);
  assert.equal(reports.get('s0')?.load.cpu, 3);
  reports.take(report(9, 500), 0.25, 3_000);
  assert.equal(reports.get('s0')?.mean.cpu, 1.5, 'a late one is left out');
});

test('weight reports - another life, a long silence and a clock set back begin a new mean', () => {
  for (const next of [report(3, 1_000, 2), report(3, 3_001), report(3, -3_001)]) {
    const reports = new Reports();
    reports.take(report(1, 0), 0.25, 3_000);
    reports.take(next, 0.25, 3_000);
    assert.equal(reports.get('s0')?.mean.cpu, 3);
  }
});

test('weight reports - what is missing in the newest report is missing in the mean', () => {
  const reports = new Reports();
  const with40 = { ...report(1, 0), load: loadOf({ temperature: 40 }) };
  reports.take(with40, 0.25, 3_000);
  reports.take(report(1, 1_000), 0.25, 3_000);
  assert.equal(reports.get('s0')?.mean.temperature, undefined);
  reports.take({ ...with40, heardAtMs: 2_000 }, 0.25, 3_000);
  assert.equal(reports.get('s0')?.mean.temperature, 40);
});

test('weight reports - the longest silent one is forgotten when there are too many, and all but those to keep', () => {
  const reports = new Reports();
  for (let server = 0; server < limits.groupMembers; server++) reports.take(report(1, 0, 1, `s${server}`), 1, 3_000);
  reports.take(report(1, 1, 1, 's0'), 1, 3_000);
  reports.take(report(1, 1, 1, 'new'), 1, 3_000);
  assert.equal(reports.size, limits.groupMembers);
  assert.equal(reports.get('s1'), undefined);
  assert.ok(reports.get('s0') !== undefined && reports.get('new') !== undefined);
  reports.keepOnly(new Set(['new', 'elsewhere']));
  assert.equal(reports.size, 1);
});
