// Looking for state: whose offer is taken, and when a line begins although nobody offers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Offer, PeerMessage } from '../../../../services/dssl/recovery/messages.ts';
import { Seek } from '../../../../services/dssl/recovery/seek.ts';
import { type Command, encodeCommand } from '../../../../shared/log/records/command.ts';
import type { LineReport, LineState, LiveState } from '../../../../shared/membership/gossip.ts';
import type { Mirror } from '../../../../shared/membership/mirror.ts';
import { defaultRules, emptyView, type Member } from '../../../../shared/membership/view.ts';

const self = { server: 'me', incarnation: 9 };
const other = { server: 'a', incarnation: 1 };
const birth = { group: 'g1', placement: 'rendezvous', seed: 1, rules: defaultRules } as const;
const stampMs = 1_700_000_000_000;
const member: Member = { ...other, number: 0, state: 'active', weight: 1, base: 1, flows: 0 };

const mirrorOf = (members: readonly Member[], id = 'e1', position = 10): Mirror => ({
  epoch: { number: 4, id },
  position,
  view: { ...emptyView(birth), number: 3, members },
});

/** Somebody who looks for state. The log is what the test appends, and what the seeker appends comes back at once. */
class Seeker {
  nowMs = 1_000;
  /** Whether there is a log, and what of it has been trimmed. */
  exists = true;
  first = 1;
  isCurrent = true;
  made = 0;
  looks = 0;
  position = 0;
  scoutsFrom: number | undefined;
  held: LineReport | undefined;
  state: LiveState | undefined = 'active';
  /** What came of it: own epochs in force, and offers taken. */
  readonly begun: string[] = [];
  readonly taken: Offer[] = [];
  readonly appended: Command[] = [];
  readonly sent: PeerMessage[] = [];
  readonly seek: Seek;
  readonly #log: { readonly position: number; readonly command: Command; readonly atMs: number }[] = [];

  constructor(mirror?: Mirror) {
    this.seek = new Seek(self, birth, {
      scout: (after) => {
        this.scoutsFrom = after;
        for (const each of this.#log.filter(({ position }) => position > after)) this.#hand(each);
      },
      stopScouting: () => {
        this.scoutsFrom = undefined;
      },
      isScoutCurrent: () => this.isCurrent,
      lookAtLog: () => {
        this.looks++;
        const bounds = { identity: 'x', first: this.first, last: this.position };
        this.seek.onBounds(this.exists ? bounds : undefined, this.nowMs);
      },
      makeLog: () => {
        this.made++;
        this.exists = true;
      },
      toGroup: (message) => this.sent.push(message),
      append: (command) => {
        this.appended.push(command);
        this.append(command);
      },
    });
    this.seek.mirror = mirror;
    this.seek.begin(this.nowMs);
  }

  append(command: Command): void {
    const each = { position: ++this.position, command, atMs: this.nowMs };
    this.#log.push(each);
    if (this.scoutsFrom !== undefined) this.#hand(each);
  }

  /** The reader of the log stands still; whether it is current is not known from then on. */
  delay(): void {
    this.scoutsFrom = undefined;
  }

  /** One entry comes at last. */
  bring(position: number): void {
    for (const each of this.#log) if (each.position === position) this.#hand(each);
  }

  pass(ms: number, eachTick: () => void = () => undefined): this {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += 20;
      eachTick();
      const offer = this.seek.tick(this.state, this.held, this.nowMs);
      if (offer !== undefined) this.taken.push(offer);
    }
    return this;
  }

  /** Gossip of a server about its line. */
  hear(server: string, state: LineState, epoch = 'e1', position = 50, epochNumber = 4): void {
    const line = { state, epochNumber, epoch, position, lag: 0, lagMs: 0, handled: 0 };
    const nothing = { view: 1, load: undefined, digests: [] };
    this.seek.onGossip(
      { kind: 'state', server, incarnation: 1, beat: 1, state: 'active', line, ...nothing },
      this.nowMs,
    );
  }

  /** An offer of this server, unless said otherwise of an active one in the epoch e1, as an answer to what was asked last. */
  offer(server: string, parts: Partial<Offer> = {}): void {
    const nonce = this.sent.at(-1)?.nonce ?? 0;
    const usual = { rank: 0, epochNumber: 4, epoch: 'e1', position: 50 };
    const offer = this.seek.onOffer({ kind: 'offer', server, incarnation: 1, nonce, ...usual, ...parts }, this.nowMs);
    if (offer !== undefined) this.taken.push(offer);
  }

  kinds(): string {
    return this.appended.map(({ kind }) => kind).join(' ');
  }

  #hand({ position, command, atMs }: { position: number; command: Command; atMs: number }): void {
    const data = encodeCommand(command);
    const begins = this.seek.onScouted(
      { position, timeMs: stampMs + atMs, timeNs: 0, kind: 'command', data },
      this.nowMs,
    );
    if (begins === undefined) return;
    this.begun.push(begins);
    this.seek.end();
  }
}

const tick = (epoch: string, author = other): Command => ({ kind: 'tick', author, epoch });

