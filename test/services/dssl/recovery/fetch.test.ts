// The taking side of a fetch, against a giving one that the test holds in its hand: what is asked, what is taken, what is given up.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Donor } from '../../../../services/dssl/recovery/donor.ts';
import { Fetch } from '../../../../services/dssl/recovery/fetch.ts';
import { type Get, globalPart, type Part } from '../../../../services/dssl/recovery/messages.ts';
import { Replica } from '../../../../services/dssl/replica/replica.ts';
import { fingerprintOf, firstEpoch, lifeOf, syn, TestGroup, tcp } from '../replica/support.ts';

const all = Array.from({ length: 256 }, (_, slice) => slice);

/** A group of one member that follows its log, and a joiner that fetches from it. */
class Pair {
  readonly group = new TestGroup(1);
  readonly donor: Donor;
  /** Requests and parts that are under way. */
  gets: Get[] = [];
  parts: Part[] = [];
  readonly restored: number[] = [];
  readonly fetch: Fetch;
  nowMs = 0;

  constructor(flows = 100, mend?: { readonly replica: Replica; readonly slices: readonly number[] }) {
    for (let flow = 0; flow < flows; flow++) this.group.now({ flow, flags: syn });
    this.donor = new Donor(lifeOf('a'), (_, part) => this.parts.push({ ...part, bytes: part.bytes.slice() }));
    const ports = {
      send: (_: string, get: Get) => this.gets.push(get),
      restore: (global: Uint8Array) => Replica.restore({ group: 'g1', self: lifeOf('me') }, global),
      onSlice: (_: Replica, slice: number) => this.restored.push(slice),
    };
    this.fetch = new Fetch(lifeOf('me'), lifeOf('a'), firstEpoch, 1_000, ports, mend);
    this.fetch.tick(this.nowMs);
  }

  get giving(): Replica {
    return this.group.replica('a');
  }

  /** What was asked gets to the donor. */
  ask(): void {
    for (const get of this.gets.splice(0)) this.donor.onGet(get, this.giving, this.nowMs);
  }

  /** The oldest part that is under way comes. */
  take(change: (part: Part) => Part = (part) => part): boolean {
    const part = this.parts.shift();
    return part !== undefined && this.fetch.onPart(change(part), this.nowMs);
  }

  /** Everything that is under way comes, until nothing is. */
  settle(): void {
    for (let turn = 0; turn < 2_000 && this.gets.length + this.parts.length > 0; turn++) {
      this.ask();
      this.take();
    }
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.fetch.tick(this.nowMs);
  }

  /** The joiner applies what is in the log. */
  catchUp(): void {
    const { replica } = this.fetch;
    if (replica === undefined) return;
    while (replica.position < this.group.log.entries.length) {
      replica.apply(this.group.log.entries[replica.position]);
      this.fetch.onApplied(replica);
    }
  }

  assertAlike(): void {
    this.catchUp();
    const { replica } = this.fetch;
    assert.ok(replica !== undefined);
    assert.equal(fingerprintOf(replica, all), fingerprintOf(this.giving, all));
  }
}

test('fetch - the global part, then all slices, one request at a time', () => {
  const pair = new Pair();
  assert.deepEqual(
    pair.gets.map(({ first, last }) => [first, last]),
    [[globalPart, globalPart]],
  );
  pair.ask();
  assert.equal(pair.take(), false, 'the reader has to wait');
  assert.ok(pair.fetch.replica !== undefined, 'although the view is known');
  assert.deepEqual(
    pair.gets.map(({ first, last }) => [first, last]),
    [[0, 255]],
  );
  assert.equal(pair.gets[0].position, pair.giving.position);
  pair.ask();
  assert.equal(pair.take(), true, 'now the reader may go on');
  assert.deepEqual([pair.fetch.state, pair.restored], ['done', all]);
  pair.assertAlike();
});

test('fetch - a table that fills many parts comes part by part', () => {
  const pair = new Pair(20_000);
  let requests = 0;
  for (; pair.fetch.state !== 'done'; requests++) {
    assert.ok(requests < 100);
    assert.equal(pair.gets.length, 1);
    pair.ask();
    while (pair.parts.length > 0) pair.take();
  }
  assert.ok(requests >= 3, `${requests} requests`);
  assert.deepEqual(pair.restored, all);
  pair.assertAlike();
});

test('fetch - the donor goes on: slices come from positions ahead, and rows up to there are passed over', () => {
  const pair = new Pair();
  pair.ask();
  pair.take();
  for (let flow = 0; flow < 200; flow++) pair.group.now({ flow, flags: flow < 100 ? tcp : syn });
  pair.settle();
  assert.equal(pair.fetch.state, 'slices', 'it is whole when it has come to where the slices are');
  pair.catchUp();
  assert.equal(pair.fetch.state, 'done');
  pair.assertAlike();
  for (let flow = 0; flow < 200; flow++) pair.group.now({ flow, flags: tcp });
  pair.assertAlike();
});

