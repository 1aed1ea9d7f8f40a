// State that one replica gives to another: complete, at a position, and refused when it is anything else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { packInfo, serverNumbers } from '../../../../services/dssl/replica/flows/entry.ts';
import { idleTicksOf } from '../../../../services/dssl/replica/idleLimits.ts';
import { Replica } from '../../../../services/dssl/replica/replica.ts';
import { decodeGlobal, encodeGlobal } from '../../../../services/dssl/replica/snapshot/globalSnapshot.ts';
import {
  decodeSlice,
  encodeSlice,
  type SliceSnapshot,
} from '../../../../services/dssl/replica/snapshot/sliceSnapshot.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { markOf } from '../../../../shared/log/mark.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';
import { fingerprintOf, hiOf, lifeOf, newReplica, syn, TestGroup, TestLog, tcp, udp } from './support.ts';

const idleTicks = idleTicksOf(defaultIdle);
const slices = Array.from({ length: 256 }, (_, slice) => slice);

function busyGroup(): TestGroup {
  const group = new TestGroup(2);
  for (let flow = 0; flow < 300; flow++) group.now({ flow, flags: flow % 3 === 0 ? syn : udp });
  group.log.frame([
    { flow: 1, hi: 9, flags: FrameFlags.DATAGRAM },
    { flow: 5, flags: udp },
    { flow: 2, hi: 9, flags: FrameFlags.LATER_FRAGMENT },
  ]);
  group.log.command(lifeOf('c'), { kind: 'ask' });
  group.catchUp();
  return group;
}

function restore(bytes: Uint8Array, self = lifeOf('c')): Replica | undefined {
  return Replica.restore({ group: 'g1', self }, bytes);
}

test('snapshots - a restored replica is equal, and so are its own snapshots', () => {
  const former = busyGroup().replica('a');
  const restored = restore(former.snapshotGlobal());
  assert.ok(restored !== undefined);
  assert.deepEqual([restored.missingSlices, restored.position, restored.mark], [256, former.position, former.mark]);
  assert.deepEqual(restored.snapshotGlobal(), former.snapshotGlobal());
  assert.deepEqual([restored.view, restored.epoch, restored.timeMs], [former.view, former.epoch, former.timeMs]);
  for (const slice of slices) {
    assert.ok(restored.restoreSlice(former.snapshotSlice(slice)));
    assert.equal(restored.isMissing(slice), false);
  }
  assert.equal(fingerprintOf(restored, slices), fingerprintOf(former, slices));
  assert.deepEqual([restored.missingSlices, restored.table.size], [0, former.table.size]);
  assert.deepEqual(restore(former.snapshotGlobal(), lifeOf('b'))?.selfNumber, 1);
});

test("snapshots - a slice is taken from one's own position on, of one's own epoch and line", () => {
  const group = busyGroup();
  const former = group.replica('a');
  const old = former.snapshotSlice(7);
  group.now({ flow: 1, flags: udp });
  const mended = group.replica('b');
  mended.dropSlice(7);
  assert.equal(mended.restoreSlice(old), false, 'older');
  const { content, ...present } = decodeSlice(former.snapshotSlice(7), idleTicks) ?? assert.fail();
  assert.equal(mended.restoreSlice(encodeSlice({ ...present, content, epoch: 'e0' })), false, 'another epoch');
  assert.equal(
    mended.restoreSlice(encodeSlice({ ...present, content, mark: present.mark ^ 1 })),
    false,
    'another entry',
  );
  assert.equal(mended.isMissing(7), true);
  assert.equal(mended.restoreSlice(former.snapshotSlice(7)), true);
  assert.equal(mended.digest(7), former.digest(7));
});

test('snapshots - a slice from further on waits, is given on as what it is, and is dropped if the entry there is another', () => {
  const group = busyGroup();
  const [donor, ahead, wrong] = [group.replica('a'), newReplica(lifeOf('x')), newReplica(lifeOf('y'))];
  for (const entry of group.log.entries) for (const replica of [ahead, wrong]) replica.apply(entry);
  group.now({ flow: 1, flags: udp });
  const last = group.now({ flow: 2, flags: udp });
  assert.ok(last.a.length > 0);
  const slice = hiOf(2) >>> 24;
  const bytes = donor.snapshotSlice(slice);
  const strange = encodeSlice({ ...(decodeSlice(bytes, idleTicks) ?? assert.fail()), mark: 1 });
  ahead.dropSlice(slice);
  assert.ok(ahead.restoreSlice(bytes));
  assert.ok(wrong.restoreSlice(strange));
  assert.deepEqual(decodeSlice(ahead.snapshotSlice(slice), idleTicks), decodeSlice(bytes, idleTicks));
  assert.deepEqual([ahead.isMissing(slice), ahead.holds(slice), donor.holds(slice)], [false, false, true]);
  for (const entry of group.log.entries.slice(ahead.position))
    for (const replica of [ahead, wrong]) replica.apply(entry);
  assert.equal(fingerprintOf(ahead, slices), fingerprintOf(donor, slices));
  assert.equal(ahead.holds(slice), true);
  assert.deepEqual([wrong.isMissing(slice), wrong.counters.strangeSlices], [true, 1]);
  assert.throws(() => wrong.snapshotSlice(slice), RangeError);
});

test('snapshots - by Fig. 6 own flows are in none of them, and stay', () => {
  const group = new TestGroup(2, { typeOneMethod: 'fig-6' });
  for (let flow = 0; flow < 50; flow++) group.now({ flow, flags: syn });
  const replica = group.replica('a');
  const own = replica.ownFlows;
  assert.ok(own > 10);
  for (const slice of slices) {
    assert.equal(decodeSlice(replica.snapshotSlice(slice), idleTicks)?.content.entries.length, 0);
    replica.dropSlice(slice);
  }
  for (const slice of slices) assert.ok(replica.restoreSlice(group.replica('b').snapshotSlice(slice)));
  assert.equal(replica.ownFlows, own);
  for (let flow = 0; flow < 50; flow++) group.owner({ flow, flags: tcp });
  const restored = restore(replica.snapshotGlobal(), lifeOf('a'));
  assert.deepEqual([restored?.recentStarts, restored?.ownFlows], [50, 0]);
});

