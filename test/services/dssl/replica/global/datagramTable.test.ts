// Which flow a fragmented datagram belongs to, for how long, and for how many datagrams.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatagramTable } from '../../../../../services/dssl/replica/global/datagramTable.ts';

test('datagram table - a later fragment finds the flow of the newest first fragment, for a while', () => {
  const datagrams = new DatagramTable(8, 30_000);
  datagrams.learn(1, 2, 0, 10, -20, 0xffff);
  datagrams.learn(1, 2, 50, 11, -21, 0x8001);
  datagrams.table.expire(350);
  const position = datagrams.find(1, 2);
  const found = [datagrams.flowHi(position), datagrams.flowLo(position), datagrams.flags(position)];
  assert.deepEqual(found, [11, -21, 0x8001]);
  assert.equal(datagrams.find(1, 3), -1);
  datagrams.table.expire(351);
  assert.equal(datagrams.find(1, 2), -1);
});

test('datagram table - holds as many as it may, the newest ones', () => {
  const datagrams = new DatagramTable(8, 30_000);
  for (let lo = 0; lo < 20; lo++) datagrams.learn(0, lo, 0, lo, lo, 0);
  assert.equal(datagrams.table.size, 8);
  assert.equal(datagrams.table.overwritten, 12);
  assert.equal(datagrams.find(0, 11), -1);
  assert.equal(datagrams.flowLo(datagrams.find(0, 12)), 12);
});
