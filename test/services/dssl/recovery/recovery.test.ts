// One replica's recovery in the test's hand: what it reads, asks and gives, and which state it keeps while it looks for another.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Donor } from '../../../../services/dssl/recovery/donor.ts';
import type { Get, Part, PeerMessage } from '../../../../services/dssl/recovery/messages.ts';
import { Recovery } from '../../../../services/dssl/recovery/recovery.ts';
import { sliceCount } from '../../../../services/dssl/replica/flows/directory.ts';
import { Replica } from '../../../../services/dssl/replica/replica.ts';
import { type Command, decodeCommand } from '../../../../shared/log/records/command.ts';
import type { GroupRules } from '../../../../shared/membership/view.ts';
import { fingerprintOf, hiOf, lifeOf, syn, TestGroup } from '../replica/support.ts';

const all = Array.from({ length: 256 }, (_, slice) => slice);

/** The recovery of server b, beside a group of a and b that is followed as it should be. */
class Subject {
  readonly group: TestGroup;
  readonly recovery: Recovery;
  nowMs = 0;
  /** Calls of ports in their order, in short. */
  calls: string[] = [];
  readonly flows: string[] = [];
  gets: Get[] = [];
  nonce = 0;
  readonly appended: Command[] = [];
  lost: string | undefined;
  isCurrent = true;
  readonly donor: Donor;
  parts: Part[] = [];

  constructor(rules: Partial<GroupRules> = {}) {
    this.group = new TestGroup(2, rules);
    this.group.replicas.delete('b');
    for (let flow = 0; flow < 100; flow++) this.group.now({ flow, flags: syn });
    const call = (text: string) => void this.calls.push(text);
    this.recovery = new Recovery(lifeOf('b'), this.group.log.birth, {
      read: (after) => call(`read ${after}`),
      stopReading: () => call('stop'),
      scout: () => undefined,
      stopScouting: () => undefined,
      isScoutCurrent: () => this.isCurrent,
      lookAtLog: () => call('look'),
      makeLog: () => call('make'),
      toPeer: (_, message) => this.#toPeer(message),
      toGroup: ({ nonce }) => (this.nonce = nonce),
      append: (command) => this.appended.push(command),
      onFlow: (kind, _, lo) => this.flows.push(`${kind} ${lo}`),
      onLost: (reason) => (this.lost = reason),
      tell: () => undefined,
    });
    this.donor = new Donor(lifeOf('a'), (_, part) => this.parts.push({ ...part, bytes: part.bytes.slice() }));
  }

  get replica(): Replica {
    assert.ok(this.recovery.replica !== undefined);
    return this.recovery.replica;
  }

  /** It follows its group's log, whole. */
  follow(): this {
    this.recovery.start(undefined, this.nowMs);
    this.pass(20);
    this.offer();
    this.answer();
    this.catchUp();
    assert.ok(this.recovery.isWhole);
    this.calls = [];
    return this;
  }

  offer(): void {
    const { epoch, position } = this.group.replica('a');
    const { id = '', number = 0 } = epoch ?? {};
    this.hear({ kind: 'offer', ...lifeOf('a'), nonce: this.nonce, rank: 0, epochNumber: number, epoch: id, position });
  }

  hear(message: PeerMessage): void {
    this.recovery.onPeer(message, 'active', this.nowMs);
  }

  /** The donor answers what was asked, and that comes; `parts` of it at most. */
  answer(parts = 1_000): void {
    for (let count = 0; count < parts && this.gets.length + this.parts.length > 0; count++) {
      for (const get of this.gets.splice(0)) this.donor.onGet(get, this.group.replica('a'), this.nowMs);
      const part = this.parts.shift();
      if (part !== undefined) this.hear(part);
    }
  }

  catchUp(): void {
    const { entries } = this.group.log;
    while (this.replica.position < entries.length && !this.replica.isSuperseded) {
      assert.ok(this.recovery.onEntry(entries[this.replica.position], this.nowMs) !== undefined);
    }
  }

