// Which group should give a server to which: the conditions of a move, that no move can be wanted back, and what people are told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { defaultSettings } from '../../../../shared/config/settings.ts';
import { type Load, type LoadName, loadNames } from '../../../../shared/membership/load.ts';
import { chooseServer, type Plan, planMove } from '../../../../shared/membership/rebalance/policy.ts';
import type { GroupSummary } from '../../../../shared/membership/rebalance/summary.ts';
import { defaultRules } from '../../../../shared/membership/view.ts';
import { loadOf, viewOf } from '../../../support/weights.ts';

const usual = defaultSettings.rebalance;

/** A group of so many servers with this sum of one load, told by all of them, and nothing else. */
function group(name: string, servers: number, sum: number, more: Partial<GroupSummary> = {}, by: LoadName = 'cpu') {
  const none = { sum: 0, told: 0 };
  const told = servers + (more.leaving ?? 0);
  const loads = Object.fromEntries(loadNames.map((load) => [load, load === by ? { sum, told } : none]));
  const counts = { servers, leaving: 0, joining: 0, draining: 0, moving: 0, standbys: 0 };
  return { group: name, view: 1, ...counts, isFixed: false, loads, ...more } as GroupSummary;
}

/** `from>to`, or why there is no move. */
function wordOf(plan: Plan): string {
  return 'move' in plan ? `${plan.move.from}>${plan.move.to}` : plan.none;
}

const idle = group('g1', 3, 0.3);
const busy = group('g2', 3, 2.4);

test('rebalance - the least loaded group gives a server to the most loaded one, and the reason can be read', () => {
  const plan = planMove([group('g0', 3, 0.6), busy, idle, group('g3', 3, 1.5)], usual);
  const why = 'g2 has 0.8 cpu a server, g1 0.1, and 0.15 after giving one';
  assert.deepEqual(plan, { move: { from: 'g1', to: 'g2', why }, leftOut: [] });
});

test('rebalance - the giver is the group that is least loaded after giving, not before', () => {
  // 0.1 and 0.2 a server, but 0.2 and 0.21 after it.
  assert.equal(wordOf(planMove([group('g1', 2, 0.25), group('g3', 21, 4.2), busy], usual)), 'g3>g2');
});

test('rebalance - groups that are equal are taken by name, in whichever order they come', () => {
  const groups = ['b', 'a', 'c'].map((name) => group(name, 3, 0.3));
  const hot = ['y', 'x'].map((name) => group(name, 3, 2.4));
  fc.assert(
    fc.property(fc.shuffledSubarray([...groups, ...hot], { minLength: 5 }), (all) => {
      assert.equal(wordOf(planMove(all, usual)), 'a>x');
    }),
  );
});

test('rebalance - each condition of a move holds it back, and says so', () => {
  const cases: [summaries: readonly GroupSummary[], settings: Partial<typeof usual>, says: string][] = [
    [[busy], {}, 'fewer than two groups tell their cpu'],
    [[idle, group('g2', 3, 0.89)], {}, 'no group needs a server: g2 has 0.3 cpu a server, and rebalance.least is 0.3'],
    [
      [group('g1', 3, 0), group('g2', 3, 0)],
      { least: 0 },
      'no group needs a server: g1 has 0 cpu a server, and rebalance.least is 0',
    ],
    [[group('g1', 9, 5.6), busy], {}, 'g2 has 0.8 cpu a server, g1 0.62: that is less than 1.3 times as much'],
    [
      [group('g1', 2, 0.7), group('g2', 1, 0.8)],
      {},
      'g2 would have 0.4 cpu a server, and g1 0.7: the move would only swap them',
    ],
    [[group('g1', 1, 0.1), busy], {}, 'no group can give a server to g2: rebalance.minimum is 1'],
    [[idle, busy], { minimum: 3 }, 'no group can give a server to g2: rebalance.minimum is 3'],
    [[group('g1', 3, 0.3, { moving: 1, leaving: 1 }), busy], {}, '1 server is under way, and rebalance.atOnce is 1'],
    [
      [idle, busy, group('g3', 3, 1, { moving: 2, leaving: 2 })],
      { atOnce: 2 },
      '2 servers are under way, and rebalance.atOnce is 2',
    ],
    [
      [group('g1', 3, 0.3, { isFixed: true }), busy],
      {},
      'no group can give a server to g2: rebalance.minimum is 1, and servers with standbys of their own stay',
    ],
  ];
  for (const [summaries, settings, says] of cases)
    assert.equal(wordOf(planMove(summaries, { ...usual, ...settings })), says);
});

