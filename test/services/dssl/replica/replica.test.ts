// The replica as others use it: what it makes of entries that are not in order or nothing at all, epochs, digests, and server
// numbers that come round. State that is given to another is in snapshots.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noServer, serverNumbers } from '../../../../services/dssl/replica/flows/entry.ts';
import { maxCaptureStepMs } from '../../../../services/dssl/replica/global/lineTime.ts';
import { longestIdleMs } from '../../../../services/dssl/replica/idleLimits.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';
import { encodeFrame } from '../../../support/encodeFrame.ts';
import {
  decidedBy,
  fingerprintOf,
  hiOf,
  itemsOf,
  lifeOf,
  newReplica,
  syn,
  TestGroup,
  TestLog,
  tcp,
  udp,
} from './support.ts';

const [a, b] = [lifeOf('a'), lifeOf('b')];
const slices = Array.from({ length: 256 }, (_, slice) => slice);

test('replica - nothing happens before the first epoch, and what came is counted', () => {
  const log = new TestLog();
  const replica = newReplica(a);
  log.nowMs += 50;
  for (const entry of [log.frame([{ flow: 1, flags: udp }]), log.join(a), log.append('frame', new Uint8Array(3))]) {
    assert.equal(replica.apply(entry).outcome, 'ignored');
  }
  assert.deepEqual(
    [replica.position, replica.timeMs, replica.epoch, replica.view.members.length],
    [3, 0, undefined, 0],
  );
  assert.deepEqual([replica.counters.ignoredFrames, replica.counters.ignoredRows], [2, 1]);
  assert.throws(() => replica.snapshotGlobal(), RangeError);
});

test('replica - the first epoch begins an empty line, at time 0', () => {
  const log = new TestLog();
  const replica = newReplica(a);
  log.append('command', new Uint8Array(1));
  log.nowMs += 5_000;
  log.begin();
  for (const entry of log.entries.slice(0, 1)) replica.apply(entry);
  const effects = replica.apply(log.entries[1]);
  assert.deepEqual(effects.epochBegun, { number: 1, id: 'e1', position: 2, donor: undefined });
  assert.deepEqual([effects.outcome, effects.viewChanged], ['command', true]);
  assert.deepEqual([replica.view.number, replica.view.seed, replica.timeMs, replica.viewPosition], [0, 7, 0, 2]);
  assert.equal(replica.selfNumber, noServer);
  log.nowMs += 70;
  replica.apply(log.join(a));
  assert.deepEqual([replica.selfNumber, replica.timeMs, replica.viewPosition], [0, 70, 3]);
});

test('replica - frames apply once and in order; others move time and nothing else', () => {
  const group = new TestGroup(1);
  const send = (number: number, follows: number) => {
    group.log.nowMs += 10;
    return group.now({ flow: 1, flags: udp }, { number, follows }).a;
  };
  assert.deepEqual(
    [send(1, 0), send(1, 0), send(3, 2), send(2, 1), send(3, 2), send(9, 3), send(8, 3)],
    ['acceptNew', 'repeated', 'gap', 'acceptKnown', 'acceptKnown', 'acceptKnown', 'repeated'],
  );
  const { counters, timeMs } = group.replica('a');
  assert.deepEqual([counters.frames, counters.repeatedFrames, counters.gapFrames, timeMs], [4, 2, 1, 77]);
});

test('replica - flows that make their slice grow are found again in the same frame', () => {
  const group = new TestGroup(2);
  const rows = Array.from({ length: 500 }, (_, flow) => ({ flow: flow * 7_919_191, hi: 5, flags: udp, bytes: 1 }));
  group.log.frame([...rows, ...rows]);
  group.catchUp((_, effects) => {
    for (const { verdict } of decidedBy(effects).slice(0, 500))
      assert.match(verdict, /^(acceptNew|ignorePlacedElsewhere)$/);
    for (const { verdict } of decidedBy(effects).slice(500)) assert.match(verdict, /^(acceptKnown|ignoreElsewhere)$/);
  });
  assert.equal(group.replica('a').table.size, 500);
});

test('replica - bytes that are nothing are counted by their fault, and move time', () => {
  const group = new TestGroup(1);
  const replica = group.replica('a');
  const good = encodeFrame(
    { tier1Id: 't', number: 1, follows: 0, mapVersion: 1, timestampMs: 5 },
    0,
    Buffer.alloc(0),
    Buffer.alloc(0),
  );
  group.log.nowMs += 30;
  group.log.append('frame', Buffer.of(1));
  group.log.append('frame', Buffer.of(7, 7, 7));
  group.log.append(
    'frame',
    Uint8Array.from(good, (byte, index) => (index === 1 ? 9 : byte)),
  );
  group.log.append('command', Buffer.of(0x91));
  group.catchUp((_, effects) => assert.equal(effects.outcome, 'bad'));
  const { badFrames, badCommands } = replica.counters;
  assert.deepEqual([badFrames.size, badFrames.encoding, badFrames.format, badCommands], [1, 1, 1, 1]);
  assert.equal(replica.timeMs, 30);
});