  pass(ms: number): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += 20;
      this.recovery.tick('active', this.nowMs);
    }
  }

  /** Digests of a slice: what this replica has is alone. */
  differ(slice: number): void {
    const { book } = this.recovery;
    const { position, epoch } = this.replica;
    book.onOwn({ slice, position, digest: 1 }, epoch?.id ?? '', this.nowMs);
    book.onOthers('a', epoch?.id ?? '', [{ slice, position, digest: 2 }], this.nowMs);
    this.pass(300);
  }

  /** What it holds is what the group has. */
  assertAlike(): void {
    assert.equal(fingerprintOf(this.replica, all), fingerprintOf(this.group.replica('a'), all));
  }

  #toPeer(message: PeerMessage): void {
    this.calls.push(message.kind);
    if (message.kind === 'get') this.gets.push(message);
  }
}

test('recovery - it asks, fetches from whom has offered, reads on behind that, and can give then', () => {
  const subject = new Subject();
  const { recovery } = subject;
  recovery.start(undefined, 0);
  assert.equal(recovery.state, 'empty');
  subject.pass(20);
  subject.offer();
  assert.deepEqual([recovery.state, recovery.isWhole], ['fetching', false]);
  const { position } = subject.group.replica('a');
  subject.answer(1);
  assert.equal(subject.calls.includes(`read ${position}`), false, 'the reader waits for all slices');
  subject.hear({ kind: 'seek', ...lifeOf('c'), nonce: 5 });
  assert.equal(subject.calls.includes('offer'), false);
  subject.answer();
  assert.deepEqual([recovery.state, recovery.isWhole, subject.calls.at(-1)], ['following', true, `read ${position}`]);
  subject.hear({ kind: 'seek', ...lifeOf('c'), nonce: 5 });
  assert.equal(subject.calls.at(-1), 'offer');
  subject.assertAlike();
});

test('recovery - broken: the former state is kept until there is a whole new one, and comes back when there is not', () => {
  const subject = new Subject().follow();
  const { recovery } = subject;
  const former = subject.replica;
  recovery.onBroken('trimmed', subject.nowMs);
  assert.deepEqual([recovery.state, recovery.counters.broken.trimmed, subject.calls.at(-1)], ['broken', 1, 'stop']);
  for (let flow = 200; flow < 230; flow++) subject.group.now({ flow, flags: syn });
  subject.pass(20);
  subject.offer();
  subject.answer(1);
  assert.notEqual(subject.replica, former, 'the view of the new one is known');
  assert.equal(recovery.report(0, 0).position, former.position, 'but this is what it has');
  subject.gets = [];
  subject.pass(3_000);
  assert.deepEqual([recovery.state, recovery.replica, recovery.counters.failedFetches], ['broken', former, 1]);
  subject.pass(2_500);
  subject.offer();
  subject.answer();
  subject.catchUp();
  assert.equal(recovery.isWhole, true);
  assert.ok(recovery.counters.skippedEntries >= 30);
  subject.assertAlike();
});

test('recovery - state of a peer that had come less far, and behind which the log does not go on, is given up for its own again', () => {
  for (const goesOn of [false, true]) {
    const subject = new Subject().follow();
    const { recovery, group } = subject;
    const peer = group.replica('a');
    const behind = Replica.restore({ group: group.log.birth.group, self: lifeOf('a') }, peer.snapshotGlobal());
    assert.ok(behind !== undefined);
    for (let slice = 0; slice < sliceCount; slice++) behind.restoreSlice(peer.snapshotSlice(slice));
    for (let flow = 200; flow < 230; flow++) group.now({ flow, flags: syn });
    subject.catchUp();
    const held = subject.replica;
    group.replicas.set('a', behind);
    recovery.onBroken('other', subject.nowMs);
    subject.pass(20);
    subject.offer();
    subject.flows.length = 0;
    subject.answer();
    assert.deepEqual([recovery.isWhole, subject.replica.position], [true, behind.position]);
    if (goesOn) subject.recovery.onEntry(group.log.entries[behind.position], subject.nowMs);
    recovery.onBroken('trimmed', subject.nowMs);
    assert.equal(subject.replica === held, !goesOn);
    const told = (kind: string) => subject.flows.filter((flow) => flow.startsWith(kind)).length;
    assert.ok(told('moved') > 3);
    if (!goesOn) assert.equal(told('started'), told('moved'), 'what it was told to be others, is its own again');
    assert.equal(recovery.state, 'broken');
  }
});

