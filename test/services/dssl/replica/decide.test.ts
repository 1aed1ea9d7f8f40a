// The verdict ladder of Figs. 6 and 7, case by case, in groups of several replicas that must agree.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowState, ownerOf } from '../../../../services/dssl/replica/flows/entry.ts';
import { tickOfMs } from '../../../../services/dssl/replica/ticks.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';
import { decidedBy, fin, gtp, hiOf, lifeOf, noServer, otherSide, rst, syn, TestGroup, tcp, udp } from './support.ts';

/** Flows 1 to 60 as the group places them. */
const flows = Array.from({ length: 60 }, (_, index) => index + 1);

const fig6 = { typeOneMethod: 'fig-6' } as const;

test('decide - Fig. 6: a start is accepted by exactly one replica, and so are the packets behind it', () => {
  const group = new TestGroup(3, fig6);
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
    const group = new TestGroup(3, { typeOneMethod });
    for (const flow of flows) group.now({ flow, flags: syn });
    const replicas = [...group.replicas.values()];
    assert.equal(
      replicas.reduce((sum, { ownFlows }) => sum + ownFlows, 0),
      flows.length,
    );
    for (const { table, ownTable, ownFlows } of replicas) {
      assert.equal(table.size, typeOneMethod === 'fig-6' ? 0 : flows.length);
      assert.equal(ownTable?.size, typeOneMethod === 'fig-6' ? ownFlows : undefined);
    }
  }
});

test('decide - Figs. 8 and 9: after six flows the tables of three replicas are those of the figures', () => {
  const group = new TestGroup(3, { midFlow: 'adopt' });
  const owners = new Map<number, string>();
  // As in the figures, server a has three flows, b one and c two; which flows these are, placement decides.
  const wanted: Record<string, number> = { a: 3, b: 1, c: 2 };
  for (let flow = 1; owners.size < 6; flow++) {
    const probe = new TestGroup(3).owner({ flow, flags: syn });
    if (wanted[probe]-- <= 0) continue;
    owners.set(flow, group.owner({ flow, flags: syn }));
  }
  for (const [name, replica] of group.replicas) {
    const seen = new Map<number, string | undefined>();
    replica.table.scan((_hi, lo, _lastSeen, info) => seen.set(lo, replica.lifeOf(ownerOf(info))?.server));
    assert.deepEqual(
      new Map([...seen].sort()),
      new Map([...owners].sort()),
      `replica ${name} knows the owner of every flow`,
    );
    assert.equal(replica.ownFlows, { a: 3, b: 1, c: 2 }[name]);
  }
});

test('decide - Fig. 7: a flow whose start does not show is placed once and stays', () => {
  const group = new TestGroup(3);
  for (const flow of flows) {
    const first = group.now({ flow, flags: udp });
    assert.deepEqual(Object.values(first).sort(), ['acceptNew', 'ignorePlacedElsewhere', 'ignorePlacedElsewhere']);
    const second = group.now({ flow, flags: udp });
    assert.deepEqual(Object.values(second).sort(), ['acceptKnown', 'ignoreElsewhere', 'ignoreElsewhere']);
    assert.equal(second[takerOf(first)], 'acceptKnown');
  }
});

test('decide - Fig. 10: in one group type 1 goes by Fig. 6 and type 2 by Fig. 7', () => {
  const group = new TestGroup(3, fig6);
  for (const flow of flows) group.now({ flow, flags: flow % 2 ? syn : udp });
  const replicas = [...group.replicas.values()];
  assert.equal(
    replicas.reduce((sum, { ownFlows }) => sum + ownFlows, 0),
    flows.length,
  );
  for (const { table } of replicas) assert.equal(table.size, flows.length / 2, 'all know all flows of type 2');
  assert.equal(
    replicas.reduce((sum, { ownTable }) => sum + (ownTable?.size ?? 0), 0),
    flows.length / 2,
  );
});

test('decide - mid-flow packets that nobody knows are ignored by all, or adopted by one', () => {
  const cases = [
    { rules: fig6, verdicts: ['ignoreNotMine', 'ignoreNotMine', 'ignoreNotMine'] },
    { rules: {}, verdicts: ['ignoreMidFlow', 'ignoreMidFlow', 'ignoreMidFlow'] },
    {
      rules: { midFlow: 'adopt' },
      verdicts: ['acceptAdopted', 'ignorePlacedElsewhere', 'ignorePlacedElsewhere'],
    },
  ] as const;
  for (const { rules, verdicts } of cases) {
    assert.deepEqual(Object.values(new TestGroup(3, rules).now({ flow: 5, flags: tcp })).sort(), [...verdicts]);
  }
});