test('fetch - a chunk that is lost costs the part, which is asked for again', () => {
  const split = (part: Part): Part[] => {
    const half = Math.floor(part.bytes.length / 2);
    const halves = [part.bytes.subarray(0, half), part.bytes.subarray(half)];
    return halves.map((bytes, chunk) => ({ ...part, chunk, chunks: 2, bytes }));
  };
  for (const lost of [0, 1]) {
    const pair = new Pair();
    pair.ask();
    pair.parts = split(pair.parts[0]).filter(({ chunk }) => chunk !== lost);
    assert.equal(pair.take(), false);
    pair.pass(600);
    assert.equal(pair.gets.length, 0, 'it may be on its way');
    pair.pass(200);
    pair.ask();
    pair.parts = split(pair.parts[0]);
    pair.take();
    assert.equal(pair.fetch.state, 'global');
    pair.take();
    assert.equal(pair.fetch.state, 'slices');
    pair.settle();
    assert.equal(pair.fetch.state, 'done');
    pair.assertAlike();
  }
});

test('fetch - of two answers that are under way the chunks do not mix', () => {
  const pair = new Pair();
  pair.ask();
  const [part] = pair.parts;
  const half = Math.floor(part.bytes.length / 2);
  const first = { ...part, chunk: 0, chunks: 2, bytes: part.bytes.subarray(0, half) };
  const second = { ...part, chunk: 1, chunks: 2, bytes: part.bytes.subarray(half) };
  // The second chunk of the first answer is lost.
  pair.parts = [first, first, second];
  for (let times = 0; times < 3; times++) pair.take();
  assert.equal(pair.fetch.state, 'slices');
});

test('fetch - a peer that says nothing is asked four times and then given up', () => {
  const pair = new Pair();
  for (let times = 1; times < 4; times++) {
    pair.pass(700);
    assert.equal(pair.fetch.state, 'global');
  }
  assert.equal(pair.gets.length, 4);
  pair.pass(600);
  assert.equal(pair.fetch.state, 'global');
  pair.pass(100);
  assert.equal(pair.fetch.state, 'failed');
  pair.pass(5_000);
  assert.equal(pair.gets.length, 4, 'it asks no more');
});

test('fetch - a peer that answers late is not given up: each part has tries of its own', () => {
  const pair = new Pair(20_000);
  for (let parts = 0; parts < 2; parts++) {
    for (let times = 0; times < 3; times++) pair.pass(700);
    pair.gets.splice(1);
    pair.ask();
    pair.take();
    assert.equal(pair.fetch.state, 'slices');
  }
});

test('fetch - parts of another request, another peer or another life of it are passed over', () => {
  const pair = new Pair();
  pair.ask();
  const [part] = pair.parts;
  for (const other of [{ nonce: part.nonce - 1 }, { server: 'b' }, { incarnation: 2 }]) {
    assert.equal(pair.fetch.onPart({ ...part, ...other }, 0), false);
    assert.equal(pair.fetch.state, 'global');
  }
  pair.take();
  assert.equal(pair.fetch.state, 'slices');
  pair.fetch.onPart(part, 0);
  assert.equal(pair.fetch.state, 'slices', 'one that comes twice');
  pair.settle();
  assert.equal(pair.fetch.state, 'done');
});

test('fetch - bytes that are no state make it fail, and nothing throws', () => {
  const flipped = (part: Part): Part => {
    const bytes = part.bytes.slice();
    bytes[bytes.length >> 1] ^= 0x40;
    return { ...part, bytes };
  };
  const atGlobal = new Pair();
  atGlobal.ask();
  atGlobal.take(flipped);
  assert.equal(atGlobal.fetch.state, 'failed');
  const atSlices = new Pair();
  atSlices.ask();
  atSlices.take();
  atSlices.ask();
  atSlices.take(flipped);
  assert.equal(atSlices.fetch.state, 'failed');
});

test('fetch - a global part of another epoch, or of another position than it says, is not taken', () => {
  const changed: ((part: Part) => Part)[] = [
    (part) => ({ ...part, position: part.position + 1 }),
    (part) => ({ ...part, bytes: otherLine().snapshotGlobal() }),
  ];
  for (const change of changed) {
    const pair = new Pair();
    pair.ask();
    pair.take(change);
    assert.equal(pair.fetch.state, 'failed');
  }
});

test('fetch - slices of another line of the log are found out: at once, or when the replica comes to their position', () => {
  const now = new Pair();
  now.ask();
  now.take();
  now.ask();
  now.take((part) => ({ ...part, mark: part.mark ^ 1 }));
  assert.equal(now.fetch.state, 'failed');

  const later = new Pair();
  later.ask();
  later.take();
  later.group.now({ flow: 1_000, flags: syn });
  later.ask();
  later.take((part) => ({ ...part, mark: part.mark ^ 1 }));
  assert.equal(later.fetch.state, 'slices', 'nobody knows what is there yet');
  later.catchUp();
  assert.equal(later.fetch.state, 'failed');
});

test('fetch - one slice alone, for a replica that goes on', () => {
  const whole = new Pair();
  whole.settle();
  const { replica } = whole.fetch;
  assert.ok(replica !== undefined);
  const slice = 7;
  replica.dropSlice(slice);
  const pair = new Pair(100, { replica, slices: [slice] });
  assert.deepEqual([pair.fetch.state, pair.gets[0].first, pair.gets[0].last], ['slices', slice, slice]);
  pair.settle();
  assert.deepEqual([pair.fetch.state, pair.restored, replica.missingSlices], ['done', [slice], 0]);
  assert.equal(replica.digest(slice), whole.giving.digest(slice));
});

/** A replica of a group whose log began otherwise. */
function otherLine(): Replica {
  const group = new TestGroup(0);
  group.log.entries.length = 0;
  group.log.begin(undefined, 'another');
  group.activate('a');
  return group.replica('a');
}