test('seek - the group is asked again and again, and an active member is taken at its first word', () => {
  const seeker = new Seeker(mirrorOf([member])).pass(380);
  assert.deepEqual(seeker.sent.length, 2);
  assert.equal(seeker.looks, 0, 'as long as somebody may answer, nobody looks at the log');
  seeker.offer('a');
  assert.deepEqual(
    seeker.taken.map(({ server }) => server),
    ['a'],
  );
});

test('seek - of others the best one is taken when all have had time to offer: by rank, then by how far it has come', () => {
  const seeker = new Seeker(mirrorOf([member])).pass(40);
  seeker.offer('last', { rank: 3, position: 999 });
  seeker.offer('joiner', { rank: 2, position: 999 });
  seeker.offer('drains', { rank: 1, position: 50 });
  seeker.offer('further', { rank: 1, position: 60 });
  assert.equal(seeker.taken.length, 0);
  seeker.pass(160);
  assert.equal(seeker.taken[0]?.server, 'further');
});

test('seek - offers to an older question, of another epoch, or of a peer that failed just now are not taken', () => {
  const seeker = new Seeker(mirrorOf([member]));
  seeker.append(tick('e2'));
  seeker.pass(500);
  assert.notEqual(seeker.scoutsFrom, undefined);
  seeker.offer('a', { nonce: 77, epoch: 'e2' });
  seeker.offer('a', { epoch: 'e1' });
  seeker.seek.avoid('b', seeker.nowMs);
  seeker.offer('b', { epoch: 'e2' });
  seeker.pass(300);
  assert.equal(seeker.taken.length, 0);
  seeker.pass(2_000);
  seeker.offer('b', { epoch: 'e2' });
  assert.deepEqual(
    seeker.taken.map(({ server }) => server),
    ['b'],
  );
});

test('seek - a log that is missing is made, and a new group begins empty at once', () => {
  const seeker = new Seeker();
  seeker.exists = false;
  seeker.pass(500);
  assert.equal(seeker.made, 1);
  assert.deepEqual([seeker.kinds(), seeker.begun], ['epoch', ['empty']]);
  const [epoch] = seeker.appended;
  assert.ok(epoch.kind === 'epoch');
  assert.deepEqual([epoch.number, epoch.previous, epoch.donor, epoch.birth], [1, '', undefined, birth]);
});

test('seek - the last member has left: the next one begins at once, with the next number', () => {
  const seeker = new Seeker(mirrorOf([], 'e1', 10));
  for (let times = 0; times < 9; times++) seeker.append(tick('e1'));
  seeker.append({ kind: 'leave', author: other, epoch: 'e1', life: other });
  seeker.pass(200);
  assert.deepEqual([seeker.kinds(), seeker.begun], ['epoch', ['empty']]);
  const [epoch] = seeker.appended;
  assert.deepEqual(epoch.kind === 'epoch' && [epoch.number, epoch.previous, epoch.since], [5, 'e1', 10]);
});

test('seek - a store that says that nobody is there is not believed where the log says more, or less', () => {
  const joinedSince = new Seeker(mirrorOf([], 'e1', 1));
  joinedSince.append({ kind: 'leave', author: other, epoch: 'e1', life: other });
  joinedSince.append({ kind: 'join', author: other, epoch: 'e1', weight: 1, replaces: undefined, needAt: undefined });
  joinedSince.pass(3_000);
  assert.match(joinedSince.kinds(), /^ask( ask)+$/);
  const trimmed = new Seeker(mirrorOf([], 'e1', 10));
  trimmed.position = 40;
  trimmed.first = 41;
  trimmed.pass(3_000);
  assert.match(trimmed.kinds(), /^ask( ask)+$/, 'what was said behind the mirror is gone');
});

test('seek - a group that has died is asked ten times, a second apart, before it begins empty', () => {
  const seeker = new Seeker(mirrorOf([member]));
  seeker.append(tick('e1'));
  seeker.pass(9_300);
  assert.match(seeker.kinds(), /^ask( ask){8}$/);
  seeker.pass(1_500);
  assert.equal(seeker.kinds(), `${'ask '.repeat(10)}epoch`);
  assert.deepEqual(seeker.begun, ['empty']);
});

test('seek - somebody ticks when asked: the group is not dead, however long it takes to answer', () => {
  const seeker = new Seeker(mirrorOf([member]));
  seeker.append(tick('e1'));
  seeker.pass(60_000, () => {
    if (seeker.nowMs % 7_000 === 0) seeker.append(tick('e1'));
  });
  assert.equal(seeker.kinds().includes('epoch'), false);
});

test('seek - nothing is proposed while somebody follows the line, or has not noticed yet that it lost its log', () => {
  for (const state of ['following', 'fetching'] as const) {
    const seeker = new Seeker(mirrorOf([member]));
    seeker.append(tick('e1'));
    seeker.pass(20_000, () => seeker.hear('a', state));
    assert.equal(seeker.kinds(), '', state);
    seeker.pass(5_000);
    assert.match(seeker.kinds(), /^ask/, 'gossip that is old says nothing any more');
  }
  const onAnother = new Seeker(mirrorOf([member]));
  onAnother.append(tick('e1'));
  onAnother.pass(5_000, () => onAnother.hear('a', 'following', 'e0'));
  assert.match(onAnother.kinds(), /^ask/, 'whoever follows another line is no help');
});

