// The governor of weights: when it changes weights, whose, and how far; and that it needs no memory.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Load } from '../../../../shared/membership/load.ts';
import { reweigh } from '../../../../shared/membership/transitions.ts';
import type { View } from '../../../../shared/membership/view.ts';
import { WeightGovernor } from '../../../../shared/membership/weights/governor.ts';
import { loadOf, viewOf, weightSettings, weightsOf } from '../../../support/weights.ts';

const leastLoaded = weightSettings({ policy: 'least-loaded', load: { cpu: 1 } });

/** Loads of s0, s1, ...; undefined where nothing is heard. */
type Loads = readonly (Partial<Load> | undefined)[];

const many = { flows: 10_000, newFlows: 100 };
const uneven: Loads = [
  { ...many, cpu: 0.9 },
  { ...many, cpu: 0.3 },
  { ...many, cpu: 0.3 },
];

/** The governor hears these loads every second in [fromMs, toMs), and is asked each time. Returns when and what it said. */
function drive(governor: WeightGovernor, view: View, loads: Loads, fromMs: number, toMs: number) {
  const said: { atMs: number; weights: ReadonlyMap<string, number> }[] = [];
  for (let nowMs = fromMs; nowMs < toMs; nowMs += 1_000) {
    hear(governor, loads, nowMs);
    const weights = governor.propose(view, nowMs);
    if (weights !== undefined) said.push({ atMs: nowMs, weights });
  }
  return said;
}

function hear(governor: WeightGovernor, loads: Loads, heardAtMs: number, incarnation = 1): void {
  for (const [index, load] of loads.entries()) {
    if (load !== undefined) governor.heard({ server: `s${index}`, incarnation, load: loadOf(load), heardAtMs });
  }
}

test('weights - the more loaded get less, by a step at most', () => {
  const [first] = drive(new WeightGovernor(leastLoaded), viewOf([100, 100, 100]), uneven, 0, 10_000);
  assert.equal(first.atMs, 5_000);
  assert.deepEqual([...first.weights].sort(), [
    ['s0', 80],
    ['s1', 125],
    ['s2', 125],
  ]);
});

test('weights - changes keep their pause, also when another made the last one', () => {
  const view = viewOf([100, 100, 100]);
  const governor = new WeightGovernor(leastLoaded);
  const [first, second] = drive(governor, view, uneven, 0, 11_000);
  assert.deepEqual([first.atMs, second.atMs], [5_000, 10_000]);
  const others = reweigh(view, new Map([['s0', 90]]));
  const [third] = drive(governor, others, uneven, 14_000, 30_000);
  assert.equal(third.atMs, 19_000);
});

test('weights - in a large group, where reports are rare, a change waits for two of everybody', () => {
  const view = viewOf(Array.from({ length: 400 }, () => 100));
  const loads = view.members.map((_, index) => ({ ...many, cpu: index === 0 ? 0.9 : 0.3 }));
  const [first] = drive(new WeightGovernor(leastLoaded), view, loads, 0, 20_000);
  assert.equal(first.atMs, 8_000);
});

test('weights - without reports nothing changes, and a server that is not heard keeps its weight', () => {
  const view = viewOf([100, 100, 100, 40]);
  assert.deepEqual(drive(new WeightGovernor(leastLoaded), view, [], 0, 60_000), []);
  const [first] = drive(new WeightGovernor(leastLoaded), view, uneven, 0, 10_000);
  assert.ok(!first.weights.has('s3'));
  const five = viewOf([100, 100, 100, 100, 100]);
  const few = drive(new WeightGovernor(leastLoaded), five, uneven.slice(0, 2), 0, 60_000);
  assert.deepEqual(few, [], 'two of five are no group to compare with');
});

test('weights - old reports, and reports of another life, do not count', () => {
  const view = viewOf([100, 100, 100]);
  const old = new WeightGovernor(leastLoaded);
  drive(old, view, uneven, 0, 5_000);
  assert.equal(old.propose(view, 7_001), undefined, 'after three periods of silence');
  const inTime = new WeightGovernor(leastLoaded);
  drive(inTime, view, uneven, 0, 5_000);
  assert.notEqual(inTime.propose(view, 7_000), undefined);

  const former = new WeightGovernor(leastLoaded);
  for (let nowMs = 0; nowMs < 20_000; nowMs += 1_000) {
    hear(former, uneven, nowMs, 7);
    assert.equal(former.propose(view, nowMs), undefined);
  }
});

test('weights - a report from before the last change is not taken for its effect', () => {
  const view = viewOf([100, 100, 100]);
  const governor = new WeightGovernor({ ...leastLoaded, everyMs: 500 });
  hear(governor, uneven, 0);
  assert.equal(governor.propose(view, 1_000), undefined);
  assert.equal(governor.propose(view, 3_000), undefined, 'heard before the governor first saw the view');
  hear(governor, uneven, 3_100);
  assert.notEqual(governor.propose(view, 3_300), undefined);
});

