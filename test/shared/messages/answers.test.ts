// Messages of answers: written and read back, and nothing that the network may send instead does harm.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { limits } from '../../../shared/base/limits.ts';
import { Answers, AnswersBuilder, answerRow } from '../../../shared/messages/answers.ts';
import { formatAddress, parseAddress } from '../../../shared/packet/addressText.ts';

const header = { server: 's1', incarnation: 12_345, sequence: 7 };

const answers = fc.record({
  bytes: fc.constantFrom(4, 16),
  seed: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  clientPort: fc.nat(65_535),
  vipPort: fc.nat(65_535),
  datagram: fc.uint8Array({ maxLength: 200 }),
});

test('answers - what is written is read back, row by row', () => {
  fc.assert(
    fc.property(fc.array(answers, { maxLength: 20 }), (list) => {
      const builder = new AnswersBuilder();
      for (const { bytes, seed, clientPort, vipPort, datagram } of list) {
        const ends = { client: seed.slice(0, bytes), clientPort, vip: seed.slice(16, 16 + bytes), vipPort };
        builder.add(answerRow(ends), datagram);
      }
      const read = new Answers();
      assert.equal(read.decode(builder.finish(header)), 'none');
      assert.equal(builder.count, 0);
      assert.deepEqual([read.server, read.incarnation, read.sequence, read.count], ['s1', 12_345, 7, list.length]);
      let at = 0;
      for (const [row, { bytes, seed, clientPort, vipPort, datagram }] of list.entries()) {
        assert.equal(read.addressBytes(row), bytes);
        assert.equal(read.clientPort(row), clientPort);
        assert.equal(read.vipPort(row), vipPort);
        const client = read.clientAt(row);
        assert.deepEqual(Uint8Array.from(read.meta.subarray(client, client + bytes)), seed.slice(0, bytes));
        const vip = read.vipAt(row);
        assert.deepEqual(Uint8Array.from(read.meta.subarray(vip, vip + bytes)), seed.slice(16, 16 + bytes));
        assert.equal(read.length(row), datagram.length);
        assert.deepEqual(Uint8Array.from(read.payload.subarray(at, at + datagram.length)), datagram);
        at += datagram.length;
      }
    }),
  );
});

test('answers - a message takes the largest datagram, and is full by bytes and by rows', () => {
  const row = answerRow({ client: parseAddress('::1'), clientPort: 1, vip: parseAddress('::2'), vipPort: 2 });
  const builder = new AnswersBuilder();
  assert.equal(builder.isFull(limits.udpPayloadBytes), false);
  builder.add(row, new Uint8Array(limits.udpPayloadBytes).fill(9));
  assert.equal(builder.isFull(1), true);
  const read = new Answers();
  assert.equal(read.decode(builder.finish(header)), 'none');
  assert.equal(read.length(0), limits.udpPayloadBytes);
  assert.equal(formatAddress(read.meta, read.clientAt(0), read.clientAt(0) + 16), '::1');
  for (let i = 0; i < limits.answerRows; i++) {
    assert.equal(builder.isFull(0), false);
    builder.add(row, new Uint8Array(0));
  }
  assert.equal(builder.isFull(0), true);
  assert.equal(read.decode(builder.finish(header)), 'none');
});

test('answers - a message that is wrong in one place says what is wrong', () => {
  const packr = new Packr({ useRecords: false });
  const row = answerRow({ client: parseAddress('1.2.3.4'), clientPort: 1, vip: parseAddress('5.6.7.8'), vipPort: 2 });
  row[3] = 2;
  const good = [1, 's1', 1, 1, 1, row, Uint8Array.of(1, 2)];
  const decode = (...changes: readonly (readonly [number, unknown])[]) => {
    const fields: unknown[] = [...good];
    for (const [at, value] of changes) fields[at] = value;
    return new Answers().decode(packr.pack(fields));
  };
  assert.equal(decode(), 'none');
  assert.equal(new Answers().decode(new Uint8Array(1)), 'size');
  assert.equal(new Answers().decode(new Uint8Array(limits.frameMaxBytes + 1)), 'size');
  assert.equal(new Answers().decode(Uint8Array.of(0xc0, 0)), 'encoding');
  assert.equal(new Answers().decode(Uint8Array.of(0x97, 0xdd)), 'encoding');
  assert.equal(decode([0, 2]), 'format');
  assert.equal(decode([1, 'no.name']), 'shape');
  assert.equal(decode([2, -1]), 'shape');
  assert.equal(decode([3, 1.5]), 'shape');
  assert.equal(decode([6, 'text']), 'shape');
  assert.equal(decode([4, 2]), 'count');
  assert.equal(decode([4, limits.answerRows + 1]), 'count');
  assert.equal(decode([6, Uint8Array.of(1)]), 'rows');
  const family = row.slice();
  family[0] = 5;
  assert.equal(decode([5, family]), 'rows');
  const long = row.slice();
  long.set([0xff, 0xff], 2);
  assert.equal(decode([5, long], [6, new Uint8Array(65_535)]), 'rows');
});

test('answers - damaged messages are refused or read, and never throw', () => {
  const builder = new AnswersBuilder();
  const ends = { client: parseAddress('1.2.3.4'), clientPort: 1, vip: parseAddress('5.6.7.8'), vipPort: 2 };
  for (let i = 0; i < 3; i++) builder.add(answerRow(ends), Uint8Array.of(1, 2, 3));
  const good = builder.finish(header);
  const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(damage, fc.uint8Array({ maxLength: 100 }), (places, bytes) => {
      const message = good.slice();
      for (const [at, value] of places) message[at] = value;
      new Answers().decode(message);
      new Answers().decode(bytes);
    }),
    { numRuns: 2_000 },
  );
});