test('recovery - a peer whose state is no better, and behind which the log does not go on either, is not asked again at once', () => {
  const subject = new Subject().follow();
  const { recovery } = subject;
  subject.group.now({ flow: 200, flags: syn });
  subject.catchUp();
  const breakDown = () => {
    recovery.onBroken('shorter', subject.nowMs);
    subject.pass(20);
    subject.offer();
  };
  breakDown();
  assert.equal(recovery.state, 'fetching');
  subject.answer();
  assert.equal(recovery.state, 'following');
  breakDown();
  assert.equal(recovery.state, 'broken');
  subject.pass(2_100);
  subject.offer();
  assert.equal(recovery.state, 'fetching');
});

test('recovery - its server is told which flows are its own after state was replaced, and which no longer', () => {
  const subject = new Subject().follow();
  subject.flows.length = 0;
  const own = subject.replica.ownFlows;
  subject.recovery.onBroken('trimmed', subject.nowMs);
  for (let flow = 200; flow < 230; flow++) subject.group.now({ flow, flags: syn });
  subject.pass(20);
  subject.offer();
  subject.answer();
  subject.catchUp();
  assert.equal(subject.flows.length, subject.replica.ownFlows - own);
  assert.ok(subject.flows.length > 3 && subject.flows.every((flow) => /^started 2\d\d$/.test(flow)));
});

test('recovery - its own epoch comes into force while it fetches from another line: its former state begins it, all of it', () => {
  const subject = new Subject().follow();
  const { recovery } = subject;
  const flows = subject.replica.table.size;
  recovery.onBroken('other', subject.nowMs);
  subject.pass(420);
  recovery.onBounds({ identity: 'new', first: 1, last: 0 }, subject.nowMs);
  subject.pass(4_000);
  const [epoch] = subject.appended;
  assert.ok(epoch?.kind === 'epoch' && epoch.donor?.server === 'b');
  // A peer that has not noticed yet offers the old line.
  subject.offer();
  subject.answer(1);
  assert.equal(recovery.state, 'fetching');
  const entry = { position: 1, timeMs: subject.group.log.nowMs + 9_000, timeNs: 0, kind: 'command' as const };
  const data = subject.group.log.command(lifeOf('b'), epoch).data;
  assert.equal(decodeCommand(data)?.kind, 'epoch');
  recovery.onScouted({ ...entry, data }, subject.nowMs);
  assert.deepEqual([recovery.isWhole, recovery.counters.epochsGiven], [true, 1]);
  assert.deepEqual([subject.replica.table.size, subject.replica.missingSlices], [flows, 0]);
  assert.equal(subject.calls.at(-1), 'read 1');
});

test('recovery - a slice that differs is restored from a peer, while the reader stands still', () => {
  const subject = new Subject().follow();
  const slice = hiOf(7) >>> 24;
  const table = subject.replica.table;
  table.remove(table.find(hiOf(7), 7, 1));
  subject.differ(slice);
  assert.deepEqual(subject.calls, ['stop', 'get']);
  assert.deepEqual([subject.gets[0].first, subject.gets[0].last, subject.recovery.isWhole], [slice, slice, false]);
  subject.answer();
  assert.deepEqual([subject.calls.at(-1), subject.recovery.isWhole], [`read ${subject.replica.position}`, true]);
  subject.assertAlike();
  assert.equal(subject.recovery.counters.repairs, 1);
});

