// What must hold of adaptive weights whatever is reported and whatever they are: bounds, steps, trifles, order of reports;
// and that the loop of weights and loads comes to rest from any start, for loads that answer at once and for lazy ones.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { weightPolicies } from '../../../../shared/config/settings.ts';
import { reweigh } from '../../../../shared/membership/transitions.ts';
import { WeightGovernor } from '../../../../shared/membership/weights/governor.ts';
import { Loop, type LoopServer, loadOf, viewOf, weightSettings, weightsOf } from '../../../support/weights.ts';

const oneMember = fc.record({
  weight: fc.oneof(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 0, max: 6 })),
  base: fc.oneof(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 0, max: 6 }), fc.constant(100)),
  state: fc.constantFrom('active', 'active', 'active', 'active', 'joining', 'draining'),
} as const);
const unlikely = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 5 });
const oneLoad = fc.record({
  flows: fc.oneof(fc.nat(10), fc.nat(100_000)),
  newFlows: fc.nat(10_000),
  packets: fc.nat(1_000_000),
  bytes: fc.nat(),
  loopDelayMs: fc.float({ min: 0, max: 1_000, noNaN: true }),
  cpu: fc.float({ min: 0, max: 4, noNaN: true }),
  memoryBytes: fc.nat(),
  tableFill: fc.float({ min: 0, max: 1, noNaN: true }),
  lostFrames: fc.nat(),
  temperature: unlikely(fc.integer({ min: -50, max: 110 })),
  handler: unlikely(fc.float({ min: 0, max: 2, noNaN: true })),
  latencyMs: unlikely(fc.integer({ min: 0, max: 200 })),
  loss: unlikely(fc.float({ min: 0, max: 1, noNaN: true })),
});
const someSettings = fc.record({
  policy: fc.constantFrom(...weightPolicies),
  load: fc.constantFrom({ cpu: 1 }, { flows: 1, cpu: 2 }, { temperature: 1, handler: 3 }, { bytes: 1, loopDelayMs: 1 }),
  smoothing: fc.constantFrom(0.01, 0.3, 1),
  deadband: fc.constantFrom(0, 0.1, 0.2),
  chance: fc.constantFrom(0, 5),
  step: fc.constantFrom(1.01, 1.25, 3),
  least: fc.constantFrom(0, 0.125, 1),
  most: fc.constantFrom(1, 4, 64),
});
/** Members with up to three reports each; the first lies in the past. */
const cases = fc.record({
  members: fc.array(fc.tuple(oneMember, fc.array(oneLoad, { maxLength: 3 })), { minLength: 1, maxLength: 8 }),
  settings: someSettings,
});

type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

/** The weights before and after one proposal, with reports taken in by the order of servers given. */
function proposeOnce({ members, settings }: Case, order: (servers: number[]) => number[] = (servers) => servers) {
  const view = viewOf(members.map(([member]) => member));
  const governor = new WeightGovernor(weightSettings(settings));
  governor.propose(view, 0);
  for (const moment of [0, 1, 2]) {
    for (const server of order(members.map((_, index) => index))) {
      const load = members[server][1][moment];
      if (load === undefined) continue;
      governor.heard({ server: `s${server}`, incarnation: 1, load, heardAtMs: 3_000 + 900 * moment });
    }
  }
  const weights = governor.propose(view, 5_000);
  return { view, weights, next: weights === undefined ? view : reweigh(view, weights) };
}

test('weight properties - weights are whole, within their bounds or nearer to them, and move by one step', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const { least, most, step, policy } = each.settings;
      const { view, next } = proposeOnce(each);
      for (const [index, { weight, base, state }] of view.members.entries()) {
        const now = next.members[index].weight;
        assert.ok(Number.isInteger(now) && now >= 0 && now <= 65_535, `${now}`);
        if (now === weight) continue;
        assert.ok(state === 'active' && base > 0, 'only active members that are no standbys');
        if (now === 0) assert.ok(policy === 'qos' || policy === 'thermal');
        const low = Math.max(1, Math.ceil(least * base));
        const high = Math.max(low, Math.min(65_535, Math.floor(most * base)));
        // Refusing is done at once, and so is taking it back for want of others.
        if (weight === 0 || now === 0 || now === low) continue;
        assert.ok(now <= Math.max(weight + 1, weight * step), `${weight} to ${now}`);
        assert.ok(now >= Math.min(weight - 1, weight / step), `${weight} to ${now}`);
        if (policy === 'equal' || policy === 'static') continue;
        assert.ok((now >= low || now > weight) && (now <= high || now < weight), `${weight} to ${now}: ${low}-${high}`);
      }
    }),
    { numRuns: 1_000 },
  );
});

