// What a server that is removed had not handled: every row of it has exactly one heir, the same on all replicas.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Heritage } from '../../../../services/dssl/replica/effects.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { fin, lifeOf, single, syn, TestGroup, tcp, udp } from './support.ts';

const protectedRules = { availability: 'active-active' } as const;

interface OwnedRow {
  readonly position: number;
  readonly row: number;
  readonly flow: number;
  owner: string;
  due: number;
}

/** A group whose rows are written down as they are decided. */
class WatchedGroup {
  readonly group: TestGroup;
  readonly rows: OwnedRow[] = [];

  constructor(members: number, rules: ConstructorParameters<typeof TestGroup>[1] = protectedRules) {
    this.group = new TestGroup(members, rules);
  }

  frame(rows: readonly { readonly flow: number; readonly flags: number }[]): void {
    this.group.log.nowMs += 1;
    const { position } = this.group.log.frame(rows);
    this.group.catchUp((server, effects) => {
      if (server !== this.group.replicas.keys().next().value) return;
      for (let row = 0; row < effects.frame.count; row++) {
        const owner = this.group.replica(server).lifeOf(effects.owners[row])?.server;
        if (owner !== undefined) this.rows.push({ position, row, flow: rows[row].flow, owner, due: position });
      }
    });
  }

  /** What each server inherits; and what it should come to. */
  remove(server: string, by: string, handled: number): ReadonlyMap<string, Heritage> {
    const { position } = this.group.log.command(lifeOf(by), { kind: 'remove', life: lifeOf(server), handled });
    const heritages = new Map<string, Heritage>();
    this.group.catchUp((heir, { heritage }) => {
      if (heritage !== undefined) heritages.set(heir, heritage);
    });
    const due = this.rows.filter((row) => row.owner === server && row.due > handled);
    const heirs = new Map<string, string>();
    for (const [heir, { frames }] of heritages) {
      for (const { position: at, rows } of frames) {
        for (const row of rows) {
          assert.ok(!heirs.has(`${at} ${row}`), `${at} ${row} has two heirs`);
          heirs.set(`${at} ${row}`, heir);
        }
      }
    }
    assert.deepEqual([...heirs.keys()].sort(), due.map((each) => `${each.position} ${each.row}`).sort());
    const members = this.group.replica(by).view.members.map((member) => member.server);
    for (const each of due) {
      each.owner = heirs.get(`${each.position} ${each.row}`) ?? '';
      each.due = position;
      assert.ok(members.includes(each.owner));
    }
    return heritages;
  }
}

const flows = Array.from({ length: 40 }, (_, flow) => flow);

test('heritage - rows behind the handled position go to whom their flows go on at, in order; what was handled does not', () => {
  const watched = new WatchedGroup(4);
  const { group } = watched;
  watched.frame(flows.map((flow) => ({ flow, flags: syn })));
  const handled = group.log.entries.length;
  for (let turn = 0; turn < 3; turn++) watched.frame(flows.map((flow) => ({ flow, flags: tcp })));
  const heritages = watched.remove('a', 'b', handled);
  assert.equal(
    [...heritages.values()].every(({ isWhole }) => isWhole),
    true,
  );
  const late = watched.rows.filter(({ due }) => due > handled + 3);
  assert.ok(late.length > 15);
  assert.ok(late.every(({ position }) => position > handled));
  for (const { flow, owner } of late) assert.equal(group.owner({ flow, flags: tcp }), owner);
  for (const { frames } of heritages.values()) {
    const positions = frames.map(({ position }) => position);
    assert.deepEqual(
      positions,
      positions.toSorted((one, other) => one - other),
    );
    for (const { rows } of frames)
      assert.deepEqual(
        rows,
        rows.toSorted((one, other) => one - other),
      );
  }
});