test('decide - Fig. 6: a repeated start under a newer view stays with its first owner for a while', () => {
  for (const tableFirst of [false, true]) {
    const group = new TestGroup(3, { ...fig6, tableFirst });
    const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
    group.activate('d');
    for (const flow of flows) assert.equal(group.owner({ flow, flags: syn }), before.get(flow), `flow ${flow}`);
    // Later, it counts as a new connection on the same addresses: the member that the new view places it at takes it,
    // and the old holder lets go. Never both.
    group.pass(limits.recentStartMs + 200);
    const moved = flows.filter((flow) => group.owner({ flow, flags: syn }) !== before.get(flow));
    assert.ok(moved.length > 0, 'some flow is placed at the new member');
    for (const flow of moved) {
      assert.equal(group.owner({ flow, flags: tcp }), 'd');
      const told = group.events.get(before.get(flow) ?? '');
      assert.ok(told?.includes(`-${flow} moved`), 'the old holder was told');
    }
  }
});

test('decide - with the elsewhere table, a start on a tuple that somebody holds does not move it', () => {
  const group = new TestGroup(3);
  const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
  group.activate('d');
  group.pass(limits.recentStartMs + 200);
  for (const flow of flows) assert.equal(group.owner({ flow, flags: syn }), before.get(flow));
});

test('decide - a second session inside a flow does not move the flow', () => {
  const group = new TestGroup(3);
  const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: gtp | FrameFlags.START })]));
  group.activate('d');
  group.pass(limits.recentStartMs + 200);
  for (const flow of flows) {
    assert.equal(group.owner({ flow, flags: gtp | FrameFlags.START }), before.get(flow));
    assert.equal(group.owner({ flow, flags: gtp | FrameFlags.END }), before.get(flow));
    assert.equal(group.owner({ flow, flags: gtp }), before.get(flow), 'one ended session does not end the others');
  }
});

test('decide - all replicas forget an idle flow at the same packet, in every state', () => {
  const cases = [
    { name: 'one packet', flags: udp, more: [], limit: 'udp-opening' },
    { name: 'established', flags: udp, more: [udp], limit: 'udp-established' },
    { name: 'a connection', flags: syn, more: [tcp], limit: 'tcp-established' },
    { name: 'half-closed', flags: syn, more: [tcp, fin], limit: 'tcp-half-closed' },
    { name: 'closed', flags: syn, more: [tcp, fin, fin | otherSide], limit: 'tcp-closing' },
    { name: 'reset', flags: syn, more: [tcp, rst], limit: 'tcp-reset' },
  ] as const;
  for (const { name, flags: first, more, limit } of cases) {
    const limitMs = 1_000 * defaultIdle[limit];
    for (const lateMs of [-200, 0, 200]) {
      const group = new TestGroup(3);
      group.log.nowMs += 50;
      const before = group.owner({ flow: 9, flags: first });
      for (const flags of more) group.owner({ flow: 9, flags });
      group.activate('d', 0);
      group.pass(limitMs + lateMs);
      const verdicts = group.now({ flow: 9, flags: first === udp ? udp : tcp });
      const takers = Object.values(verdicts).filter((verdict) => verdict.startsWith('accept'));
      const expected = lateMs <= 0 ? ['acceptKnown'] : first === udp ? ['acceptNew'] : [];
      assert.deepEqual(takers, expected, `${name}, ${lateMs} ms past the limit`);
      if (expected.length > 0) assert.equal(takerOf(verdicts), before, 'a member without weight gets nothing');
    }
  }
});

test('decide - a closed flow is forgotten soon, and its end told', () => {
  const group = new TestGroup(1);
  group.owner({ flow: 3, flags: syn });
  group.owner({ flow: 3, flags: tcp });
  group.owner({ flow: 3, flags: fin });
  group.pass(60_000);
  group.owner({ flow: 3, flags: fin | otherSide });
  assert.equal(group.owner({ flow: 3, flags: tcp }), 'a', 'the last ACK still belongs to it');
  assert.deepEqual([group.replica('a').ownFlows, group.replica('a').ownEndedFlows], [1, 1]);
  // A sweep passes over all slices in a few seconds.
  for (let turn = 0; turn < 700; turn++) group.pass(100);
  assert.deepEqual(group.events.get('a'), ['+3', '3', '3', '3', '3', '3', '-3 closed']);
});

test('decide - a new connection on a tuple whose flow has ended is placed by the present view, in both methods', () => {
  const ends: readonly (readonly number[])[] = [[fin, fin | otherSide], [rst], [fin | otherSide, rst]];
  for (const rules of [{}, fig6, { ...fig6, tableFirst: true }]) {
    for (const end of ends) {
      const group = new TestGroup(3, rules);
      const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
      const again = () => group.owner({ flow: 3, flags: syn });
      assert.equal(again(), before.get(3), 'a repeated start');
      for (const flow of flows) for (const flags of [tcp, ...end]) group.owner({ flow, flags });
      const [drained] = before.values();
      group.command(drained, { kind: 'drain', life: lifeOf(drained) });
      for (const flow of flows) assert.notEqual(group.owner({ flow, flags: syn }), drained);
      assert.deepEqual(
        group.events.get(drained)?.filter((event) => event.includes('moved')),
        [],
      );
      assert.equal(group.replica(drained).ownFlows, 0);
    }
  }
});

