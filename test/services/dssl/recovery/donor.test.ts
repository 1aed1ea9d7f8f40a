// The giving side of a fetch: who is answered, with what, and how long a request may wait.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Donor } from '../../../../services/dssl/recovery/donor.ts';
import { chooseDonor, type Holder } from '../../../../services/dssl/recovery/donorChoice.ts';
import {
  chunkBytes,
  type Get,
  globalPart,
  type Part,
  splitSlices,
} from '../../../../services/dssl/recovery/messages.ts';
import type { LineReport } from '../../../../shared/membership/gossip.ts';
import { firstEpoch, lifeOf, syn, TestGroup } from '../replica/support.ts';

function giving(flows = 0) {
  const group = new TestGroup(1);
  for (let flow = 0; flow < flows; flow++) group.now({ flow, flags: syn });
  const parts: { readonly to: string; readonly part: Part }[] = [];
  const donor = new Donor(lifeOf('a'), (to, part) => parts.push({ to, part }));
  return { group, donor, parts, replica: group.replica('a') };
}
const get = (first: number, last = first, position = 0, epoch = firstEpoch): Get => ({
  kind: 'get',
  server: 'me',
  incarnation: 3,
  nonce: 8,
  epoch,
  first,
  last,
  position,
});

test('donor - a part names the request, what it holds, where it is from, and the entry there', () => {
  const { donor, parts, replica } = giving(10);
  donor.onGet(get(globalPart), replica, 0);
  donor.onGet(get(3, 9), replica, 0);
  const { position, mark } = replica;
  const common = { kind: 'part', server: 'a', incarnation: 1, nonce: 8, position, mark, chunk: 0, chunks: 1 };
  const [global, slices] = parts.map(({ part: { bytes: _, ...rest } }) => rest);
  assert.deepEqual(global, { ...common, first: globalPart, count: 1 });
  assert.deepEqual(slices, { ...common, first: 3, count: 7 });
  assert.ok(parts.every(({ to }) => to === 'me'));
  assert.equal(splitSlices(parts[1].part.bytes, 7)?.length, 7);
});

test('donor - of many slices one part carries as many as fit it, and what is longer than a message goes in chunks', () => {
  const { donor, parts, replica } = giving(15_000);
  donor.onGet(get(0, 255), replica, 0);
  const [{ part }] = parts;
  assert.ok(part.count > 1 && part.count < 256, `${part.count} slices`);
  assert.ok(part.bytes.length <= chunkBytes);
  const whole = parts.map(({ part: { chunk, chunks } }) => [chunk, chunks]);
  assert.deepEqual(
    whole,
    whole.map((_, chunk) => [chunk, whole.length]),
  );
});

test('donor - a position that it has not come to is waited for, two seconds at most', () => {
  const { group, donor, parts, replica } = giving();
  donor.onGet(get(globalPart, globalPart, replica.position + 2), replica, 0);
  donor.onGet(get(globalPart, globalPart, replica.position + 50), replica, 0);
  group.now({ flow: 1, flags: syn });
  donor.advance(replica, 100);
  assert.equal(parts.length, 0);
  group.now({ flow: 2, flags: syn });
  donor.advance(replica, 200);
  assert.equal(parts.length, 1);
  donor.advance(replica, 2_001);
  for (let flow = 0; flow < 60; flow++) group.now({ flow, flags: syn });
  donor.advance(replica, 2_002);
  assert.equal(parts.length, 1, 'the other one has asked somebody else by now');
});

test('donor - one that needs state itself, or has that of another epoch, gives nothing', () => {
  const { donor, parts, replica } = giving();
  donor.onGet(get(globalPart), undefined, 0);
  donor.onGet(get(globalPart, globalPart, 0, 'another'), replica, 0);
  donor.onGet(get(globalPart, globalPart, replica.position + 1), replica, 0);
  donor.advance(undefined, 10);
  donor.advance(replica, 20);
  assert.equal(parts.length, 0);
});

test('donor - so many may wait, and no more', () => {
  const { group, donor, parts, replica } = giving();
  for (let times = 0; times < 100; times++) donor.onGet(get(globalPart, globalPart, replica.position + 1), replica, 0);
  group.now({ flow: 1, flags: syn });
  donor.advance(replica, 10);
  assert.equal(parts.length, 64);
});

const line = (epochNumber: number, position: number): LineReport => ({
  state: 'broken',
  epochNumber,
  epoch: `e${epochNumber}`,
  position,
  lag: 0,
  lagMs: 0,
  handled: 0,
});
const holder = (server: string, state: Holder['state'], epochNumber: number, position: number): Holder => ({
  server,
  state,
  line: line(epochNumber, position),
});

test('donor - a line begins with the newest epoch, an active member, the farthest position, the first name, in that order', () => {
  const holders = [
    holder('z', 'joining', 2, 1),
    holder('b', 'draining', 2, 90),
    holder('d', 'active', 2, 40),
    holder('c', 'active', 2, 40),
    holder('y', 'active', 2, 39),
    holder('a', 'active', 1, 1_000),
    holder('x', 'leaving', 2, 99),
    holder('w', undefined, 2, 99),
  ];
  const order: string[] = [];
  for (let left = holders; left.length > 0; ) {
    const chosen = chooseDonor(left);
    assert.ok(chosen !== undefined);
    order.push(chosen.server);
    left = left.filter((each) => each !== chosen).reverse();
  }
  assert.equal(order.join(' '), 'c d y b z w x a');
  assert.equal(chooseDonor([]), undefined);
});
