// The verdict ladder of Figs. 6 and 7, case by case, in groups of several modules that must agree.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowState, ownerOf } from '../../../../services/dssl/replica/flows/entry.ts';
import { tickOfMs } from '../../../../services/dssl/replica/ticks.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { activate, drain, join, leave } from '../../../../shared/membership/transitions.ts';
import { fin, groupOf, gtp, hiOf, syn, type TestGroup, tcp, udp } from '../../../support/group.ts';

/** Flows 1 to 60 as the group places them. */
const flows = Array.from({ length: 60 }, (_, index) => index + 1);

test('decide - Fig. 6: a start is accepted by exactly one module, and so are the packets behind it', () => {
  const group = groupOf(3);
  for (const flow of flows) {
    const verdicts = group.now({ flow, flags: syn });
    assert.deepEqual(Object.values(verdicts).sort(), ['acceptNew', 'ignorePlacedElsewhere', 'ignorePlacedElsewhere']);
    const later = group.now({ flow, flags: tcp });
    assert.deepEqual(Object.values(later).sort(), ['acceptKnown', 'ignoreNotMine', 'ignoreNotMine']);
    assert.equal(later[takerOf(verdicts)], 'acceptKnown');
  }
});

test('decide - Fig. 6 keeps own flows only, Fig. 7 all flows of the group, own and elsewhere disjoint', () => {
  for (const typeOneMethod of ['fig-6', 'fig-7'] as const) {
    const group = groupOf(3, { typeOneMethod });
    for (const flow of flows) group.now({ flow, flags: syn });
    const own = group.modules.map(({ core }) => core.ownFlows);
    assert.equal(
      own.reduce((sum, each) => sum + each),
      flows.length,
    );
    for (const { core } of group.modules) {
      assert.equal(core.decider.table.size, typeOneMethod === 'fig-6' ? core.ownFlows : flows.length);
    }
  }
});

test('decide - Figs. 8 and 9: after six flows the tables of three modules are those of the figures', () => {
  const group = groupOf(3, { typeOneMethod: 'fig-7', midFlow: 'adopt' });
  const owners = new Map<number, string>();
  // As in the figures, server a has three flows, b one and c two; which flows these are, placement decides.
  const wanted: Record<string, number> = { a: 3, b: 1, c: 2 };
  for (let flow = 1; owners.size < 6; flow++) {
    const probe = groupOf(3, { typeOneMethod: 'fig-7' }).owner({ flow, flags: syn });
    if (wanted[probe]-- <= 0) continue;
    owners.set(flow, group.owner({ flow, flags: syn }));
  }
  for (const { name, core } of group.modules) {
    const seen = new Map<number, string>();
    core.decider.table.scan(0, 1e9, (_hi, lo, _lastSeen, info) => seen.set(lo, core.views.serverName(ownerOf(info))));
    assert.deepEqual(
      new Map([...seen].sort()),
      new Map([...owners].sort()),
      `module ${name} knows the owner of every flow`,
    );
    assert.equal(core.ownFlows, { a: 3, b: 1, c: 2 }[name]);
  }
});

test('decide - Fig. 7: a flow whose start does not show is placed once and stays', () => {
  const group = groupOf(3);
  for (const flow of flows) {
    const first = group.now({ flow, flags: udp });
    assert.deepEqual(Object.values(first).sort(), ['acceptNew', 'ignorePlacedElsewhere', 'ignorePlacedElsewhere']);
    const second = group.now({ flow, flags: udp });
    assert.deepEqual(Object.values(second).sort(), ['acceptKnown', 'ignoreElsewhere', 'ignoreElsewhere']);
    assert.equal(second[takerOf(first)], 'acceptKnown');
  }
});

test('decide - Fig. 10: in one group type 1 goes by Fig. 6 and type 2 by Fig. 7', () => {
  const group = groupOf(3);
  for (const flow of flows) group.now({ flow, flags: flow % 2 ? syn : udp });
  const own = group.modules.reduce((sum, { core }) => sum + core.ownFlows, 0);
  assert.equal(own, flows.length);
  for (const { core } of group.modules) {
    const ownType2 = [...flows.filter((flow) => flow % 2 === 0)].length;
    assert.ok(core.decider.table.size >= ownType2, 'every module knows all flows of type 2');
    assert.ok(core.decider.table.size <= ownType2 + core.ownFlows);
  }
});