test('heritage - flows that have ended, begun anew or never were in a table have heirs, too', () => {
  const watched = new WatchedGroup(3);
  watched.frame(flows.map((flow) => ({ flow, flags: syn })));
  watched.frame(flows.map((flow) => ({ flow, flags: fin })));
  watched.frame(flows.map((flow) => ({ flow, flags: fin | FrameFlags.SIDE })));
  watched.frame(flows.map((flow) => ({ flow, flags: syn })));
  watched.frame(flows.map((flow) => ({ flow, flags: single })));
  const packets = [...watched.remove('b', 'a', 0).values()].reduce((sum, heritage) => sum + heritage.packets, 0);
  assert.ok(packets > 50);
});

test('heritage - an heir that is removed before it was through leaves the rows to the next one; one that was through does not', () => {
  for (const isThrough of [false, true]) {
    const watched = new WatchedGroup(4);
    watched.frame(flows.map((flow) => ({ flow, flags: udp })));
    watched.remove('a', 'd', 0);
    const removal = watched.group.log.entries.length;
    const inherited = watched.rows.filter(({ owner, due }) => owner === 'b' && due === removal).length;
    assert.ok(inherited > 0);
    const heritages = watched.remove('b', 'd', isThrough ? removal : removal - 1);
    const packets = [...heritages.values()].reduce((sum, heritage) => sum + heritage.packets, 0);
    assert.equal(packets, isThrough ? 0 : inherited);
  }
});

test('heritage - a replica that joined later says that it does not remember everything', () => {
  const watched = new WatchedGroup(3);
  watched.frame(flows.map((flow) => ({ flow, flags: udp })));
  const { group } = watched;
  const handled = group.log.entries.length;
  watched.frame(flows.map((flow) => ({ flow, flags: udp })));
  group.pass(12_000);
  assert.deepEqual(
    [...group.replicas.keys()].map((server) => server),
    ['a', 'b', 'c'],
  );
  watched.frame(flows.map((flow) => ({ flow, flags: udp })));
  // The first two frames are older than ten seconds.
  group.log.command(lifeOf('b'), { kind: 'remove', life: lifeOf('a'), handled });
  group.catchUp((_, { heritage }) => assert.equal(heritage?.isWhole, false));
});

test('heritage - nothing is remembered without backups', () => {
  const group = new TestGroup(3);
  for (const flow of flows) group.owner({ flow, flags: udp });
  group.log.command(lifeOf('b'), { kind: 'remove', life: lifeOf('a'), handled: 0 });
  group.catchUp((_, { heritage }) => assert.equal(heritage, undefined));
});

test('heritage - by Fig. 6 the middle of a connection goes to whom it goes on at, and to nobody else', () => {
  const group = new TestGroup(3, { ...protectedRules, typeOneMethod: 'fig-6' });
  const takers = flows.map((flow) => group.owner({ flow, flags: syn }));
  const handled = group.log.entries.length;
  const frames = [tcp, tcp, fin].map((flags) => group.log.frame(flows.map((flow) => ({ flow, flags }))).position);
  group.catchUp();
  const [gone] = takers;
  const by = [...group.replicas.keys()].find((server) => server !== gone) ?? '';
  group.log.command(lifeOf(by), { kind: 'remove', life: lifeOf(gone), handled });
  const heirs = new Map<string, string[]>();
  group.catchUp((heir, { heritage }) => {
    for (const { position, rows } of heritage?.frames ?? [])
      for (const row of rows) heirs.set(`${position} ${row}`, [...(heirs.get(`${position} ${row}`) ?? []), heir]);
  });
  const due = flows.filter((flow) => takers[flow] === gone);
  assert.ok(due.length > 5);
  assert.deepEqual(
    [...heirs.keys()].sort(),
    frames.flatMap((position) => due.map((flow) => `${position} ${flow}`)).sort(),
  );
  for (const [row, servers] of heirs) assert.equal(servers.length, 1, row);
  for (const flow of due) {
    assert.deepEqual(heirs.get(`${frames[0]} ${flow}`), [group.owner({ flow, flags: tcp | FrameFlags.SIDE })]);
  }
});

