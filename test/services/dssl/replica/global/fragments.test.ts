// Packets in fragments: they go where their first fragment goes, whichever comes first, and what waits is state of the group.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fragments, laterFlags, waitingFragmentBytes } from '../../../../../services/dssl/replica/global/fragments.ts';
import { Replica } from '../../../../../services/dssl/replica/replica.ts';
import { limits } from '../../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../../shared/flow/frameFlags.ts';
import { decidedBy, lifeOf, type Row, TestGroup, udp } from '../support.ts';

const { DATAGRAM, LATER_FRAGMENT } = FrameFlags;

const datagram = (id: number): Row => ({ flow: id, hi: 5, flags: DATAGRAM });
const later = (id: number): Row => ({ flow: id, hi: 5, flags: udp | LATER_FRAGMENT, bytes: 7 });
const first = (flow: number): Row => ({ flow, flags: udp });

/** Verdicts and owners of the rows of a frame at each server, and what was said of earlier rows. */
function frame(group: TestGroup, rows: readonly Row[], options = {}) {
  const said = new Map<string, { rows: string[]; late: string[]; owners: number[] }>();
  group.log.frame(rows, options);
  group.catchUp((server, effects) => {
    const late = effects.late.map(({ tier1Id, number, row, verdict }) => `${tier1Id}/${number}/${row} ${verdict}`);
    const rowsSaid = decidedBy(effects);
    said.set(server, {
      rows: rowsSaid.map(({ verdict }) => verdict),
      late,
      owners: rowsSaid.map(({ owner }) => owner),
    });
  });
  return said;
}

test('fragments - later ones go where the first one goes', () => {
  const group = new TestGroup(3);
  const said = frame(group, [datagram(1), first(9), later(1), later(1)]);
  const takers = [...said].filter(([, { rows }]) => rows[1].startsWith('accept'));
  assert.equal(takers.length, 1);
  for (const [server, { rows, owners }] of said) {
    const verdicts =
      server === takers[0][0] ? ['acceptNew', 'acceptKnown'] : ['ignorePlacedElsewhere', 'ignoreElsewhere'];
    assert.deepEqual(rows, ['noPacket', verdicts[0], verdicts[1], verdicts[1]]);
    assert.equal(new Set(owners.slice(1)).size, 1);
  }
  assert.deepEqual(group.events.get(takers[0][0]), ['+9', '9', '9', '9']);
});

test('fragments - one that comes first waits, and is handed out when the first one has come', () => {
  const group = new TestGroup(2);
  for (const { rows } of frame(group, [later(1), first(8)]).values()) assert.equal(rows[0], 'waiting');
  const said = frame(group, [datagram(1), first(9)], { tier1Id: 't2' });
  const accepting = [...said.values()].filter(({ rows }) => rows[1].startsWith('accept'));
  assert.equal(accepting.length, 1);
  assert.deepEqual(accepting[0].late, ['t1/1/0 0']);
  const taker = [...said].find(([, { rows }]) => rows[1].startsWith('accept'))?.[0] ?? '';
  assert.deepEqual(group.events.get(taker)?.slice(-3), ['+9', '9', '9 late']);
});

test('fragments - one that waits within its frame has its verdict in it', () => {
  const group = new TestGroup(1);
  const { rows, late, owners } = frame(group, [later(1), datagram(1), first(9)]).get('a') ?? assert.fail();
  assert.deepEqual([rows, late, owners[0]], [['acceptKnown', 'noPacket', 'acceptNew'], [], 0]);
});

test('fragments - one whose first one does not come is dropped after a while, by the time of the line', () => {
  const group = new TestGroup(2);
  frame(group, [later(1)]);
  group.pass(limits.waitingFragmentMs);
  assert.deepEqual(frame(group, [first(1)]).get('a')?.late, []);
  group.log.nowMs += 1;
  const said = frame(group, [datagram(1), first(9)]);
  for (const { late, rows } of said.values()) {
    assert.equal(late.length, 1);
    assert.equal(rows.includes('waiting'), false);
  }
  assert.equal(
    group.replica('a').counts.reduce((sum, count) => sum + count),
    3,
  );
});

test('fragments - what waits goes into a snapshot, with its bytes', () => {
  const group = new TestGroup(1);
  frame(group, [datagram(2), first(3), later(1)]);
  const former = group.replica('a');
  const restored = Replica.restore({ group: 'g1', self: lifeOf('a') }, former.snapshotGlobal());
  assert.ok(restored !== undefined);
  assert.equal(restored.globalFingerprint(), former.globalFingerprint());
  for (let slice = 0; slice < 256; slice++) assert.ok(restored.restoreSlice(former.snapshotSlice(slice)));
  group.replicas.set('b', restored);
  const said = frame(group, [later(2), datagram(1), first(9)]);
  assert.deepEqual(said.get('b'), said.get('a'));
  assert.equal(said.get('a')?.late.length, 1);
});

test('fragments - those that wait are bounded, in number and in bytes', () => {
  const fragment = { hi: 1, lo: 1, timestampMs: 0, atMs: 0, tier1Id: 't', number: 1, row: 0 };
  const many = new Fragments();
  for (let turn = 0; turn < limits.waitingFragments; turn++)
    assert.ok(many.wait({ ...fragment, bytes: Buffer.alloc(1) }));
  assert.equal(many.wait({ ...fragment, bytes: Buffer.alloc(1) }), false);
  const large = new Fragments();
  for (let turn = 0; turn < 16; turn++) {
    assert.ok(large.wait({ ...fragment, hi: turn, bytes: Buffer.alloc(waitingFragmentBytes / 16) }));
  }
  assert.equal(large.wait({ ...fragment, bytes: Buffer.alloc(1) }), false);
  assert.equal(large.release(3, 1).length, 1);
  assert.ok(large.wait({ ...fragment, bytes: Buffer.alloc(1) }));
  const before = large.fingerprint;
  assert.equal(large.expire(limits.waitingFragmentMs).length, 0);
  assert.equal(large.expire(limits.waitingFragmentMs + 1).length, 16);
  assert.notEqual(large.fingerprint, before);
});

test('fragments - a later one neither starts nor ends its flow', () => {
  const flags = laterFlags(udp | FrameFlags.START | FrameFlags.END);
  assert.equal(flags, udp | LATER_FRAGMENT);
});