test('decide - mid-flow packets that nobody knows are ignored by all, or adopted by one', () => {
  const cases = [
    { rules: {}, verdicts: ['ignoreNotMine', 'ignoreNotMine', 'ignoreNotMine'] },
    { rules: { typeOneMethod: 'fig-7' }, verdicts: ['ignoreMidFlow', 'ignoreMidFlow', 'ignoreMidFlow'] },
    {
      rules: { typeOneMethod: 'fig-7', midFlow: 'adopt' },
      verdicts: ['acceptAdopted', 'ignorePlacedElsewhere', 'ignorePlacedElsewhere'],
    },
  ] as const;
  for (const { rules, verdicts } of cases) {
    assert.deepEqual(Object.values(groupOf(3, rules).now({ flow: 5, flags: tcp })).sort(), [...verdicts]);
  }
});

test('decide - a repeated start under a newer view stays with its first owner for a while', () => {
  for (const tableFirst of [false, true]) {
    const group = groupOf(3, { tableFirst });
    const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
    addActive(group, 'd');
    for (const flow of flows) assert.equal(group.owner({ flow, flags: syn }), before.get(flow), `flow ${flow}`);
    // Later, it counts as a new connection on the same addresses: the member that the new view places it at takes it,
    // and the old holder lets go. Never both.
    group.nowMs += limits.recentStartMs + 200;
    const moved = flows.filter((flow) => group.owner({ flow, flags: syn }) !== before.get(flow));
    assert.ok(moved.length > 0, 'some flow is placed at the new member');
    for (const flow of moved) {
      assert.equal(group.owner({ flow, flags: tcp }), 'd');
      const former = group.modules.find(({ name }) => name === before.get(flow));
      assert.ok(
        former?.events.some((event) => event.startsWith(`-${flow} `)),
        'the old holder was told',
      );
    }
  }
});

test('decide - with the elsewhere table, a start on a tuple that somebody holds does not move it', () => {
  const group = groupOf(3, { typeOneMethod: 'fig-7' });
  const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
  addActive(group, 'd');
  group.nowMs += limits.recentStartMs + 200;
  for (const flow of flows) assert.equal(group.owner({ flow, flags: syn }), before.get(flow));
});

test('decide - a second session inside a flow does not move the flow', () => {
  const group = groupOf(3);
  const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: gtp | FrameFlags.START })]));
  addActive(group, 'd');
  group.nowMs += limits.recentStartMs + 200;
  for (const flow of flows) {
    assert.equal(group.owner({ flow, flags: gtp | FrameFlags.START }), before.get(flow));
    assert.equal(group.owner({ flow, flags: gtp | FrameFlags.END }), before.get(flow));
    assert.equal(group.owner({ flow, flags: gtp }), before.get(flow), 'one ended session does not end the others');
  }
});

test('decide - all modules forget an idle flow at the same packet, in every state', () => {
  const cases = [
    { name: 'one packet', more: [], limitMs: 30_000 },
    { name: 'established', more: [udp], limitMs: 180_000 },
  ];
  for (const { name, more, limitMs } of cases) {
    for (const lateMs of [-200, 0, 200]) {
      const group = groupOf(3);
      const before = group.owner({ flow: 9, flags: udp });
      for (const flags of more) group.owner({ flow: 9, flags });
      addActive(group, 'd', 0);
      const verdicts = group.now({ flow: 9, flags: udp }, { timestampMs: group.nowMs + limitMs + lateMs });
      const expected = lateMs <= 0 ? 'acceptKnown' : 'acceptNew';
      assert.equal(
        Object.values(verdicts).filter((verdict) => verdict.startsWith('accept')).length,
        1,
        `${name} ${lateMs}`,
      );
      assert.equal(verdicts[takerOf(verdicts)], expected, `${name}, ${lateMs} ms past the limit`);
      assert.equal(takerOf(verdicts), before, 'a member without weight gets nothing');
    }
  }
});

test('decide - a closed flow is forgotten soon, and its end told', () => {
  const group = groupOf(1);
  group.owner({ flow: 3, flags: syn });
  group.owner({ flow: 3, flags: tcp });
  group.owner({ flow: 3, flags: fin });
  assert.equal(group.owner({ flow: 3, flags: tcp }), 'a', 'the last ACK still belongs to it');
  group.now({ flow: 4, flags: udp }, { timestampMs: group.nowMs + 11_000 + limits.clockErrorMs });
  group.tick(20);
  assert.deepEqual(group.modules[0].events, ['+3', '+4', '-3 closed']);
});

