// Flows that have backups: what becomes of them when servers go, one after the other or together.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { backupOf, noServer, ownerOf } from '../../../../services/dssl/replica/flows/entry.ts';
import { tickOfMs } from '../../../../services/dssl/replica/ticks.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { fin, hiOf, lifeOf, otherSide, syn, TestGroup, tcp, udp } from './support.ts';

const fig7 = { availability: 'active-active' } as const;
const fig6 = { ...fig7, typeOneMethod: 'fig-6' } as const;
const flows = Array.from({ length: 60 }, (_, flow) => flow);

function remove(group: TestGroup, server: string, by: string): void {
  group.command(by, { kind: 'remove', life: lifeOf(server), handled: 0 });
}

/** Names of owner and backup, as this replica has them. */
function entryOf(group: TestGroup, server: string, flow: number): readonly [string | undefined, string | undefined] {
  const replica = group.replica(server);
  const { table, timeMs } = replica;
  const handle = table.find(hiOf(flow), flow, tickOfMs(timeMs));
  assert.notEqual(handle, -1);
  const info = table.info(handle);
  const nameOf = (number: number) => (number === noServer ? undefined : replica.lifeOf(number)?.server);
  return [nameOf(ownerOf(info)), nameOf(backupOf(info))];
}

test('backups - connections of a server that has gone go on at their backups, in both methods; no other flow moves', () => {
  for (const rules of [fig7, fig6]) {
    const group = new TestGroup(4, rules);
    const homes = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
    for (const flow of flows) assert.equal(group.owner({ flow, flags: tcp }), homes.get(flow));
    remove(group, 'a', 'b');
    for (const flow of flows) {
      const verdicts = group.now({ flow, flags: tcp });
      const [[taker, verdict], ...more] = Object.entries(verdicts).filter(([, each]) => each.startsWith('accept'));
      assert.deepEqual(more, []);
      if (homes.get(flow) !== 'a') assert.equal(taker, homes.get(flow));
      else {
        assert.equal(verdict, 'acceptPromoted');
        assert.ok(group.events.get(taker)?.includes(`+${flow} promoted`));
        assert.equal(group.owner({ flow, flags: tcp }), taker);
      }
    }
    if (rules !== fig7) continue;
    // By Fig. 6 a server that is out cannot know who has its flows.
    const moved = group.events.get('a')?.filter((event) => event.endsWith('moved'));
    assert.deepEqual(
      [moved?.length, group.replica('a').ownFlows],
      [[...homes.values()].filter((home) => home === 'a').length, 0],
    );
  }
});

test('backups - a flow gets another one at its next packet, and so survives one server after the other', () => {
  const group = new TestGroup(4, fig7);
  for (const flow of flows) for (const flags of [syn, tcp]) group.owner({ flow, flags });
  for (const gone of ['a', 'b', 'c']) {
    const left = [...'abcd'].filter((server) => server > gone);
    for (const flow of flows) {
      const [owner, backup] = entryOf(group, 'd', flow);
      assert.ok(owner !== undefined && owner !== backup);
      assert.equal(backup === undefined, owner === 'd' && left.length === 0);
    }
    remove(group, gone, 'd');
    for (const flow of flows) assert.ok(left.includes(group.owner({ flow, flags: tcp })));
  }
  for (const flow of flows) assert.deepEqual(entryOf(group, 'd', flow), ['d', undefined]);
  group.activate('e');
  for (const flow of flows) group.owner({ flow, flags: tcp });
  for (const flow of flows) assert.deepEqual(entryOf(group, 'd', flow), ['d', 'e']);
});

test('backups - owner and backup gone together: all flows go on where they would be placed', () => {
  const group = new TestGroup(3, fig7);
  for (const flow of flows) group.owner({ flow, flags: flow % 2 ? udp : syn });
  const lost = flows.filter((flow) => entryOf(group, 'c', flow).every((server) => server !== 'c'));
  assert.ok(lost.length > 5);
  remove(group, 'a', 'c');
  remove(group, 'b', 'c');
  for (const flow of flows) {
    const { c } = group.now({ flow, flags: flow % 2 ? udp : tcp });
    if (!lost.includes(flow)) assert.match(c, /^accept/);
    else assert.equal(c, 'acceptPromoted');
  }
});

test('backups - a server that leaves before its flows have ended hands them to their backups', () => {
  const group = new TestGroup(3, fig7);
  const homes = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
  group.command('a', { kind: 'drain', life: lifeOf('a') });
  for (const flow of flows) assert.equal(group.owner({ flow, flags: tcp }), homes.get(flow));
  group.command('a', { kind: 'leave', life: lifeOf('a') });
  for (const flow of flows) {
    const taker = group.owner({ flow, flags: tcp });
    if (homes.get(flow) !== 'a') assert.equal(taker, homes.get(flow));
  }
});

test('backups - one that drains stands behind nobody for long: owner and backup may leave together', () => {
  const group = new TestGroup(3, fig7);
  for (const flow of flows) group.owner({ flow, flags: syn });
  for (const server of ['a', 'b']) group.command(server, { kind: 'drain', life: lifeOf(server) });
  for (const flow of flows) {
    const owner = group.owner({ flow, flags: tcp });
    assert.equal(entryOf(group, 'c', flow)[1] === 'c', owner !== 'c');
  }
  for (const server of ['a', 'b']) group.command(server, { kind: 'leave', life: lifeOf(server) });
  for (const flow of flows) assert.equal(group.owner({ flow, flags: tcp }), 'c');
});

test('backups - without that, nothing is promoted', () => {
  const group = new TestGroup(3);
  const homes = new Map(flows.map((flow) => [flow, group.owner({ flow, flags: syn })]));
  remove(group, 'a', 'b');
  for (const flow of flows.filter((each) => homes.get(each) === 'a')) {
    assert.equal(group.now({ flow, flags: tcp }).b, 'ignoreMidFlow');
  }
});

test('backups - exactly one accepts, whatever starts, ends, goes and comes', () => {
  const packet = fc.record({
    flow: fc.nat(9),
    flags: fc.constantFrom(syn, tcp, tcp | otherSide, fin, fin | otherSide, udp, udp | FrameFlags.SIDE),
  });
  const step = fc.oneof(
    { arbitrary: packet, weight: 12 },
    { arbitrary: fc.constantFrom('remove' as const, 'add' as const), weight: 1 },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(fig7, fig6), (steps, rules) => {
      const group = new TestGroup(3, rules);
      let added = 0;
      for (const each of steps) {
        const members = group.replica('a').view.members.map(({ server }) => server);
        if (each === 'add') group.activate(`s${++added}`);
        else if (each === 'remove') {
          if (members.length > 1) remove(group, members[0], members[1]);
        } else {
          const takers = Object.values(group.now(each)).filter((verdict) => verdict.startsWith('accept'));
          assert.ok(takers.length <= 1);
          if (each.flags & FrameFlags.START || (each.flags & FrameFlags.TYPE1) === 0) assert.equal(takers.length, 1);
        }
      }
    }),
    { numRuns: 150, seed: 5 },
  );
});
