// Torn datagrams are seen from outside, also where one identification comes round while fragments overtake one another; what
// merely repeats or comes later is not torn.

import assert from 'node:assert/strict';
import test from 'node:test';
import { tickOfMs } from '../../../services/dssl/replica/ticks.ts';
import { Datagrams } from '../../../services/local/datagrams.ts';

/** `0@a` is the fragment at offset 0, accepted by server a; `24.@a` the last one, at offset 24; `+20` lets 20 s pass. */
function torn(script: string, members = 'abc'): number {
  const datagrams = new Datagrams(false);
  let tick = 0;
  for (const word of script.split(' ')) {
    const [, pause, offset, last, server] = /^(?:\+(\d+)|(\d+)(\.?)@(\w))$/.exec(word) ?? [];
    if (pause !== undefined) tick += tickOfMs(1_000 * Number(pause));
    else {
      const fragment = { hi: 1, lo: 2, offset: Number(offset), isLast: last === '.' };
      datagrams.accepted(fragment, server.charCodeAt(0), tick, (each) => members.includes(String.fromCharCode(each)));
    }
  }
  return datagrams.torn;
}

test('datagrams - fragments at one server are whole, in any order, repeated, and again under the same identification', () => {
  for (const script of [
    '0@a 24.@a',
    '24.@a 0@a',
    '0@a 0@a 24.@a 24.@a',
    '0@a 24.@a 0@b 24.@b',
    '0@a 0@b 24.@b 24.@a',
    '0@a 24@a 48.@a',
  ])
    assert.equal(torn(script), 0, script);
});

test('datagrams - fragments at two servers are torn, once a datagram', () => {
  for (const script of ['0@a 24.@b', '24.@b 0@a', '0@a 24@b 48.@b', '0@a 24@b 48.@c'])
    assert.equal(torn(script), 1, script);
});

test('datagrams - a fragment that overtakes the first one of the next datagram, and goes with the one before, is noticed', () => {
  assert.equal(torn('0@a 24.@a 24.@a 0@b'), 1);
  // It lies behind the last fragment of the one before.
  assert.equal(torn('0@a 24.@a 48.@a 0@b'), 1);
  assert.equal(torn('0@a 0@b 24.@b 24.@b'), 1);
});

test('datagrams - what is older than a receiver waits is another datagram, and a server that left is no fault', () => {
  assert.equal(torn('0@a +20 24.@b'), 0);
  assert.equal(torn('0@a +10 24.@b'), 1);
  assert.equal(torn('0@a 24.@b', 'b'), 0);
});
