// Packets that are flows of their own (the key `packet`): exactly one replica takes each, by the present view, and nothing is
// remembered of them; fragments under that key are an ordinary flow.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';
import { placementNames } from '../../../../shared/membership/view.ts';
import { fingerprintOf, lifeOf, newReplica, piece, single, TestGroup, udp } from './support.ts';

const packets = Array.from({ length: 300 }, (_, index) => index + 1);
const servers = ['a', 'b', 'c'];

function takers(group: TestGroup): Record<string, number> {
  const taken: Record<string, number> = {};
  for (const flow of packets) {
    const owner = group.owner({ flow, flags: single });
    taken[owner] = (taken[owner] ?? 0) + 1;
  }
  return taken;
}

for (const placement of placementNames) {
  test(`decide - by ${placement}, a packet of its own is accepted by exactly one, in its share, and is in no table`, () => {
    for (const typeOneMethod of ['fig-6', 'fig-7'] as const) {
      const group = new TestGroup(3, { typeOneMethod }, placement);
      const taken = takers(group);
      assert.deepEqual(Object.keys(taken).sort(), servers);
      const isEven = placement.includes('round-robin');
      for (const count of Object.values(taken))
        assert.ok(isEven ? count === 100 : count > 60 && count < 140, JSON.stringify(taken));
      for (const server of servers) {
        const { table, ownTable, ownFlows } = group.replica(server);
        assert.deepEqual([table.size, ownTable?.size ?? 0, ownFlows], [0, 0, 0]);
        // Neither starts nor ends, and the packets are those of flow 0.
        assert.deepEqual(new Set(group.events.get(server)), new Set(['0']));
        assert.equal(group.events.get(server)?.length, taken[server]);
      }
    }
  });
}

test('decide - packets of their own follow the view at once: a draining member gets none, a new one its share', () => {
  const group = new TestGroup(3);
  group.command('a', { kind: 'drain', life: lifeOf('a') });
  const drained = takers(group);
  assert.deepEqual(Object.keys(drained).sort(), ['b', 'c']);
  group.activate('d');
  assert.deepEqual(Object.keys(takers(group)).sort(), ['b', 'c', 'd']);
});

test('decide - without a member that takes flows, a packet of its own is dropped by all; one that is no member ignores it', () => {
  const group = new TestGroup(1);
  group.command('a', { kind: 'drain', life: lifeOf('a') });
  assert.deepEqual(group.now({ flow: 1, flags: single }), { a: 'dropNoOwner' });
  const other = new TestGroup(2);
  other.replicas.set('x', newReplica(lifeOf('x')));
  other.events.set('x', []);
  other.catchUp();
  const verdicts = other.now({ flow: 1, flags: single });
  assert.equal(verdicts.x, 'ignoreRemoved');
});

test('decide - packets of their own leave a flow of the same hash alone', () => {
  const group = new TestGroup(3);
  const owner = group.owner({ flow: 7, flags: udp });
  const before = [...group.replicas.values()].map((replica) => fingerprintOf(replica, [0]));
  for (const flow of packets) group.owner({ flow, flags: single });
  assert.equal(group.owner({ flow: 7, flags: udp }), owner);
  assert.equal(new Set(before).size, 1);
});

test('decide - fragments under that key go together through changes of the view, and are forgotten while they are opening', () => {
  const group = new TestGroup(3);
  const owners = new Map(packets.map((flow) => [flow, group.owner({ flow, flags: piece })]));
  group.activate('d');
  for (const flow of packets) assert.equal(group.owner({ flow, flags: piece }), owners.get(flow));
  const { table } = group.replica('a');
  assert.equal(table.size, packets.length);
  group.pass(1_000 * (defaultIdle['udp-opening'] + 2));
  // None was confirmed, so all are forgotten: each begins anew.
  for (const flow of packets) assert.ok(Object.values(group.now({ flow, flags: piece })).includes('acceptNew'));
});