test('rebalance - at the bounds a move is made', () => {
  const at: [summaries: readonly GroupSummary[], settings: Partial<typeof usual>][] = [
    [[idle, group('g2', 3, 0.9)], {}],
    [[group('g1', 18, 9), group('g2', 3, 2.4)], { over: 2.4 / 3 / (9 / 18) }],
    [[group('g1', 2, 0.4), group('g2', 1, 0.8)], {}],
    [[idle, busy], { minimum: 2 }],
    [[group('g1', 3, 0.3, { moving: 1, leaving: 1 }), busy], { atOnce: 2 }],
  ];
  for (const [summaries, settings] of at) assert.equal(wordOf(planMove(summaries, { ...usual, ...settings })), 'g1>g2');
});

test('rebalance - where the busiest group cannot be helped, the next one is', () => {
  // A second server would leave g4 with less than anybody has after giving one.
  const groups = [group('g1', 3, 1.2), group('g3', 10, 9), group('g4', 1, 1)];
  assert.equal(wordOf(planMove(groups, usual)), 'g1>g3');
});

test('rebalance - a group whose load is not known neither gives nor takes, and is told', () => {
  const cpu = (sum: number, told: number) => ({ loads: { ...idle.loads, cpu: { sum, told } } });
  const plan = planMove([group('g0', 0, 0), group('g1', 3, 0, cpu(0, 0)), group('g3', 3, 9, cpu(9, 1)), busy], usual);
  assert.deepEqual(plan, {
    none: 'fewer than two groups tell their cpu',
    leftOut: [
      'g0 has no server that takes flows and stays, so it has no load to go by',
      'g1 has 3 servers, and none tells its cpu',
      'g3 has 3 servers, and only 1 of them told cpu',
    ],
  });
  // Two of three are most of them: the third one counts as average.
  const most = planMove([group('g1', 3, 0, cpu(0.2, 2)), busy], usual);
  assert.ok('move' in most && most.move.why.includes('g1 0.1, and 0.15'));
});

test('rebalance - servers that come share the load of a taker, and those that go leave theirs to the others', () => {
  const coming = planMove([group('g1', 3, 1.2), group('g2', 3, 2.4, { joining: 2 })], usual);
  assert.equal(
    wordOf(coming),
    'g2 has 0.48 cpu a server with those that join, g1 0.4: that is less than 1.3 times as much',
  );
  const come = planMove([group('g1', 3, 1), group('g2', 3, 2.4, { joining: 1 })], usual);
  assert.equal(wordOf(come), 'g2 would have 0.48 cpu a server, and g1 0.5: the move would only swap them');
  const going = planMove([group('g1', 3, 1.6, { leaving: 1, moving: 1 }), busy], { ...usual, atOnce: 2 });
  assert.equal(wordOf(going), 'g2 would have 0.6 cpu a server, and g1 0.8: the move would only swap them');
  const filling = planMove([group('g1', 2, 0.8, { joining: 2 }), busy], usual);
  assert.equal(wordOf(filling), 'g2 would have 0.6 cpu a server, and g1 0.8: the move would only swap them');
});

test('rebalance - levels go by their mean and by the bound, and nothing is foretold', () => {
  const settings = { ...usual, by: 'temperature' as const, least: 60 };
  const warm = (name: string, mean: number) => group(name, 3, 3 * mean, {}, 'temperature');
  const plan = planMove([warm('g1', 40), warm('g2', 71.234)], settings);
  assert.ok('move' in plan);
  assert.deepEqual(plan.move, { from: 'g1', to: 'g2', why: 'g2 has a mean temperature of 71.2, g1 40' });
  assert.equal(wordOf(planMove([warm('g1', -10), warm('g2', 60)], settings)), 'g1>g2');
  const says: [number, number, string][] = [
    [40, 59, 'no group needs a server: g2 has a mean temperature of 59, and rebalance.least is 60'],
    [60, 90, 'no group can spare a server: g1 has a mean temperature of 60, and rebalance.least is 60'],
    [59, 70, 'g2 has a mean temperature of 70, g1 59: that is less than 1.3 times as much'],
  ];
  for (const [one, other, why] of says)
    assert.equal(wordOf(planMove([warm('g1', one), warm('g2', other)], settings)), why);
  const lossy = planMove([group('g1', 3, 0, {}, 'loss'), group('g2', 3, 0.012, {}, 'loss')], {
    ...settings,
    by: 'loss',
    least: 0.004,
  });
  assert.ok('move' in lossy && lossy.move.why === 'g2 has a mean loss of 0.004, g1 0');
});