test('seek - one that holds nothing leaves it to those that do, who wait for quiet and let the best begin', () => {
  const line: LineReport = { state: 'broken', epochNumber: 4, epoch: 'e1', position: 50, lag: 0, lagMs: 0, handled: 0 };
  const empty = new Seeker(mirrorOf([member]));
  empty.pass(20_000, () => empty.hear('a', 'broken'));
  assert.equal(empty.kinds(), '');

  const holder = new Seeker(mirrorOf([member]));
  holder.held = line;
  holder.first = 41;
  holder.position = 60;
  holder.pass(3_300);
  assert.equal(holder.kinds(), '', 'a log that was just found may have somebody who follows it');
  holder.pass(500);
  assert.deepEqual([holder.kinds(), holder.begun], ['epoch', ['with-state']]);
  const [epoch] = holder.appended;
  assert.deepEqual(epoch.kind === 'epoch' && [epoch.donor, epoch.number, epoch.previous], [self, 5, 'e1']);

  const fresh = new Seeker(mirrorOf([member]));
  fresh.held = line;
  fresh.pass(1_500);
  assert.equal(fresh.kinds(), '', 'nobody can follow a new log, but others may hold more');
  fresh.pass(500);
  assert.equal(fresh.kinds(), 'epoch');

  const worse = new Seeker(mirrorOf([member]));
  worse.held = line;
  worse.pass(20_000, () => worse.hear('a', 'broken', 'e1', 51));
  assert.equal(worse.kinds(), '', 'a has come further');
  worse.pass(3_000);
  assert.equal(worse.kinds(), 'epoch', 'a is silent: it died before it could begin');
});

test('seek - of two epochs that it proposed because its reader was slow one counts, also where the log has trimmed that one by then', () => {
  const holder = new Seeker(mirrorOf([member]));
  holder.held = { state: 'broken', epochNumber: 4, epoch: 'e0', position: 50, lag: 0, lagMs: 0, handled: 0 };
  holder.pass(1_000);
  holder.delay();
  holder.pass(4_000);
  assert.equal(holder.kinds(), 'epoch epoch');
  holder.bring(1);
  assert.deepEqual(holder.begun, ['with-state']);
  // It falls out of the log at once, and looks for state again.
  holder.first = 2;
  holder.seek.begin(holder.nowMs);
  holder.pass(1_000);
  assert.deepEqual(holder.begun, ['with-state'], 'what is first in the log now has never counted');
  holder.pass(6_000);
  assert.deepEqual(holder.begun, ['with-state', 'with-state']);
  assert.equal(holder.kinds(), 'epoch epoch epoch');
  const numbers = holder.appended.flatMap((command) => (command.kind === 'epoch' ? [command.number] : []));
  assert.deepEqual(numbers, [5, 5, 6]);
});

test('seek - a holder begins nothing in a log where somebody speaks', () => {
  const holder = new Seeker(mirrorOf([member]));
  holder.held = { state: 'broken', epochNumber: 4, epoch: 'e0', position: 50, lag: 0, lagMs: 0, handled: 0 };
  holder.pass(30_000, () => {
    if (holder.nowMs % 1_000 === 0) holder.append(tick('e1'));
  });
  assert.equal(holder.kinds(), '');
});

test('seek - the epoch of another one comes first: its donor is whom to wait for', () => {
  const holder = new Seeker(mirrorOf([member]));
  holder.held = { state: 'broken', epochNumber: 4, epoch: 'e0', position: 50, lag: 0, lagMs: 0, handled: 0 };
  holder.pass(1_000);
  holder.append({
    ...{ kind: 'epoch', author: other, epoch: '', id: 'e5', number: 5, previous: 'e0', since: 0, donor: other, birth },
  });
  holder.pass(2_000);
  holder.offer('b', { epoch: 'e0' });
  assert.deepEqual([holder.kinds(), holder.taken], ['', []]);
  holder.offer('a', { epoch: 'e5' });
  assert.deepEqual(
    holder.taken.map(({ server }) => server),
    ['a'],
  );
});

test('seek - a scout that has not read all of the log yet decides nothing', () => {
  const seeker = new Seeker();
  seeker.isCurrent = false;
  seeker.pass(5_000);
  assert.equal(seeker.kinds(), '');
  seeker.isCurrent = true;
  seeker.pass(100);
  assert.equal(seeker.kinds(), 'epoch');
});

test('seek - a scout whose log is gone looks at the log again', () => {
  const seeker = new Seeker(mirrorOf([member]));
  seeker.append(tick('e1'));
  seeker.pass(1_000);
  const before = seeker.looks;
  seeker.exists = false;
  seeker.seek.stopScouting();
  seeker.pass(1_000);
  assert.ok(seeker.looks > before);
  assert.equal(seeker.made, 1);
});
