// The core of an actor: fragments, frames that wait for their view, drains, and what the network may send.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { DsslCore } from '../../../../services/dssl/old/core.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { FrameBuilder, type frameFaults } from '../../../../shared/log/records/frame.ts';
import { activate, drain } from '../../../../shared/membership/transitions.ts';
import { encodeFrame } from '../../../support/encodeFrame.ts';
import { groupOf, hiOf, type Row, syn, tcp, udp } from '../../../support/group.ts';

const later = (datagram: number): Row => ({ flow: datagram, flags: FrameFlags.LATER_FRAGMENT });

test('core - fragments without ports follow the first fragment to its server, whichever comes first', () => {
  const group = groupOf(3);
  const rows: Row[] = [later(900), { flow: 1, flags: udp, datagram: 900 }, later(900), later(900)];
  const packets = group.send(rows);
  group.settle(1);
  const [owner] = group.acceptedBy(packets[1]);
  for (const packet of packets) assert.deepEqual(group.acceptedBy(packet), [owner]);
  const module = group.modules.find(({ name }) => name === owner);
  assert.deepEqual(module?.accepted, ['1', '1', '1', '1']);
  assert.deepEqual(module?.events, ['+1'], 'a fragment starts no flow of its own');
});

test('core - the server learns which tier 1 a packet came by, also of a fragment that waited', () => {
  const group = groupOf(2);
  group.send([later(901), later(901)], { tier1: 'early' });
  group.send([{ flow: 5, flags: udp, datagram: 901 }, later(901), { flow: 5, flags: udp }], { tier1: 'late' });
  for (const module of group.modules) while (group.deliver(module, 'early'));
  group.settle(1);
  const module = group.modules.find(({ accepted }) => accepted.length > 0);
  assert.deepEqual(module?.accepted, ['5', '5', '5', '5', '5']);
  // The first fragment is out before the ones that waited for it; then its own tier 1 goes on.
  assert.deepEqual(module?.cameBy, ['late', 'early', 'early', 'late', 'late']);
});

test('core - a fragment whose first fragment never comes is given up by everybody, for that cause', () => {
  const group = groupOf(2);
  const [packet] = group.send([later(901)]);
  group.settle(1);
  assert.equal(group.packets.get(packet)?.size, 0, 'it waits');
  group.now({ flow: 2, flags: udp }, { timestampMs: group.nowMs + limits.waitingFragmentMs + 500 });
  group.tick(20);
  assert.deepEqual([...(group.packets.get(packet)?.values() ?? [])], ['dropFragment', 'dropFragment']);
});

test('core - fragments that wait are bounded, and those beyond are counted', () => {
  const group = groupOf(1);
  for (let sent = 0; sent < limits.waitingFragments + 7; sent++) group.now(later(10_000 + sent));
  assert.equal(group.modules[0].core.verdicts.dropFragment, 7);
  group.modules[0].core.finish();
  assert.equal(group.modules[0].core.verdicts.dropFragment, limits.waitingFragments + 7);
});

test('core - a frame of a view that has not come waits, in order, and is decided when it has', () => {
  const group = groupOf(2);
  const [a] = group.modules;
  const known = group.view.number;
  group.propose((view) => ({ ...view, number: view.number + 1 }));
  a.inbox.delete('store');
  const packets = [
    { flow: 5, flags: syn },
    { flow: 5, flags: tcp },
  ].flatMap((row, index) => group.send([row], { viewNumber: known + 1 - index }));
  while (group.deliver(a, 't1'));
  assert.equal(a.core.counters.viewWaits, 2, 'the second frame waits behind the first, although its view is known');
  assert.ok((a.inbox.get('store')?.length ?? 0) > 0, 'the views were asked for');
  group.settle(1);
  for (const packet of packets) assert.equal(group.acceptedBy(packet).length, 1);
  assert.equal(a.core.counters.viewDrops, 0);
});

test('core - a frame whose view never comes is dropped after a while, and what waited behind it is decided', () => {
  const group = groupOf(1);
  const [stray] = group.send([{ flow: 5, flags: udp }], { viewNumber: 1_000_000 });
  const [behind] = group.send([{ flow: 6, flags: udp }]);
  const [other] = group.send([{ flow: 7, flags: udp }], { tier1: 't2' });
  for (const source of ['t1', 't2']) while (group.deliver(group.modules[0], source));
  assert.deepEqual(group.acceptedBy(other), ['a'], 'another tier 1 is not held up');
  assert.equal(group.packets.get(behind)?.size, 0);
  // A module that was stopped itself has yet to take in what the frame waits for.
  group.tick(limits.waitingFrameMs + 1);
  assert.equal(group.packets.get(stray)?.size, 0);
  group.tick(limits.waitingFrameMs / 2 + 1);
  group.tick(limits.waitingFrameMs / 2);
  assert.equal(group.packets.get(stray)?.get('a'), 'dropView');
  assert.deepEqual(group.acceptedBy(behind), ['a']);
});