test('replica - an entry out of order is a defect of the caller', () => {
  const log = new TestLog();
  const replica = newReplica(a);
  replica.apply(log.begin());
  assert.throws(() => replica.apply(log.entries[0]), RangeError);
});

test('replica - commands for another epoch are ignored; those of authors that know none are not', () => {
  const group = new TestGroup(1);
  const epochs = ['e0', '', 'e1'].map((epoch) => {
    group.log.epoch = epoch;
    group.log.command(a, { kind: 'configure', life: a, weight: 1 + epoch.length });
    let outcome = '';
    group.catchUp((_, effects) => {
      outcome = `${effects.outcome} ${effects.viewChanged}`;
    });
    return outcome;
  });
  assert.deepEqual(epochs, ['ignored false', 'command true', 'command true']);
});

test('replica - an epoch with its own state goes on with it, one with the state of another ends it', () => {
  const group = new TestGroup(2);
  for (let flow = 0; flow < 20; flow++) group.now({ flow, flags: udp });
  const [donor, other] = [group.replica('a'), group.replica('b')];
  const { position, epoch } = other;
  const digests = slices.map((slice) => donor.digest(slice));
  group.log.nowMs += 2_000;
  const entry = group.log.begin(a, 'e2', 'e1', b);
  const given = donor.apply(entry);
  assert.deepEqual([given.epochBegun?.donor, given.viewChanged, donor.isSuperseded], [a, false, false]);
  assert.deepEqual(donor.epoch, { number: 2, id: 'e2', position: entry.position });
  assert.deepEqual(
    slices.map((slice) => donor.digest(slice)),
    digests,
  );
  assert.equal(donor.viewPosition, entry.position);

  const taken = other.apply(entry);
  assert.deepEqual([taken.epochBegun?.donor, other.isSuperseded], [a, true]);
  // What it was stays, in case it is needed yet.
  assert.deepEqual([other.position, other.epoch], [position, epoch]);
  assert.equal(other.apply(group.log.frame([{ flow: 1, flags: udp }])).outcome, 'ignored');
  assert.equal(other.position, position);
});

test('replica - the log was made anew: the donor goes on in it, and its missing slices begin empty', () => {
  const group = new TestGroup(2);
  for (let flow = 0; flow < 300; flow++) group.now({ flow, flags: udp });
  const donor = group.replica('a');
  const [slice, other] = [hiOf(1) >>> 24, hiOf(2) >>> 24];
  const kept = donor.digest(other);
  donor.dropSlice(slice);
  const log = new TestLog();
  const entry = log.begin(a, 'e2', 'e1', b);
  assert.equal(donor.beginEpoch(log.join(b)), false);
  assert.equal(newReplica(b).beginEpoch(entry), false, 'another one is named');
  assert.equal(donor.beginEpoch(entry), true);
  assert.deepEqual([donor.position, donor.missingSlices, donor.firstMissingSlice], [1, 0, -1]);
  assert.equal(donor.digest(other), kept);
  assert.equal(donor.view.members.length, 2);
  log.nowMs += 1;
  const effects = donor.apply(log.append('command', new Uint8Array(0)));
  assert.equal(effects.outcome, 'bad');
});

test('replica - a superseded one may become the donor of the next epoch', () => {
  const group = new TestGroup(2);
  for (let flow = 0; flow < 20; flow++) group.now({ flow, flags: udp });
  const replica = group.replica('b');
  group.log.nowMs += 2_000;
  replica.apply(group.log.begin(a, 'e2', 'e1', a));
  assert.equal(replica.isSuperseded, true);
  const entry = group.log.begin(b, 'e3', 'e2', b);
  assert.equal(replica.beginEpoch(entry), true);
  assert.deepEqual([replica.isSuperseded, replica.epoch?.id, replica.position], [false, 'e3', entry.position]);
  assert.equal(replica.view.members.length, 2);
});

test('replica - an empty epoch empties it, also where its own life is named but it has no state', () => {
  const group = new TestGroup(2);
  for (let flow = 0; flow < 20; flow++) group.now({ flow, flags: udp });
  const replica = group.replica('a');
  for (let turn = 0; turn < 10; turn++) {
    group.log.nowMs += 1_000;
    group.log.command(lifeOf('c'), { kind: 'ask' });
  }
  group.log.begin(undefined, 'e2', 'e1', lifeOf('c'));
  group.catchUp();
  assert.deepEqual([replica.epoch?.id, replica.view.members.length, replica.table.size], ['e2', 0, 0]);
  assert.deepEqual([replica.timeMs, replica.selfNumber, replica.isSuperseded], [0, noServer, false]);
  const log = new TestLog();
  const fresh = newReplica(a);
  fresh.apply(log.begin(a));
  assert.deepEqual([fresh.epoch?.id, fresh.view.members.length], ['e1', 0]);
});