const settings = fc.record({
  by: fc.constantFrom(...loadNames),
  over: fc.double({ min: 1.01, max: 5, noNaN: true }),
  least: fc.double({ min: 0, max: 2, noNaN: true }),
  minimum: fc.integer({ min: 1, max: 4 }),
  atOnce: fc.constant(1),
});
const sizes = fc.record({
  servers: fc.integer({ min: 0, max: 12 }),
  joining: fc.oneof({ arbitrary: fc.constant(0), weight: 4 }, { arbitrary: fc.integer({ min: 0, max: 3 }), weight: 1 }),
  thousandths: fc.nat({ max: 10_000 }),
});
const clusters = fc.tuple(settings, fc.array(sizes, { minLength: 2, maxLength: 6 })).map(([set, groups]) => ({
  settings: set,
  groups: groups.map(({ servers, joining, thousandths }, index) =>
    group(`g${index}`, servers, thousandths / 1_000, { joining }, set.by),
  ),
}));

/** The groups when the move is done, with the same loads: amounts are shared by more or fewer, levels are as they were. */
function after(groups: readonly GroupSummary[], { from, to }: { from: string; to: string }, by: LoadName) {
  const isShared = ['flows', 'newFlows', 'packets', 'bytes', 'cpu', 'handler'].includes(by);
  return groups.map((each) => {
    const servers = each.servers + (each.group === to ? 1 : each.group === from ? -1 : 0);
    const { sum } = each.loads[by];
    const total = isShared ? sum : (sum * servers) / each.servers;
    return group(each.group, servers, total, { joining: each.joining }, by);
  });
}

test('rebalance - a move is never wanted back at the same loads', () => {
  let moves = 0;
  fc.assert(
    fc.property(clusters, ({ settings, groups }) => {
      const plan = planMove(groups, settings);
      if (!('move' in plan)) return;
      moves++;
      const { from, to } = plan.move;
      // The two alone, so that nobody else is the better giver or taker.
      const pair = after(groups, plan.move, settings.by).filter(({ group }) => group === from || group === to);
      assert.notEqual(wordOf(planMove(pair, settings)), `${to}>${from}`);
    }),
    { numRuns: 2_000 },
  );
  assert.ok(moves > 200, `only ${moves} moves`);
});

test('rebalance - at the same loads moves come to an end, and no group is left with less than the minimum', () => {
  fc.assert(
    fc.property(clusters, ({ settings, groups }) => {
      const seen = new Set<string>();
      let now: readonly GroupSummary[] = groups;
      for (;;) {
        const state = now.map(({ servers }) => servers).join();
        assert.ok(!seen.has(state), `${state} comes again`);
        seen.add(state);
        const plan = planMove(now, settings);
        if (!('move' in plan)) break;
        now = after(now, plan.move, settings.by);
        const giver = now.find(({ group }) => group === plan.move.from)!;
        assert.ok(giver.servers >= settings.minimum);
      }
    }),
    { numRuns: 500 },
  );
});

test('rebalance - a plan always has a reason', () => {
  fc.assert(
    fc.property(clusters, ({ settings, groups }) => {
      const plan = planMove(groups, settings);
      const why = 'move' in plan ? plan.move.why : plan.none;
      assert.match(why, /^\S.{20,}$/);
      assert.doesNotMatch(why, /NaN|Infinity|undefined/);
    }),
  );
});

test('rebalance - the server that moves takes flows, is not on its way, and has the fewest flows, then the first name', () => {
  const view = viewOf([
    { flows: 1, state: 'draining' },
    { flows: 2, state: 'joining' },
    { flows: 3, standsFor: [], weight: 0 },
    { flows: 4, movesTo: 'g2' },
    { flows: 50, server: 'b' },
    { flows: 50, server: 'a' },
    { flows: 70, server: 'c' },
  ]);
  const chosen = (loads: ReadonlyMap<string, Load>) => chooseServer(view, loads)?.server;
  assert.equal(chosen(new Map()), 'a');
  assert.equal(chosen(new Map([['c', loadOf({ flows: 9 })]])), 'c', 'what it tells is newer than the view');
  assert.equal(chosen(new Map([['a', loadOf({ flows: 51 })]])), 'b');
  assert.equal(chooseServer(viewOf([{ movesTo: 'g2' }, { state: 'draining' }]), new Map()), undefined);
  const fixed = { ...view, rules: { ...defaultRules, availability: 'active-passive' as const } };
  assert.equal(chooseServer(fixed, new Map()), undefined, 'its standby would take its place');
});
