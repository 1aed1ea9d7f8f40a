// Which flow a fragmented datagram belongs to, for how long, and for how many datagrams.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatagramTable } from '../../../../services/dssl/replica/datagramTable.ts';

test('datagram table - a later fragment finds the flow of the newest first fragment, for a while', () => {
  const table = new DatagramTable(8, 30_000);
  table.learn(1, 2, 0, 10, -20, 0xffff);
  table.learn(1, 2, 50, 11, -21, 0x8001);
  const position = table.find(1, 2, 350);
  assert.deepEqual([table.flowHi(position), table.flowLo(position), table.flags(position)], [11, -21, 0x8001]);
  assert.equal(table.find(1, 3, 50), -1);
  assert.equal(table.find(1, 2, 351), -1);
});

test('datagram table - holds as many as it may, the newest ones', () => {
  const table = new DatagramTable(8, 30_000);
  for (let lo = 0; lo < 20; lo++) table.learn(0, lo, 0, lo, lo, 0);
  assert.equal(table.size, 8);
  assert.equal(table.overwritten, 12);
  assert.equal(table.find(0, 11, 0), -1);
  assert.equal(table.flowLo(table.find(0, 12, 0)), 12);
});