test('replica - a slice is summed up every 40 ms of the line, before the entry, at the same entries everywhere', () => {
  const group = new TestGroup(2);
  for (let flow = 0; flow < 400; flow++) group.now({ flow, flags: udp });
  const [one, two] = [group.replica('a'), group.replica('b')];
  const due = (entry: Parameters<typeof one.apply>[0]) => {
    const before = slices.map((slice) => one.digest(slice));
    const digests = [...one.apply(entry).digests];
    assert.deepEqual(two.apply(entry).digests, digests);
    for (const { slice, position, digest } of digests) {
      assert.equal(position, entry.position);
      assert.equal(digest, before[slice]);
    }
    return digests.map(({ slice }) => slice);
  };
  assert.equal(one.timeMs, 400);
  group.log.nowMs += 39;
  assert.deepEqual(due(group.log.frame([{ flow: 1, flags: udp }])), []);
  group.log.nowMs += 1;
  assert.deepEqual(due(group.log.frame([{ flow: 1, flags: udp }])), [11]);
  group.log.nowMs += 100;
  assert.deepEqual(due(group.log.command(a, { kind: 'tick' })), [12, 13]);
  group.log.nowMs += 1_000;
  assert.equal(due(group.log.command(a, { kind: 'tick' })).length, 25);
  one.dropSlice(39);
  group.log.nowMs += 20;
  const entry = group.log.frame([{ flow: 1, flags: udp }]);
  assert.deepEqual([one.apply(entry).digests.length, two.apply(entry).digests.length], [0, 1]);
});

test('replica - who is no member applies everything and accepts nothing', () => {
  const group = new TestGroup(2);
  const stranger = newReplica(lifeOf('x'));
  for (let flow = 0; flow < 20; flow++) {
    group.now({ flow, flags: syn });
    group.now({ flow, flags: tcp });
  }
  for (const entry of group.log.entries) {
    const effects = stranger.apply(entry);
    if (effects.outcome === 'frame') assert.deepEqual(decidedBy(effects)[0].verdict, 'ignoreRemoved');
    assert.deepEqual(itemsOf(effects), []);
  }
  assert.equal(fingerprintOf(stranger, slices), fingerprintOf(group.replica('a'), slices));
});

test("replica - flows of a slice that is missing are nobody's here, and the rest goes on", () => {
  const group = new TestGroup(2);
  const slice = hiOf(3) >>> 24;
  group.replica('a').dropSlice(slice);
  assert.equal(group.now({ flow: 3, flags: udp }).a, 'ignoreAbsent');
  assert.notEqual(group.now({ flow: 4, flags: udp }).a, 'ignoreAbsent');
  const { a: one, b: two } = { a: group.replica('a'), b: group.replica('b') };
  assert.equal(one.globalFingerprint(), two.globalFingerprint());
  assert.deepEqual([one.missingSlices, one.isMissing(slice), one.firstMissingSlice], [1, true, slice]);
});

test("replica - server numbers come round after long, and no flow of the former life is taken for the new one's", () => {
  const log = new TestLog();
  const [first, replica] = [newReplica(lifeOf('s0')), newReplica(lifeOf('late'))];
  log.begin();
  const apply = () => {
    for (const each of [first, replica])
      while (each.position < log.entries.length) each.apply(log.entries[each.position]);
  };
  for (const server of ['s0', 'keeper']) {
    log.join(lifeOf(server));
    log.command(lifeOf(server), { kind: 'activate' });
  }
  for (let flow = 0; flow < 50; flow++) log.frame([{ flow, flags: udp }]);
  log.command(lifeOf('s0'), { kind: 'leave', life: lifeOf('s0') });
  for (let number = 2; number < serverNumbers; number++) {
    log.join(lifeOf(`s${number}`));
    log.command(lifeOf(`s${number}`), { kind: 'leave', life: lifeOf(`s${number}`) });
  }
  apply();
  assert.ok(replica.table.countByOwner(0) > 0);
  log.join(lifeOf('late'));
  apply();
  assert.equal(replica.selfNumber, noServer, 'no number is free yet');
  for (let passed = 0; passed <= longestIdleMs(defaultIdle) + 1_000; passed += 1_000) {
    log.nowMs += 1_000;
    log.command(lifeOf('keeper'), { kind: 'tick' });
  }
  log.join(lifeOf('late'));
  apply();
  assert.deepEqual([replica.selfNumber, first.selfNumber], [0, noServer]);
  assert.equal(replica.ownFlows, 0);
  assert.equal(fingerprintOf(first, slices), fingerprintOf(replica, slices));
});

test('replica - time that packets carry counts where the rules say so, also where it is corrupt', () => {
  const group = new TestGroup(2, { time: 'capture' });
  const at = (timestampMs: number) => {
    group.log.nowMs += 3_600_000;
    return group.owner({ flow: 1, flags: udp }, { timestampMs });
  };
  const first = at(1e12);
  group.activate('c');
  group.activate('d');
  // Hours by the log, half a minute by the capture; then a time that is none, and back.
  for (const timestampMs of [1e12 + 30_000, 1e12 + 29_000, -1e300, 1e12, 1e12 + 20_000]) at(timestampMs);
  assert.equal(at(1e12 + 20_000), first);
  assert.equal(group.replica('a').timeMs, 30_000 + maxCaptureStepMs + 20_000);
});