test('weight properties - somebody takes the flows', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const { view, next, weights } = proposeOnce(each);
      const taking = next.members.filter(({ state, weight }) => state === 'active' && weight > 0);
      const could = view.members.some(({ state, base }) => state === 'active' && base > 0);
      const isUnchanged = weights === undefined;
      assert.ok(!could || taking.length > 0 || isUnchanged);
      if (could && view.members.every(({ state, weight }) => state !== 'active' || weight === 0)) {
        assert.ok(taking.length > 0, 'also when nobody did');
      }
    }),
    { numRuns: 1_000 },
  );
});

test('weight properties - no change is smaller than the deadband', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const { deadband, step, policy, least, most } = each.settings;
      if (policy === 'equal' || policy === 'static') return;
      const { view, next } = proposeOnce(each);
      const lowOf = (base: number) => Math.max(1, Math.ceil(least * base));
      // When all would be refused, all get the least.
      const able = next.members.filter(({ state, base }) => state === 'active' && base > 0);
      if (able.every(({ weight, base }) => weight === lowOf(base))) return;
      for (const [index, { weight, base }] of view.members.entries()) {
        const now = next.members[index].weight;
        const low = lowOf(base);
        const wasWithin = weight >= low && weight <= Math.max(low, Math.floor(most * base));
        if (now === weight || now === 0 || weight === 0 || !wasWithin) continue;
        const change = Math.abs(now - weight);
        const oneStep = now > weight ? Math.floor(weight * step) - weight : weight - Math.ceil(weight / step);
        assert.ok(change >= deadband * weight || change >= oneStep, `${weight} to ${now}`);
      }
    }),
    { numRuns: 1_000 },
  );
});

test('weight properties - it does not matter whose report comes first', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const inOrder = proposeOnce(each).weights;
      const reversed = proposeOnce(each, (servers) => servers.toReversed()).weights;
      assert.deepEqual(reversed, inOrder);
    }),
    { numRuns: 300 },
  );
});

test('weight properties - the smallest weights can move, both ways', () => {
  for (const weight of [1, 2, 3, 4]) {
    const view = viewOf([
      { weight, base: 4 },
      { weight, base: 4 },
    ]);
    for (const [cpu, expected] of [
      [0.1, Math.max(1, weight - 1)],
      [0.9, weight + 1],
    ]) {
      const governor = new WeightGovernor(weightSettings({ policy: 'least-loaded' }));
      governor.propose(view, 0);
      const load = { flows: 9_000, newFlows: 100 };
      governor.heard({ server: 's0', incarnation: 1, load: loadOf({ ...load, cpu: 1 - cpu }), heardAtMs: 4_000 });
      governor.heard({ server: 's1', incarnation: 1, load: loadOf({ ...load, cpu }), heardAtMs: 4_000 });
      const weights = governor.propose(view, 5_000);
      assert.equal(weights?.get('s0') ?? weight, expected, `${weight} at cpu ${1 - cpu}`);
    }
  }
});

/** Processor time that makes 0.5 for a server that has what is fair, by flows that live for so many seconds. */
const laziness = {
  'of flows held': (server: LoopServer) => server.flows / server.speed / 20_000,
  'of new flows': (server: LoopServer, seconds: number) => (server.newFlows * seconds) / server.speed / 20_000,
  'of both': (server: LoopServer, seconds: number) =>
    (server.flows + seconds * server.newFlows) / server.speed / 40_000,
  'beside a load of its own': (server: LoopServer, _seconds: number, index: number) =>
    server.flows / server.speed / 20_000 + (index === 0 ? 0.1 : 0),
};

for (const [name, cpu] of Object.entries(laziness)) {
  test(`weight properties - from any start the loop comes to rest, and even: a load ${name}`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 1, max: 65_535 }), fc.integer({ min: 50, max: 200 })), {
          minLength: 6,
          maxLength: 6,
        }),
        fc.constantFrom(5, 60, 200),
        fc.boolean(),
        (weights, lifetimeSeconds, othersTakeOver) => {
          const settings = weightSettings({ policy: 'least-loaded' });
          const loop = new Loop({
            view: viewOf(weights),
            settings,
            speeds: [1, 2, 4, 1, 2, 4],
            newFlows: 60_000 / lifetimeSeconds,
            lifetimeSeconds,
            load: (server, index) => ({ cpu: cpu(server, lifetimeSeconds, index) }),
          });
          for (let minute = 0; minute < 60; minute++) {
            loop.pass(60);
            if (othersTakeOver) loop.governor = new WeightGovernor(settings);
          }
          assert.equal(loop.pass(1_200), 0, `changes go on, at ${weightsOf(loop.view)}`);
          const uneven = loop.maxOverAvg((server, index) => cpu(server, lifetimeSeconds, index));
          assert.ok(
            uneven < (name === 'beside a load of its own' ? 1.45 : 1.3),
            `most loaded ${uneven} of the average, at ${weightsOf(loop.view)}`,
          );
        },
      ),
      { numRuns: 25, seed: 1 },
    );
  });
}