test('heritage - another life that takes the place of one that nobody has missed leaves its rows to the others', () => {
  const watched = new WatchedGroup(3);
  watched.frame(flows.map((flow) => ({ flow, flags: udp })));
  const { group } = watched;
  const due = watched.rows.filter(({ owner }) => owner === 'a').length;
  group.log.command(
    { server: 'a', incarnation: 99 },
    { kind: 'join', weight: 100, replaces: lifeOf('a').incarnation, needAt: undefined },
  );
  let packets = 0;
  group.catchUp((_, { heritage }) => {
    assert.equal(heritage?.isWhole, true);
    packets += heritage?.packets ?? 0;
  });
  assert.ok(due > 5);
  assert.equal(packets, due);
});

test('heritage - whatever starts, ends, goes and comes, each row that was not handled has one heir', () => {
  const packet = fc.record({ flow: fc.nat(15), flags: fc.constantFrom(syn, tcp, fin, udp, single) });
  const step = fc.oneof(
    { arbitrary: fc.array(packet, { minLength: 1, maxLength: 4 }), weight: 10 },
    { arbitrary: fc.record({ back: fc.nat(12) }), weight: 1 },
    { arbitrary: fc.constant('add' as const), weight: 1 },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const watched = new WatchedGroup(4);
      const { group } = watched;
      let added = 0;
      for (const each of steps) {
        const members = group.replica('d').view.members.map(({ server }) => server);
        if (each === 'add') {
          // One that joins now has not seen what came before, and may still be somebody's heir.
          if (watched.rows.length > 0) continue;
          group.activate(`s${++added}`);
        } else if ('back' in each) {
          const [first] = members;
          if (first !== 'd') watched.remove(first, 'd', Math.max(0, group.log.entries.length - each.back));
        } else watched.frame(each);
      }
    }),
    { numRuns: 150, seed: 11 },
  );
});

test('heritage - by Fig. 6 a start that is repeated under other weights has the backup of the first one, and no other', () => {
  const group = new TestGroup(4, { ...protectedRules, typeOneMethod: 'fig-6' });
  const owners = flows.map((flow) => group.owner({ flow, flags: syn }));
  const weights = new Map([
    ['a', 1],
    ['b', 900],
    ['c', 1],
    ['d', 900],
  ]);
  group.command('a', { kind: 'weigh', weights });
  for (const flow of flows) assert.equal(group.owner({ flow, flags: syn }), owners[flow]);
  const [gone] = owners;
  const by = [...group.replicas.keys()].find((server) => server !== gone) ?? '';
  group.log.command(lifeOf(by), { kind: 'remove', life: lifeOf(gone), handled: 0 });
  const heirs = new Map<number, Set<string>>();
  group.catchUp((heir, { heritage }) => {
    for (const { lo } of heritage?.frames ?? [])
      for (const flow of lo) heirs.set(flow, (heirs.get(flow) ?? new Set()).add(heir));
  });
  assert.ok(heirs.size > 5);
  for (const [flow, servers] of heirs) assert.deepEqual([...servers], [group.owner({ flow, flags: tcp })]);
});

test('heritage - by Fig. 6 a start that is repeated when its server has gone goes to whom the flow goes on at', () => {
  for (const hasGoneOn of [false, true]) {
    const group = new TestGroup(4, { ...protectedRules, typeOneMethod: 'fig-6' });
    const owners = flows.map((flow) => group.owner({ flow, flags: syn }));
    const [gone] = owners;
    const by = [...group.replicas.keys()].find((server) => server !== gone) ?? '';
    group.command(by, { kind: 'remove', life: lifeOf(gone), handled: 0 });
    for (const flow of flows) {
      const next = hasGoneOn ? group.owner({ flow, flags: tcp }) : undefined;
      const again = group.owner({ flow, flags: syn });
      if (next !== undefined) assert.equal(again, next);
      assert.equal(group.owner({ flow, flags: tcp }), again);
      assert.equal(group.owner({ flow, flags: syn }), again);
    }
  }
});
