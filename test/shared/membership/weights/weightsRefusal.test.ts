// Policies that refuse a server new flows: thermal at the ceiling, qos when latency or loss leave their targets; when they
// let it back, and that somebody always takes the flows.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WeightSettings } from '../../../../shared/config/settings.ts';
import type { Load } from '../../../../shared/membership/load.ts';
import { Loop, viewOf, weightSettings, weightsOf } from '../../../support/weights.ts';

/** A group whose loads the test sets; it lets so many changes pass and gives the weights. */
function staged(settings: Partial<WeightSettings>, loads: Partial<Load>[]) {
  const loop = new Loop({
    view: viewOf(loads.map(() => 100)),
    // Every report counts alone here; what smoothing does is tested elsewhere.
    settings: weightSettings({ smoothing: 1, ...settings }),
    speeds: loads.map(() => 1),
    newFlows: 1_000,
    lifetimeSeconds: 60,
    load: (_, index) => loads[index],
  });
  return {
    loop,
    after(changes: number): number[] {
      loop.pass(6 * changes);
      return weightsOf(loop.view);
    },
  };
}

const cool = () => ({ temperature: 60 });
const fine = () => ({ latencyMs: 20, loss: 0 });

test('weight refusal - thermal: at the ceiling none, back only below it by the hysteresis, and then in steps', () => {
  const loads = [cool(), cool(), cool()];
  const { after } = staged({ policy: 'thermal' }, loads);
  loads[0].temperature = 79.9;
  assert.ok(after(1)[0] > 0);
  loads[0].temperature = 80;
  assert.equal(after(1)[0], 0);
  loads[0].temperature = 75.1;
  assert.equal(after(5)[0], 0);
  loads[0].temperature = 75;
  assert.equal(after(1)[0], 13);
  const [back] = after(1);
  assert.ok(back > 13 && back <= 16, `${back}`);
  loads[0].temperature = 45;
  assert.ok(after(15)[0] > 85, 'the cooler it is, the nearer to the others');
});

test('weight refusal - thermal: one reading at the ceiling is enough, and one without a sensor is never refused', () => {
  const loads: Partial<Load>[] = [cool(), cool(), {}];
  const { after } = staged({ policy: 'thermal', smoothing: 0.01 }, loads);
  after(2);
  loads[0] = { temperature: 81 };
  const weights = after(1);
  assert.equal(weights[0], 0);
  assert.ok(weights[2] > 0);
});

test('weight refusal - a server is refused without waiting for the pause between changes, and comes back by it', () => {
  const loads = [cool(), cool(), cool()];
  const { loop } = staged({ policy: 'thermal', everyMs: 600_000 }, loads);
  loop.pass(10);
  loads[0].temperature = 90;
  assert.equal(loop.pass(1), 1);
  assert.deepEqual(weightsOf(loop.view), [0, 100, 100]);
  loads[1].temperature = 90;
  assert.equal(loop.pass(2), 0, 'two reports of everybody are waited for');
  assert.equal(loop.pass(1), 1);
  assert.deepEqual(weightsOf(loop.view), [0, 0, 100]);
  loads[0].temperature = 40;
  assert.equal(loop.pass(500), 0);
  loop.pass(200);
  assert.equal(weightsOf(loop.view)[0], 13);
});

test('weight refusal - thermal: a server says itself that it is too hot, also when the others are not heard', () => {
  const loads = [{ temperature: 90 }];
  const { loop } = staged({ policy: 'thermal' }, loads);
  loop.view = viewOf([100, 100, 100]);
  loop.pass(6);
  assert.deepEqual(weightsOf(loop.view), [0, 100, 100]);
});

