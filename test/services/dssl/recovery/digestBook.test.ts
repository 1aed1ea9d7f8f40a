// Sums of slices as votes: whose stands, who has to restore, and when the votes that have come are all there are.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DigestBook, type Repair } from '../../../../services/dssl/recovery/digestBook.ts';
import { defaultRules, type MemberState, type View } from '../../../../shared/membership/view.ts';

const names = ['a', 'b', 'c', 'd'];

/** Members a, b, c, ... in the order in which they joined. */
const viewOf = (members: number, states: Readonly<Record<string, MemberState>> = {}): View => ({
  group: 'g1',
  number: 1,
  placement: 'rendezvous',
  seed: 1,
  rules: defaultRules,
  members: names.slice(0, members).map((server, number) => ({
    server,
    incarnation: 1,
    number,
    state: states[server] ?? 'active',
    weight: 1,
    base: 1,
    flows: 0,
  })),
});
const said = (digest: number, slice = 7, position = 100) => ({ slice, position, digest });

/** A book of each member, in which all hear each other's sums; what each has to restore. */
function judged(digests: Readonly<Record<string, number>>, view = viewOf(Object.keys(digests).length)) {
  const outcome: Record<string, Repair> = {};
  for (const self of Object.keys(digests)) {
    const book = new DigestBook({ server: self, incarnation: 1 });
    book.onOwn(said(digests[self]), 'e', 0);
    for (const [server, digest] of Object.entries(digests)) book.onOthers(server, 'e', [said(digest)], 10);
    const [repair] = book.tick(view, 20);
    if (repair !== undefined) outcome[self] = repair;
  }
  return outcome;
}

test('digest book - all agree: nobody restores anything, and the comparisons are counted', () => {
  assert.deepEqual(judged({ a: 5, b: 5, c: 5 }), {});
  const book = new DigestBook({ server: 'a', incarnation: 1 });
  book.onOwn(said(5), 'e', 0);
  book.onOthers('b', 'e', [said(5)], 0);
  book.onOthers('c', 'e', [said(6)], 0);
  assert.deepEqual([book.compared, book.differed], [2, 1]);
});

test('digest book - the one that is alone with its sum restores the slice from one of the others', () => {
  const repair = { slice: 7, position: 100, from: 'a', again: false };
  assert.deepEqual(judged({ a: 5, b: 6, c: 5 }), { b: repair });
  assert.deepEqual(judged({ a: 6, b: 5, c: 5 }), { a: { ...repair, from: 'b' } }, 'the oldest may be the wrong one');
  assert.deepEqual(judged({ a: 5, b: 6, c: 7, d: 5 }), { b: repair, c: repair }, 'two that are wrong in two ways');
});

test('digest book - of two the younger restores, of two camps of two that without the oldest, of all different all but the oldest', () => {
  const repair = { slice: 7, position: 100, from: 'a', again: false };
  assert.deepEqual(judged({ a: 5, b: 6 }), { b: repair });
  assert.deepEqual(judged({ a: 5, b: 6, c: 6, d: 5 }), { b: repair, c: repair });
  assert.deepEqual(judged({ a: 5, b: 6, c: 7 }), { b: repair, c: repair });
});

test('digest book - a vote that is missing is waited for, but not without end, nor for joiners', () => {
  const book = new DigestBook({ server: 'b', incarnation: 1 });
  book.onOwn(said(6), 'e', 0);
  book.onOthers('a', 'e', [said(5)], 0);
  assert.deepEqual(book.tick(viewOf(3), 3_400), [], 'c may agree with this one');
  const joined = new DigestBook({ server: 'b', incarnation: 1 });
  joined.onOwn(said(6), 'e', 0);
  joined.onOthers('a', 'e', [said(5)], 0);
  assert.equal(joined.tick(viewOf(3, { c: 'joining' }), 10).length, 1, 'c joins, and says nothing yet');
  const other = new DigestBook({ server: 'b', incarnation: 1 });
  other.onOwn(said(6), 'e', 0);
  other.onOthers('a', 'e', [said(5)], 0);
  assert.equal(other.tick(viewOf(3), 3_500).length, 1);
  const alone = new DigestBook({ server: 'b', incarnation: 1 });
  alone.onOwn(said(6), 'e', 0);
  assert.deepEqual(alone.tick(viewOf(3), 10_000), [], 'nobody says otherwise');
});