test('core - frames that wait are bounded, and a view older than the history is not waited for', () => {
  const group = groupOf(1);
  const [{ core }] = group.modules;
  for (let sent = 0; sent < limits.waitingFrames + 3; sent++)
    group.now({ flow: 5, flags: udp }, { viewNumber: 1_000_000 });
  assert.equal(core.verdicts.dropView, 3);
  for (let number = 0; number < limits.viewHistory + 5; number++) {
    group.propose((view) => ({ ...view, number: view.number + 1 }));
  }
  group.settle(1);
  const verdicts = group.now({ flow: 5, flags: udp }, { tier1: 't9', viewNumber: 1 });
  assert.deepEqual(verdicts, { a: 'dropView' });
});

test('core - holes in the sequence are counted, and repeated frames are not decided again', () => {
  const group = groupOf(1);
  const [a] = group.modules;
  group.now({ flow: 1, flags: udp });
  const frame = (sequence: number) => {
    const builder = new FrameBuilder();
    builder.add(Buffer.from('x'), 0, 1, hiOf(1), 1, udp);
    group.packets.set(`t1/${sequence}/0`, new Map());
    const { number } = group.view;
    return builder.finish({
      tier1Id: 't1',
      sequence,
      viewNumber: number,
      mapVersion: 1,
      timestampMs: group.nowMs,
      startOrdinal: 0,
    });
  };
  const before = a.core.streams.get('t1')?.received ?? 0;
  a.core.onFrame(frame(before + 5), group.nowMs);
  a.core.onFrame(frame(before + 5), group.nowMs);
  a.core.onFrame(frame(before + 2), group.nowMs);
  assert.equal(a.core.streams.lostFrames, 4);
  assert.equal(a.core.streams.repeatedFrames, 2);
  assert.equal(a.accepted.length, 1, 'what comes after a hole waits until the peers have been asked');
  group.tick(20);
  assert.equal(a.accepted.length, 2);
});

test('core - a view of another life of the key-value store is not taken in', () => {
  const group = groupOf(1);
  const [{ core }] = group.modules;
  const before = core.views.newest;
  core.onView({ ...group.view, cluster: 'another', number: group.view.number + 1 }, group.nowMs);
  assert.equal(core.views.newest, before);
  assert.equal(core.counters.foreignViews, 1);
});

test('core - whoever proposes a view writes how many flows the members hold, so that fewest-flows can place by it', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-7' }, 'fewest-flows');
  for (let flow = 1; flow <= 300; flow++) group.now({ flow, flags: udp });
  const held = new Map(group.modules.map(({ name, core }) => [name, core.ownFlows]));
  group.add('c');
  group.settle(20);
  for (const { server, flows } of group.view.members) assert.equal(flows, held.get(server) ?? 0, server);
  const before = new Map(group.modules.map(({ name, core }) => [name, core.ownFlows]));
  for (let flow = 1001; flow <= 1300; flow++) group.now({ flow, flags: udp });
  const gained = (name: string) =>
    (group.modules.find((each) => each.name === name)?.core.ownFlows ?? 0) - (before.get(name) ?? 0);
  assert.ok(gained('c') > 1.5 * gained('a') && gained('c') > 1.5 * gained('b'), 'the empty member gets the most');
});

test('core - a draining server stays as long as a tier 1 may still place a flow at it', () => {
  const group = groupOf(2);
  const [a] = group.modules;
  const older = group.view.number;
  group.send([], { viewNumber: older });
  a.core.drain(Number.POSITIVE_INFINITY);
  for (let tick = 0; tick < 20; tick++) {
    group.send([], { viewNumber: older });
    for (const source of [...a.inbox.keys()]) while (group.deliver(a, source));
    group.tick(100);
  }
  assert.equal(a.core.phase, 'draining');
  group.settle(3);
  assert.equal(a.core.phase, 'left');
});