test('decide - one side alone, or a reset that is none, ends nothing', () => {
  for (const rules of [{}, fig6]) {
    for (const more of [
      [fin],
      [fin | otherSide, tcp],
      [rst],
      [rst | otherSide, tcp | otherSide],
      [rst, fin | otherSide],
    ]) {
      const group = new TestGroup(3, rules);
      const before = group.owner({ flow: 3, flags: syn });
      for (const flags of [tcp, ...more]) assert.equal(group.owner({ flow: 3, flags }), before);
      group.pass(200_000);
      assert.equal(group.owner({ flow: 3, flags: tcp }), before);
    }
  }
});

test('decide - the answer to a start does not confirm it: a flood of starts stays unconfirmed', () => {
  const group = new TestGroup(1);
  const state = () => {
    const { table, timeMs } = group.replica('a');
    return table.state(table.find(hiOf(8), 8, tickOfMs(timeMs)));
  };
  group.now({ flow: 8, flags: syn });
  group.now({ flow: 8, flags: tcp | FrameFlags.HANDSHAKE });
  assert.equal(state(), FlowState.unconfirmed);
  group.now({ flow: 8, flags: tcp });
  assert.equal(state(), FlowState.established);
});

test('decide - draining: no new flows, the old ones stay; leaving: the server is fenced, and its flows go elsewhere', () => {
  const group = new TestGroup(3);
  const before = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: udp })]));
  group.command('a', { kind: 'drain', life: lifeOf('a') });
  for (const flow of flows) assert.equal(group.owner({ flow, flags: udp }), before.get(flow));
  for (const flow of flows) assert.notEqual(group.owner({ flow: flow + 100, flags: udp }), 'a');
  group.command('a', { kind: 'leave', life: lifeOf('a') });
  for (const flow of flows) {
    const verdicts = group.now({ flow, flags: udp });
    assert.equal(verdicts.a, 'ignoreRemoved');
    const expected = before.get(flow) === 'a' ? /^[bc]$/ : new RegExp(`^${before.get(flow)}$`);
    assert.match(takerOf(verdicts), expected);
    if (before.get(flow) === 'a') assert.ok(group.events.get('a')?.includes(`-${flow} moved`));
  }
  assert.equal(group.replica('a').ownFlows, 0);
});

test('decide - placement by round robin goes by the number of the start in the group, by whichever tier 1 it comes', () => {
  const group = new TestGroup(3, {}, 'round-robin');
  const takers = flows.map((flow) => group.owner({ flow, flags: syn }, { tier1Id: `t${flow % 2}` }));
  assert.ok(new Set(takers.slice(0, 3)).size === 3);
  for (let index = 3; index < takers.length; index++) assert.equal(takers[index], takers[index - 3]);
});

test('decide - with no member that takes new flows a packet is dropped by all, for that cause', () => {
  for (const rules of [{}, fig6]) {
    const group = new TestGroup(2, rules);
    for (const server of ['a', 'b']) group.command(server, { kind: 'drain', life: lifeOf(server) });
    assert.deepEqual(Object.values(group.now({ flow: 1, flags: udp })), ['dropNoOwner', 'dropNoOwner']);
    assert.deepEqual(Object.values(group.now({ flow: 1, flags: syn })), ['dropNoOwner', 'dropNoOwner']);
  }
});

test('decide - a new flow for which there is no room is dropped by the one that would have it, and owned by nobody', () => {
  // One flow a slice.
  const group = new TestGroup(3, { maxFlows: 256 });
  const hi = 0x1200_0000;
  group.owner({ flow: 1, hi, flags: udp });
  const first = group.owner({ flow: 1, hi, flags: udp });
  for (let flow = 2; flow < 20; flow++) {
    const verdicts = group.now({ flow, hi, flags: udp });
    assert.deepEqual(Object.values(verdicts).sort(), [
      'dropTableFull',
      'ignorePlacedElsewhere',
      'ignorePlacedElsewhere',
    ]);
  }
  group.log.frame([{ flow: 30, hi, flags: udp }]);
  group.catchUp((_, effects) => assert.deepEqual(decidedBy(effects)[0].owner, noServer));
  assert.equal(group.owner({ flow: 1, hi, flags: udp }), first, 'the established one stays');
  for (const { table } of group.replicas.values()) assert.equal(table.size, 1);
});

test('decide - Fig. 6: the own table of a server is bounded by itself', () => {
  const group = new TestGroup(2, { ...fig6, maxFlows: 256 });
  const hi = 0x1200_0000;
  for (let flow = 1; flow < 20; flow++) {
    group.owner({ flow, hi, flags: syn });
  }
  for (const { ownTable } of group.replicas.values()) assert.equal(ownTable?.size, 1);
});

test('decide - flags that belong together only by mistake do not let two servers accept', () => {
  const group = new TestGroup(3, fig6);
  for (const flow of flows.slice(0, 20)) {
    for (const flags of [syn, udp, tcp, gtp, fin, syn, tcp]) {
      const takers = Object.values(group.now({ flow, flags })).filter((verdict) => verdict.startsWith('accept'));
      assert.equal(takers.length, 1);
    }
    group.activate(`d${flow}`);
  }
});

function takerOf(verdicts: Record<string, string>): string {
  return Object.entries(verdicts).find(([, verdict]) => verdict.startsWith('accept'))?.[0] ?? '';
}