test('weight refusal - with all at the ceiling all keep their least, and no view follows another', () => {
  const loads = [cool(), cool(), cool()];
  const { loop, after } = staged({ policy: 'thermal' }, loads);
  loads[0].temperature = 90;
  loads[1].temperature = 90;
  assert.deepEqual(after(1).slice(0, 2), [0, 0]);
  loads[2].temperature = 90;
  assert.deepEqual(after(1), [13, 13, 13]);
  assert.equal(loop.pass(600), 0);
  loads[2].temperature = 60;
  const weights = after(2);
  assert.deepEqual(weights.slice(0, 2), [0, 0]);
  assert.ok(weights[2] > 13);
});

test('weight refusal - the last one that takes flows leaves: those that were refused take them', () => {
  const loads = [cool(), { temperature: 90 }];
  const { loop, after } = staged({ policy: 'thermal' }, loads);
  assert.equal(after(1)[1], 0);
  loop.view = { ...loop.view, members: [{ ...loop.view.members[0], state: 'draining' }, loop.view.members[1]] };
  assert.equal(after(2)[1], 13);
});

test('weight refusal - qos: above its target fewer with each change, then none; back when it has its reserve', () => {
  const loads = [fine(), fine(), fine(), fine()];
  const { loop, after } = staged({ policy: 'qos' }, loads);
  assert.deepEqual(after(3), [100, 100, 100, 100]);
  loads[0].latencyMs = 51;
  assert.deepEqual(after(1), [80, 100, 100, 100]);
  assert.deepEqual(after(1), [64, 100, 100, 100]);
  loads[0].latencyMs = 45;
  assert.deepEqual(after(5), [64, 100, 100, 100], 'within the reserve it stays as it is');
  loads[0].latencyMs = 51;
  assert.equal(after(10)[0], 0);
  const path = loop.changes.map(({ after }) => weightsOf(after)[0]);
  assert.deepEqual(path, [80, 64, 52, 42, 34, 28, 23, 19, 16, 13, 0]);
  loads[0].latencyMs = 41;
  assert.equal(after(5)[0], 0);
  loads[0].latencyMs = 40;
  assert.equal(after(1)[0], 13);
  assert.ok(after(10)[0] > 90);
});

test('weight refusal - qos: far above its target none at once, by latency or by loss', () => {
  for (const bad of [
    { latencyMs: 75, loss: 0 },
    { latencyMs: 20, loss: 0.015 },
  ]) {
    const { after } = staged({ policy: 'qos' }, [bad, fine(), fine(), fine()]);
    assert.deepEqual(after(1), [0, 100, 100, 100]);
  }
});

test('weight refusal - qos: one that measures nothing counts as average', () => {
  const { after } = staged({ policy: 'qos' }, [{}, fine(), fine(), fine()]);
  assert.deepEqual(after(4), [100, 100, 100, 100]);
  const worse = staged({ policy: 'qos' }, [{}, { latencyMs: 55 }, { latencyMs: 55 }, { latencyMs: 55 }]);
  const [silent, measuring] = worse.after(2);
  assert.equal(silent, measuring);
  assert.ok(silent < 100);
});

test('weight refusal - qos: a quarter at most is refused in one change, the worst first', () => {
  const loads = Array.from({ length: 8 }, (_, index) => ({ latencyMs: index < 6 ? 100 + index : 20 }));
  const { loop } = staged({ policy: 'qos' }, loads);
  loop.pass(60);
  const refused = loop.changes.map(({ after }) =>
    weightsOf(after).flatMap((weight, index) => (weight === 0 ? [index] : [])),
  );
  assert.deepEqual(refused.slice(0, 3), [
    [4, 5],
    [3, 4, 5],
    [2, 3, 4, 5],
  ]);
  assert.deepEqual(refused.at(-1), [0, 1, 2, 3, 4, 5]);
});

test('weight refusal - qos: with all far above their targets all come down to their least and stay', () => {
  const loads = [{ latencyMs: 100 }, { latencyMs: 200 }, { latencyMs: 300 }, { latencyMs: 20 }];
  const { loop, after } = staged({ policy: 'qos' }, loads);
  after(1);
  loads[3].latencyMs = 100;
  assert.deepEqual(after(12), [13, 13, 13, 13]);
  assert.equal(loop.pass(600), 0);
});