test('core - a draining server leaves at its deadline although it has flows', () => {
  const group = groupOf(2);
  const [a] = group.modules;
  for (let flow = 1; flow < 20; flow++) group.now({ flow, flags: udp });
  assert.ok(a.core.ownFlows > 0);
  a.core.drain(group.nowMs + 5_000);
  group.settle(40);
  assert.equal(a.core.phase, 'draining');
  group.settle(20);
  assert.equal(a.core.phase, 'left');
});

test('core - two servers that propose at once both get in, and a stale step changes nothing', () => {
  const group = groupOf(1);
  const before = group.view;
  const [{ core }] = group.modules;
  group.propose((view) => activate(view, core.candidate));
  assert.equal(group.view, before);
  group.propose((view) => drain(view, { ...core.candidate, incarnation: 99 }));
  assert.equal(group.view, before, 'another life of the server has no say');
});

const packr = new Packr({ useRecords: false });
const goodFields = (): unknown[] => {
  const meta = new Uint8Array(12);
  new DataView(meta.buffer).setUint16(8, 4, true);
  return [1, 't1', 1, 1, 1, 1_000, 0, 1, meta, Buffer.from('abcd')];
};

test('core - garbage on the data subject is counted by fault, and the actor goes on', () => {
  const wrong: { description: string; message: Uint8Array; fault: (typeof frameFaults)[number] }[] = [
    { description: 'nothing', message: new Uint8Array(0), fault: 'size' },
    { description: 'too long', message: new Uint8Array(limits.frameMaxBytes + 1).fill(0x9a), fault: 'size' },
    { description: 'text', message: Buffer.from('hello, is this the bus?'), fault: 'encoding' },
    {
      description: 'an array header and nothing',
      message: Uint8Array.of(0x9a, 0xdd, 0xff, 0xff, 0xff, 0xff),
      fault: 'encoding',
    },
    { description: 'another version', message: packr.pack([2, ...goodFields().slice(1)]), fault: 'format' },
    { description: 'a count that lies', message: packr.pack(goodFields().with(7, 2)), fault: 'count' },
    {
      description: 'lengths that lie',
      message: packr.pack(goodFields().with(9, Buffer.from('abc'))),
      fault: 'lengths',
    },
    {
      description: 'a name that is too long',
      message: packr.pack(goodFields().with(1, 'x'.repeat(65))),
      fault: 'shape',
    },
    { description: 'a sequence below zero', message: packr.pack(goodFields().with(2, -1)), fault: 'shape' },
    { description: 'a time that is none', message: packr.pack(goodFields().with(5, Number.NaN)), fault: 'shape' },
    { description: 'a column of numbers', message: packr.pack(goodFields().with(8, [1, 2, 3])), fault: 'shape' },
  ];
  for (const { description, message, fault } of wrong) {
    const group = groupOf(1);
    const [{ core }] = group.modules;
    core.onFrame(message, group.nowMs);
    if (fault === 'none') continue;
    assert.equal(core.counters.faults[fault], 1, description);
    assert.equal(group.owner({ flow: 1, flags: udp }), 'a', description);
  }
});

test('core - random bytes, and frames and control messages with random damage, never throw and never accept garbage', () => {
  const group = groupOf(2);
  const [{ core }] = group.modules;
  const good = encodeFrame(
    { tier1Id: 'x', sequence: 9, viewNumber: 1, mapVersion: 1, timestampMs: 5, startOrdinal: 0 },
    1,
    goodFields()[8] as Uint8Array,
    Buffer.from('abcd'),
  ).slice();
  const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), damage, (bytes, places) => {
      core.onControl(bytes, group.nowMs);
      if (bytes[0] !== 0x9a) {
        const before = core.counters.frames;
        core.onFrame(bytes, group.nowMs);
        assert.equal(core.counters.frames, before);
      }
      const damaged = good.slice();
      for (const [at, value] of places) damaged[at] = value;
      // Not through the audit: a damaged frame may still be a frame, of packets that nobody sent.
      new DsslCore(
        { group: 'g1', candidate: { server: 'z', incarnation: 1, weight: 1 }, maxFlows: 100 },
        {
          egress: { begin() {}, add() {}, end() {}, flowStarted() {}, flowEnded() {} },
          publishControl() {},
          fetchViews() {},
          propose() {},
        },
      ).onFrame(damaged, group.nowMs);
    }),
    { numRuns: 500 },
  );
  assert.equal(group.owner({ flow: 1, flags: udp }) !== '', true);
});