test('recovery - nobody gives the slice: it goes on with what it has, and may try again', () => {
  const subject = new Subject().follow();
  const { position } = subject.replica;
  subject.differ(9);
  subject.gets = [];
  subject.pass(3_500);
  assert.deepEqual([subject.calls.at(-1), subject.recovery.isWhole], [`read ${position}`, true]);
  assert.deepEqual([subject.replica.missingSlices, subject.lost], [0, undefined]);
  subject.assertAlike();
  subject.pass(5_000);
  subject.differ(9);
  subject.answer();
  assert.deepEqual([subject.recovery.isWhole, subject.lost], [true, undefined]);
  subject.pass(5_000);
  subject.differ(9);
  assert.match(subject.lost ?? '', /twice in a row/);
});

test('recovery - by Fig. 6 nobody else has its flows: a life that loses its place in the log cannot go on', () => {
  const trimmed = new Subject({ typeOneMethod: 'fig-6' }).follow();
  trimmed.recovery.onBroken('trimmed', trimmed.nowMs);
  assert.match(trimmed.lost ?? '', /fell out of the log/);
  const another = new Subject({ typeOneMethod: 'fig-6' }).follow();
  another.group.now({ flow: 200, flags: syn });
  another.catchUp();
  another.recovery.onBroken('other', another.nowMs);
  assert.equal(another.lost, undefined, 'it may be its state that the new line begins with');
  another.pass(20);
  another.offer();
  assert.match(another.lost ?? '', /nobody else has its flows/);
});

test('recovery - another epoch with the state of another replica: that is fetched', () => {
  const subject = new Subject().follow();
  const { recovery } = subject;
  subject.group.log.nowMs += 3_000;
  subject.group.log.begin(lifeOf('a'), 'e2', 'e1', lifeOf('a'));
  subject.catchUp();
  assert.deepEqual([recovery.state, recovery.counters.epochsTaken, subject.lost], ['broken', 1, undefined]);
  subject.group.catchUp();
  subject.pass(20);
  subject.offer();
  subject.answer();
  subject.catchUp();
  assert.deepEqual([recovery.isWhole, subject.replica.epoch?.id], [true, 'e2']);
  subject.assertAlike();
});

test('recovery - others follow a later epoch, whose entry was trimmed before it was read here: their state is fetched', () => {
  const subject = new Subject().follow();
  const { recovery } = subject;
  const { position } = subject.replica;
  const says = (server: string, epochNumber: number, at: number) => {
    const line = {
      state: 'following',
      epochNumber,
      epoch: `e${epochNumber}`,
      position: at,
      lag: 0,
      lagMs: 0,
      handled: 0,
    } as const;
    const message = { ...lifeOf(server), beat: 1, state: 'active', view: 1, load: undefined, digests: [] } as const;
    recovery.onGossip({ ...message, kind: 'state', line }, subject.nowMs);
  };
  says('a', 1, position);
  says('a', 2, position + 1);
  assert.equal(recovery.isWhole, true, 'the entry may come yet');
  says('a', 2, position);
  assert.deepEqual([recovery.state, subject.calls.at(-1)], ['broken', 'stop']);
  subject.pass(20);
  subject.offer();
  assert.equal(recovery.state, 'broken', 'an offer of the former epoch is of no use');
  const offer = { kind: 'offer', ...lifeOf('a'), nonce: subject.nonce, rank: 0, epochNumber: 2 } as const;
  subject.hear({ ...offer, epoch: 'e2', position });
  assert.equal(recovery.state, 'fetching');
});

test('recovery - another epoch that begins empty: whoever reads it goes along, and is no member any more', () => {
  const subject = new Subject().follow();
  const { recovery, group } = subject;
  for (let times = 0; times < 10; times++) {
    group.log.nowMs += 1_000;
    group.log.command(lifeOf('x'), { kind: 'ask' });
  }
  group.log.begin(undefined, 'e2', 'e1', lifeOf('x'));
  subject.catchUp();
  assert.deepEqual([recovery.isWhole, subject.replica.epoch?.id, subject.replica.view.members], [true, 'e2', []]);
  assert.equal(subject.replica.ownFlows, 0);
});