test('snapshots - damaged, cut or foreign bytes are refused and never throw', () => {
  const replica = busyGroup().replica('a');
  const global = replica.snapshotGlobal();
  const slice = replica.snapshotSlice(hiOf(1) >>> 24);
  const damage = fc.record({
    flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { maxLength: 3 }),
    cutTo: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  const damaged = (bytes: Uint8Array, { flips, cutTo }: { flips: [number, number][]; cutTo: number }) => {
    const copy = bytes.slice(0, Math.floor(bytes.length * cutTo));
    for (const [at, flip] of flips) if (copy.length > 0) copy[at % copy.length] ^= flip;
    return copy;
  };
  fc.assert(
    fc.property(damage, (how) => {
      for (const [bytes, read] of [
        [global, (copy: Uint8Array) => restore(copy) !== undefined],
        [slice, (copy: Uint8Array) => replica.restoreSlice(copy)],
      ] as const) {
        const copy = damaged(bytes, how);
        const isSame = Buffer.from(copy).equals(bytes);
        assert.equal(read(copy), isSame);
      }
    }),
    { numRuns: 500, seed: 3 },
  );
  assert.equal(restore(slice), undefined);
  assert.equal(replica.restoreSlice(global), false);
  assert.equal(Replica.restore({ group: 'g2', self: lifeOf('a') }, global), undefined);
});

test('snapshots - a slice whose fields cannot be is refused, although it is undamaged', () => {
  const entry = (info: number, lastSeen = 90, hi = 7 << 24) => Int32Array.of(hi, 1, lastSeen, info);
  const good: SliceSnapshot = {
    slice: 7,
    position: 5,
    mark: 1,
    epoch: 'e1',
    tick: 100,
    content: { entries: entry(packInfo(3, 4_095, 1, 1)), allowance: 5, rest: 0 },
  };
  const withEntries = (entries: Int32Array) => ({ ...good, content: { ...good.content, entries } });
  assert.deepEqual(decodeSlice(encodeSlice(good), idleTicks), good);
  const bad: readonly SliceSnapshot[] = [
    { ...good, slice: 256 },
    { ...good, slice: 8 },
    { ...good, position: -1 },
    { ...good, tick: 2 ** 31 },
    { ...good, content: { ...good.content, allowance: -1 } },
    { ...good, content: { ...good.content, rest: 11 } },
    withEntries(entry(packInfo(serverNumbers, 4_095, 1, 1))),
    withEntries(entry(packInfo(3, 4_094, 1, 1))),
    withEntries(entry(packInfo(3, 4_095, 6 as 1, 1))),
    withEntries(entry(packInfo(3, 4_095, 1, 1) & 0x7fff_ffff)),
    withEntries(entry(packInfo(3, 4_095, 1, 1), 100 - 74_401)),
    withEntries(entry(packInfo(3, 4_095, 1, 1)).slice(0, 3)),
  ];
  for (const snapshot of bad)
    assert.equal(decodeSlice(encodeSlice(snapshot), idleTicks), undefined, JSON.stringify(snapshot));
  const replica = busyGroup().replica('a');
  const twice = Int32Array.from([...good.content.entries, ...good.content.entries]);
  const { position, mark } = replica;
  assert.equal(replica.restoreSlice(encodeSlice({ ...withEntries(twice), position, mark })), false);
  assert.equal(replica.isMissing(7), true, 'what is there is not to be trusted');
});

test('snapshots - global parts that do not go together are refused, although they are undamaged', () => {
  const good = decodeGlobal(busyGroup().replica('a').snapshotGlobal()) ?? assert.fail();
  const isTaken = (change: Partial<typeof good>) => restore(encodeGlobal({ ...good, ...change })) !== undefined;
  assert.equal(isTaken({}), true);
  const [member] = good.view.members;
  const view = (number: number) => ({ ...good.view, members: [{ ...member, number }] });
  assert.equal(isTaken({ view: view(7) }), false, 'a member that is not in the roster');
  assert.equal(isTaken({ view: view(1) }), false, 'a member under the number of another');
  const gone = good.roster.map((entry) => ({ ...entry, goneMs: 1 }));
  assert.equal(isTaken({ roster: gone }), false, 'a member that has gone');
  assert.equal(isTaken({ roster: [...good.roster, ...good.roster] }), false);
  assert.equal(isTaken({ lasts: [...good.lasts, ...good.lasts] }), false);
  assert.equal(isTaken({ ordinal: -1 }), false);
  assert.equal(isTaken({ time: { ...good.time, logMs: Number.NaN } }), false);
  assert.equal(isTaken({ datagrams: { next: 0, records: Int32Array.of(1, 2, 3, 4, 5, 6, 7) } }), false);
  assert.equal(isTaken({ recentStarts: { next: 1, records: Int32Array.of(1, 2, 3, 100, 4_095) } }), false);
  assert.equal(isTaken({ waiting: Array.from({ length: 1_025 }, () => good.waiting[0]) }), false);
  assert.equal(isTaken({ waiting: [{ ...good.waiting[0], row: 5_000 }] }), false);
});

test('snapshots - the mark is the one of the last entry', () => {
  const log = new TestLog();
  const replica = newReplica(lifeOf('a'));
  replica.apply(log.begin());
  assert.equal(replica.mark, markOf(log.entries[0]));
});