test('digest book - what others said of positions still to come counts when this replica has come there', () => {
  const book = new DigestBook({ server: 'b', incarnation: 1 });
  book.onOthers('a', 'e', [said(5), said(5, 8, 101)], 0);
  book.onOthers('c', 'e', [said(5)], 0);
  book.onOwn(said(6), 'e', 2_000);
  assert.deepEqual(book.tick(viewOf(3), 2_010), [{ slice: 7, position: 100, from: 'a', again: false }]);
  book.onOthers('c', 'e', [said(5, 8, 101)], 2_000);
  book.tick(viewOf(3), 40_000);
  book.onOwn(said(6, 8, 101), 'e', 40_000);
  assert.deepEqual(book.tick(viewOf(3), 44_000), [], 'after half a minute it says nothing any more');
});

test('digest book - sums of another position, slice or epoch, and of who is no member, are no votes', () => {
  const book = new DigestBook({ server: 'b', incarnation: 1 });
  book.onOwn(said(6), 'e', 0);
  book.onOthers('a', 'e', [said(5, 7, 99), said(5, 8)], 0);
  book.onOthers('a', 'of-old', [said(5)], 0);
  book.onOthers('d', 'e', [said(5)], 0);
  book.onOthers('b', 'e', [said(5)], 0);
  assert.deepEqual(book.tick(viewOf(3), 5_000), []);
});

test('digest book - a member votes once, however often it says so', () => {
  const book = new DigestBook({ server: 'b', incarnation: 1 });
  book.onOwn(said(6), 'e', 0);
  for (let times = 0; times < 3; times++) book.onOthers('c', 'e', [said(6)], 0);
  book.onOthers('c', 'e', [said(5)], 0);
  book.onOthers('a', 'e', [said(5)], 0);
  assert.equal(book.compared, 2);
  assert.deepEqual(book.tick(viewOf(3), 10), [], 'two for 6, one for 5');
});

test('digest book - each sum is judged once, and a slice that was restored begins anew', () => {
  const book = new DigestBook({ server: 'b', incarnation: 1 });
  const differ = (atMs: number, position: number): readonly Repair[] => {
    book.onOwn(said(6, 7, position), 'e', atMs);
    for (const server of ['a', 'c']) book.onOthers(server, 'e', [said(5, 7, position)], atMs);
    return book.tick(viewOf(3), atMs);
  };
  assert.equal(differ(0, 100).length, 1);
  assert.deepEqual(book.tick(viewOf(3), 10), []);
  book.onOwn(said(6, 7, 110), 'e', 15);
  book.onRestored(7, 20);
  for (const server of ['a', 'c']) book.onOthers(server, 'e', [said(5, 7, 110)], 30);
  assert.deepEqual(book.tick(viewOf(3), 40), [], 'it was summed up before it was restored');
  assert.equal(differ(10_000, 200)[0].again, true, 'a second time within two minutes');
  assert.equal(differ(130_021, 300)[0].again, false);
});

test('digest book - what is to be said is said once', () => {
  const book = new DigestBook({ server: 'a', incarnation: 1 });
  book.onOwn(said(5), 'e', 0);
  book.onOwn(said(6, 8, 101), 'e', 0);
  assert.deepEqual(book.takeUnsaid(), [said(5), said(6, 8, 101)]);
  assert.deepEqual(book.takeUnsaid(), []);
  book.onOwn(said(5), 'e', 0);
  book.clear();
  assert.deepEqual(book.takeUnsaid(), [], 'state was replaced meanwhile');
});