test('weights - joining and draining members and standbys keep theirs, under every policy', () => {
  const view = viewOf([100, 100, 100, { state: 'joining', weight: 7 }, { state: 'draining', weight: 7 }, 0]);
  const members = [...view.members.slice(0, 5), { ...view.members[5], base: 0 }];
  const hot: Loads = [...uneven, uneven[0], uneven[0], uneven[1]].map((load) => ({
    ...load,
    temperature: load === uneven[0] ? 99 : 40,
    latencyMs: load === uneven[0] ? 99 : 4,
    flows: load === uneven[0] ? 50_000 : 10_000,
  }));
  for (const policy of ['equal', 'least-loaded', 'fewest-flows', 'qos', 'thermal'] as const) {
    const skewed = { ...view, members: members.map((each, index) => (index === 1 ? { ...each, weight: 50 } : each)) };
    const [first] = drive(new WeightGovernor(weightSettings({ policy })), skewed, hot, 0, 6_000);
    assert.ok(first.weights.size > 0, policy);
    for (const server of first.weights.keys()) assert.match(server, /^s[012]$/, policy);
  }
});

test('weights - a member that has just become active keeps its configured weight until it reports', () => {
  const view = viewOf([80, 130, 130, 100]);
  const loads: Loads = [{ ...many, cpu: 0.9 }, { ...many, cpu: 0.3 }, { ...many, cpu: 0.3 }, undefined];
  const said = drive(new WeightGovernor(leastLoaded), view, loads, 0, 30_000);
  assert.ok(said.length > 0 && said.every(({ weights }) => !weights.has('s3')));
  const empty: Loads = [...loads.slice(0, 3), { flows: 0, newFlows: 10, cpu: 0.01 }];
  const [first] = drive(new WeightGovernor(leastLoaded), view, empty, 0, 10_000);
  assert.ok((first.weights.get('s3') ?? 100) <= 125, 'and then grows by steps');
});

test('weights - equal and static restore theirs exactly, by the same steps, and then rest', () => {
  const start = viewOf([{ weight: 0 }, { weight: 3, base: 300 }, { weight: 9_000 }, { weight: 97 }]);
  for (const [policy, expected] of [
    ['static', [100, 300, 100, 100]],
    ['equal', [100, 100, 100, 100]],
  ] as const) {
    let view = start;
    let changes = 0;
    let lastMs = 0;
    const governor = new WeightGovernor(weightSettings({ policy }));
    for (let nowMs = 0; nowMs < 600_000; nowMs += 1_000) {
      const weights = governor.propose(view, nowMs);
      if (weights === undefined) continue;
      assert.ok(nowMs >= lastMs + 5_000);
      lastMs = nowMs;
      for (const [server, weight] of weights) {
        const before = view.members.find((member) => member.server === server)?.weight ?? 0;
        assert.ok(before === 0 || weight <= Math.max(before + 1, before * 1.25), `${before} to ${weight}`);
        assert.ok(weight >= Math.min(before - 1, before / 1.25), `${before} to ${weight}`);
      }
      view = reweigh(view, weights);
      changes++;
    }
    assert.deepEqual(weightsOf(view), expected);
    assert.ok(changes >= 21 && changes <= 26, `${changes} changes`);
  }
});

test('weights - new settings hold from the next change on', () => {
  const view = viewOf([100, 100, 100]);
  const governor = new WeightGovernor(weightSettings({ policy: 'static' }));
  assert.deepEqual(drive(governor, view, uneven, 0, 20_000), []);
  governor.retune({ ...leastLoaded, step: 1.5 });
  const [first] = drive(governor, view, uneven, 20_000, 21_000);
  assert.equal(first.weights.get('s0'), 67);
});

test('weights - one outside new bounds comes back, however little it is outside', () => {
  const view = viewOf([104, 96]);
  const even: Loads = [many, many].map((load) => ({ ...load, cpu: 0.5 }));
  const governor = new WeightGovernor(leastLoaded);
  assert.deepEqual(drive(governor, view, even, 0, 20_000), []);
  governor.retune({ ...leastLoaded, least: 0.98, most: 1.02 });
  const [first] = drive(governor, view, even, 20_000, 21_000);
  assert.deepEqual([...first.weights.values()], [102, 98]);
});

test('weights - who takes over goes on from the weights in force', () => {
  const view = viewOf([70, 115, 115]);
  const balanced: Loads = [
    { flows: 7_000, newFlows: 70, cpu: 0.5 },
    { flows: 11_500, newFlows: 115, cpu: 0.5 },
    { flows: 11_500, newFlows: 115, cpu: 0.5 },
  ];
  assert.deepEqual(drive(new WeightGovernor(leastLoaded), view, balanced, 0, 60_000), []);
});

test('weights - a clock that is set back only makes the pause begin anew', () => {
  const view = viewOf([100, 100, 100]);
  const governor = new WeightGovernor(leastLoaded);
  drive(governor, view, uneven, 9_000_000, 9_002_000);
  const [first] = drive(governor, view, uneven, 0, 10_000);
  assert.equal(first.atMs, 5_000);
});

test('weights - strangers that report do not fill the memory, and members are remembered', () => {
  const view = viewOf([100, 100, 100]);
  const governor = new WeightGovernor(leastLoaded);
  governor.propose(view, 0);
  hear(governor, uneven, 100);
  for (let stranger = 0; stranger < 900; stranger++) {
    governor.heard({ server: `x${stranger}`, incarnation: 1, load: loadOf({}), heardAtMs: 200 });
  }
  hear(governor, uneven, 6_000);
  assert.notEqual(governor.propose(view, 6_000), undefined);
});
