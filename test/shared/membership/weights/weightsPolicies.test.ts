// What each policy of weights does, by name, in a loop without chance: weights make load, load makes weights.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WeightSettings } from '../../../../shared/config/settings.ts';
import { Loop, type LoopOptions, viewOf, weightSettings, weightsOf } from '../../../support/weights.ts';

const speeds = [1, 2, 4, 1, 2, 4];

function loop(settings: Partial<WeightSettings>, options: Partial<LoopOptions>): Loop {
  return new Loop({
    view: viewOf((options.speeds ?? speeds).map(() => 100)),
    settings: weightSettings(settings),
    speeds,
    newFlows: 1_000,
    lifetimeSeconds: 60,
    load: ({ flows, speed }) => ({ cpu: flows / speed / 20_000 }),
    ...options,
  });
}

test('weight policies - static and equal leave load as it comes', () => {
  for (const policy of ['static', 'equal'] as const) {
    const group = loop({ policy }, {});
    assert.equal(group.pass(600), 0);
    assert.ok(group.maxOverAvg(({ flows, speed }) => flows / speed) > 1.7);
  }
});

test('weight policies - least-loaded evens the load that it is given, however fast the servers are', () => {
  const group = loop({ policy: 'least-loaded' }, {});
  group.pass(300);
  assert.ok(group.maxOverAvg(({ flows, speed }) => flows / speed) < 1.2);
  assert.equal(group.pass(1_200), 0);
  const [slow, middle, fast] = weightsOf(group.view);
  assert.ok(slow < middle && middle < fast, weightsOf(group.view).join());
});

test('weight policies - a load that comes with old flows is not driven far beyond the mark, one with new flows not at all', () => {
  const settings = { policy: 'least-loaded' } as const;
  const seconds = 200;
  const path = (group: Loop) =>
    Array.from({ length: 2_000 }, () => {
      group.pass(1);
      return weightsOf(group.view)[0];
    });
  const ofOld = loop(settings, { lifetimeSeconds: seconds, newFlows: 60_000 / seconds });
  const old = path(ofOld);
  assert.ok(Math.min(...old) > 0.75 * (old.at(-1) ?? 0), `${old}`);
  assert.ok(ofOld.changes.length <= 10, `${ofOld.changes.length} changes`);

  const ofNew = loop(settings, {
    newFlows: 1_000,
    lifetimeSeconds: 60,
    load: ({ newFlows, speed }) => ({ cpu: newFlows / speed / 333 }),
  });
  const fresh = path(ofNew);
  assert.deepEqual(
    fresh,
    fresh.toSorted((a, b) => b - a),
    'it never turns',
  );
});

test('weight policies - least-loaded goes by a blend, each load as large as its part, not as its numbers', () => {
  const blended = (load: WeightSettings['load']) => {
    const group = loop(
      { policy: 'least-loaded', load },
      {
        // The first half is slow by its processor, the second by its handler; bytes are large numbers without a part.
        load: ({ flows }, index) => ({
          cpu: flows / (index < 3 ? 10_000 : 40_000),
          handler: flows / (index < 3 ? 40_000 : 10_000),
          bytes: flows * 1e6,
        }),
      },
    );
    group.pass(900);
    const weights = weightsOf(group.view);
    return weights[0] / weights[3];
  };
  assert.ok(blended({ cpu: 1 }) < 0.5);
  assert.ok(blended({ handler: 1 }) > 2);
  const even = blended({ cpu: 1, handler: 1 });
  assert.ok(even > 0.9 && even < 1.1, `${even}`);
  const mostlyCpu = blended({ cpu: 3, handler: 1, bytes: 0 });
  assert.ok(mostlyCpu < 0.9 && mostlyCpu > 0.4, `${mostlyCpu}`);
});

test('weight policies - a server that cannot tell a load counts as average, and so does a whole group', () => {
  const group = loop(
    { policy: 'least-loaded', load: { handler: 1 } },
    {
      load: ({ flows, speed }, index) => ({ handler: index === 3 ? undefined : flows / speed / 20_000 }),
    },
  );
  group.pass(900);
  const weights = weightsOf(group.view);
  assert.ok(weights[0] < 70, 'the other slow one');
  assert.ok(weights[3] > 90 && weights[3] < 125, weights.join());

  const nobody = loop({ policy: 'least-loaded', load: { handler: 1 } }, {});
  assert.equal(nobody.pass(600), 0);
});

test('weight policies - least-loaded takes amounts per configured weight, and a degree as it is', () => {
  const bases = viewOf([100, 200, 400].map((weight) => ({ weight, base: weight })));
  for (const load of [{ flows: 1 }, { packets: 1 }, { cpu: 1 }] as const) {
    const group = loop(
      { policy: 'least-loaded', load },
      {
        view: bases,
        speeds: [1, 2, 4],
        load: ({ flows, speed }) => ({ packets: flows * 10, cpu: flows / speed / 20_000 }),
      },
    );
    group.pass(100);
    group.pass(600);
    assert.deepEqual(
      weightsOf(group.view).map((weight) => Math.round(weight / 100)),
      [1, 2, 4],
      JSON.stringify(load),
    );
  }
});

test('weight policies - a load far below its grain moves nothing', () => {
  const idle = loop({ policy: 'least-loaded' }, { load: (_, index) => ({ cpu: index === 0 ? 0.004 : 0.001 }) });
  assert.equal(idle.pass(600), 0);
});

test('weight policies - fewest-flows sends more to who holds fewer, and ends when all hold alike', () => {
  const group = loop({ policy: 'fewest-flows' }, { lifetimeSeconds: 120 });
  const [late] = group.servers;
  late.flows /= 10;
  group.pass(30);
  const [newcomer, ...others] = weightsOf(group.view);
  assert.ok(newcomer > 140 && others.every((weight) => weight < 100), weightsOf(group.view).join());
  group.pass(600);
  assert.ok(group.maxOverAvg(({ flows }) => flows) < 1.1);
  assert.ok(weightsOf(group.view).every((weight) => weight > 85 && weight < 118));

  const still = loop({ policy: 'static' }, { lifetimeSeconds: 120 });
  still.servers[0].flows /= 10;
  still.pass(150);
  const helped = loop({ policy: 'fewest-flows' }, { lifetimeSeconds: 120 });
  helped.servers[0].flows /= 10;
  helped.pass(150);
  assert.ok(helped.servers[0].flows > 1.15 * still.servers[0].flows, 'it fills faster than by its share alone');
});

test('weight policies - fewest-flows holds flows in proportion to configured weights', () => {
  const view = viewOf([100, 200, 300].map((weight) => ({ weight, base: weight })));
  const group = loop({ policy: 'fewest-flows' }, { view, speeds: [1, 1, 1] });
  group.pass(1_200);
  assert.ok(group.maxOverAvg(({ flows }, index) => flows / view.members[index].base) < 1.1);
});

test('weight policies - thermal evens temperatures', () => {
  const temperature = ({ flows, speed }: { flows: number; speed: number }) => 30 + flows / speed / 400;
  const still = loop({ policy: 'static' }, { load: (server) => ({ temperature: temperature(server) }) });
  const group = loop({ policy: 'thermal' }, { load: (server) => ({ temperature: temperature(server) }) });
  still.pass(900);
  group.pass(900);
  const spread = ({ servers }: Loop) => Math.max(...servers.map(temperature)) - Math.min(...servers.map(temperature));
  assert.ok(spread(still) > 15);
  assert.ok(spread(group) < spread(still) / 3, `${spread(group)} of ${spread(still)} degrees`);
  assert.equal(group.pass(1_200), 0);
});