test('decide - the answer to a start does not confirm it: a flood of starts stays unconfirmed', () => {
  const group = groupOf(1);
  const state = () => {
    const { table } = group.modules[0].core.decider;
    return table.state(table.find(hiOf(8), 8, tickOfMs(group.nowMs)));
  };
  group.now({ flow: 8, flags: syn });
  group.now({ flow: 8, flags: tcp | FrameFlags.HANDSHAKE });
  assert.equal(state(), FlowState.unconfirmed);
  group.now({ flow: 8, flags: tcp });
  assert.equal(state(), FlowState.established);
});

test('decide - draining: no new flows, the old ones stay; leaving: the server is fenced', () => {
  const group = groupOf(3);
  const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: udp })]));
  const candidate = group.modules[0].core.candidate;
  group.propose((view) => drain(view, candidate));
  for (const flow of flows) assert.equal(group.owner({ flow, flags: udp }), before.get(flow));
  for (const flow of flows) assert.notEqual(group.owner({ flow: flow + 100, flags: udp }), 'a');
  group.propose((view) => leave(view, candidate));
  for (const flow of flows) {
    const verdicts = group.now({ flow, flags: udp });
    assert.equal(verdicts.a, 'ignoreRemoved');
    const expected = before.get(flow) === 'a' ? /^[bc]$/ : new RegExp(`^${before.get(flow)}$`);
    assert.match(takerOf(verdicts), expected);
  }
});

test('decide - a frame of an older view is decided by that view', () => {
  const group = groupOf(2);
  const older = group.view.number;
  addActive(group, 'c');
  for (const flow of flows) {
    const taker = group.owner({ flow, flags: udp }, { viewNumber: older });
    assert.notEqual(taker, 'c', 'c took no new flows in that view');
    assert.equal(group.owner({ flow, flags: udp }), taker, 'and the flow stays under the newer one');
  }
});

test('decide - placement by round robin goes by the ordinal of the start, the same in every module', () => {
  const group = groupOf(3, {}, 'round-robin');
  const takers = flows.map((flow) => group.owner({ flow, flags: syn }));
  assert.ok(new Set(takers.slice(0, 3)).size === 3);
  for (let index = 3; index < takers.length; index++) assert.equal(takers[index], takers[index - 3]);
});

test('decide - with no member that takes new flows a packet is dropped by all, for that cause', () => {
  const group = groupOf(2);
  for (const { core } of group.modules) group.propose((view) => drain(view, core.candidate));
  assert.deepEqual(Object.values(group.now({ flow: 1, flags: udp })), ['dropNoOwner', 'dropNoOwner']);
  assert.deepEqual(Object.values(group.now({ flow: 1, flags: syn })), ['dropNoOwner', 'dropNoOwner']);
});

function addActive(group: TestGroup, name: string, weight = 100): void {
  const birth = { group: 'g1', cluster: 'c', placement: group.view.placement, seed: 7, rules: group.view.rules };
  const candidate = { server: name, incarnation: 1, weight };
  if (weight > 0) {
    group.add(name, weight);
    group.settle(20);
    return;
  }
  group.propose((view) => join(view, birth, candidate));
  group.propose((view) => activate(view, candidate));
}

function takerOf(verdicts: Record<string, string>): string {
  return Object.entries(verdicts).find(([, verdict]) => verdict.startsWith('accept'))?.[0] ?? '';
}

test('decide - a module that is removed gives up its own flows bit by bit, and its server is told that they moved', () => {
  const group = groupOf(3, { typeOneMethod: 'fig-7' });
  for (const flow of flows) group.now({ flow, flags: syn });
  const [module] = group.modules;
  const { core, events } = module;
  const own = core.ownFlows;
  const before = events.length;
  assert.ok(own > 5);
  let cursor = 0;
  let goes = 0;
  for (; cursor >= 0; goes++) cursor = core.decider.giveUp(cursor, 8);
  assert.ok(goes > 1, 'not all at once');
  const told = events.slice(before);
  assert.deepEqual([core.ownFlows, core.decider.table.size], [0, flows.length - own]);
  assert.equal(new Set(told).size, own);
  for (const event of told) assert.match(event, /^-\d+ moved$/);
});
