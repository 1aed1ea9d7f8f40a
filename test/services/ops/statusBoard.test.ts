// The board behind `flowherd status`: who is silent and who is suspected, as time passes and messages come.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusBoard } from '../../../services/ops/statusBoard.ts';
import { agoInWords, brief, fitted, statusInWords } from '../../../services/ops/statusWords.ts';
import { encodeGossip, type GossipMessage, type LineReport } from '../../../shared/membership/gossip.ts';
import type { Mirror } from '../../../shared/membership/mirror.ts';
import { encodeHello } from '../../../shared/messages/hello.ts';
import { mapByHand, stateOf } from '../../support/cluster.ts';

const map = mapByHand(['g1']);
const periodMs = map.settings.watching.stateMs;

function mirrorOf(...servers: string[]): ReadonlyMap<string, Mirror> {
  const { placement, seed, rules } = map;
  const members = servers.map((server, number) => ({
    server,
    incarnation: 1,
    number,
    state: 'active' as const,
    weight: 150,
    base: 100,
    flows: 0,
  }));
  const view = { group: 'g1', number: 7, placement, seed, rules, members };
  return new Map([['g1', { epoch: { number: 2, id: 'e2' }, position: 900, view }]]);
}

function board(...servers: string[]) {
  const it = new StatusBoard(1_000);
  const mirrors = mirrorOf(...servers);
  return {
    hear: (message: GossipMessage, atMs: number) => it.onGossip(encodeGossip(message), atMs),
    hello: (state: 'ready' | 'ended', atMs: number) =>
      it.onHello(encodeHello({ tier1: 't', state, received: 1, faults: 0, dropped: {}, senders: [] }), atMs),
    garbage: (atMs: number) => {
      it.onGossip(Buffer.from('x'), atMs);
      it.onHello(Buffer.from('x'), atMs);
    },
    hasHeardAll: () => it.hasHeardAll(mirrors),
    read: (nowMs: number) => it.read('c', map, mirrors, nowMs),
  };
}

test('status board - a member is silent after three reports that did not come, and not before one could have', () => {
  const { hear, read, hasHeardAll } = board('a', 'b');
  hear(stateOf('a', 1, 'active'), 1_100);
  assert.equal(hasHeardAll(), false);
  const silentAt = (nowMs: number) => read(nowMs).groups[0].servers.map(({ silent }) => silent);
  assert.deepEqual(silentAt(1_000 + 3 * periodMs - 1), [false, false]);
  assert.deepEqual(silentAt(1_000 + 3 * periodMs), [false, true]);
  assert.deepEqual(silentAt(1_100 + 3 * periodMs), [true, true]);
  hear(stateOf('b', 2, 'active'), 1_200);
  assert.equal(hasHeardAll(), false, 'another life');
  hear(stateOf('b', 1, 'active'), 1_300);
  assert.equal(hasHeardAll(), true);
  const many = board(...Array.from({ length: 200 }, (_, index) => `s${index}`));
  assert.equal(many.read(1_000 + 3 * periodMs).groups[0].servers[0].silent, false, 'large groups report more rarely');
});

test('status board - a suspicion holds until the suspect speaks', () => {
  const { hear, read } = board('a', 'b');
  const suspects = () => read(2_000).groups[0].servers.map(({ suspectedBy }) => suspectedBy.join());
  for (const from of ['x', 'a', 'x']) hear({ kind: 'suspect', from, server: 'b', incarnation: 1, isSure: true }, 1_100);
  hear({ kind: 'suspect', from: 'a', server: 'b', incarnation: 2, isSure: false }, 1_100);
  assert.deepEqual(suspects(), ['', 'a,x']);
  assert.equal(read(1_200).groups[0].servers[1].heardMsAgo, null, 'to be spoken of is not to speak');
  hear({ kind: 'beat', server: 'b', incarnation: 1, beat: 3 }, 1_200);
  hear(stateOf('b', 1, 'active'), 1_300);
  assert.deepEqual(suspects(), ['', '']);
});

const line: LineReport = {
  state: 'following',
  epochNumber: 2,
  epoch: 'e2',
  position: 12_345,
  lag: 17,
  lagMs: 250,
  handled: 0,
};

test('status board - any part of a report may be missing, and what was said before holds on', () => {
  const { hear, read, garbage } = board('a');
  hear(stateOf('a', 1, 'draining', { flows: 5 }, line), 1_100);
  const empty = { state: undefined, view: 1, line: undefined, load: undefined, digests: [] };
  hear({ kind: 'state', server: 'a', incarnation: 1, beat: 2, ...empty }, 1_200);
  garbage(1_200);
  const [{ liveState, flows, heardMsAgo, line: said }] = read(1_250).groups[0].servers;
  assert.deepEqual([liveState, flows, heardMsAgo, said], ['draining', 5, 50, line]);
  assert.equal(read(1_250).faults, 2);
});

test('status board - a tier 1 that ended or fell silent is gone', () => {
  const { hello, read } = board('a');
  hello('ready', 1_100);
  assert.deepEqual(
    read(1_200).tier1s.map(({ id, state, heardMsAgo }) => [id, state, heardMsAgo]),
    [['t', 'ready', 100]],
  );
  assert.equal(read(2_101).tier1s.length, 0);
  hello('ready', 2_200);
  hello('ended', 2_300);
  assert.equal(read(2_300).tier1s.length, 0);
});

test('status words - no line is longer than a terminal is wide, whatever the names', () => {
  const { hear, read } = board('s'.repeat(64), 't'.repeat(64));
  const load = { flows: 123_456_789, newFlows: 99_999, packets: 9_999_999, cpu: 99.99 };
  const far = { ...line, state: 'following' as const, epoch: 'e1', position: 2 ** 53 - 1, lag: 1e9, lagMs: 99_999_999 };
  hear(stateOf('s'.repeat(64), 1, 'leaving', load, far), 1_000);
  for (const from of ['x', 'y', 'z'].map((letter) => letter.repeat(64))) {
    hear({ kind: 'suspect', from, server: 's'.repeat(64), incarnation: 1, isSure: false }, 1_000);
  }
  const changed = { by: 'somebody@somewhere', atMs: 0, what: 'watching.beatMs from 100 to 50, '.repeat(9) };
  const report = { ...read(99_000), map: { version: 2, changed } };
  const lines = statusInWords(report, 7_300_000);
  const longest = Math.max(...lines.filter((line) => line.includes(' ')).map((line) => line.length));
  assert.ok(longest < 80, `${longest}: ${lines.join('\n')}`);
  assert.match(lines.join('\n'), /150 of 100 +123M +100k +10\.0M +9999% +98 s/);
  assert.match(lines.join(' '), /changed 2 h ago by somebody@somewhere: watching/);
  assert.deepEqual(fitted(['a', 'b'], [['short', 'x']]), ['a      b', 'short  x']);
});

test('status words - how far each server has come with the log, and who does not follow it', () => {
  const { hear, read } = board('a', 'b', 'c', 'd');
  hear(stateOf('a', 1, 'active', {}, line), 1_000);
  hear(stateOf('b', 1, 'active', {}, { ...line, state: 'fetching', lag: 0, lagMs: 0 }), 1_000);
  hear(stateOf('c', 1, 'active', {}, { ...line, epochNumber: 1, epoch: 'e1' }), 1_000);
  const report = read(1_100);
  assert.deepEqual([report.groups[0].epoch, report.groups[0].position], [{ number: 2, id: 'e2' }, 900]);
  const lines = statusInWords(report, 0).join('\n');
  assert.match(lines, /^log +state +epoch +position +lag +lag in time$/m);
  assert.match(lines, /^a +following +2 +12,345 +17 +250 ms$/m);
  assert.match(lines, /^d +- +- +- +- +-$/m);
  const remarks = lines.split('\n').filter((each) => each.startsWith('  !'));
  assert.deepEqual(remarks, [
    "  ! b fetches its group's state from a peer",
    '  ! c is in epoch 1 of the log, its group in 2',
  ]);
});

test('status words - numbers and times are brief', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [12.5, '13'],
    [999, '999'],
    [999.6, '1.0k'],
    [1_250, '1.3k'],
    [99_949, '99.9k'],
    [99_960, '100k'],
    [999_600, '1.0M'],
    [9e15, '9000T'],
  ];
  for (const [value, words] of cases) assert.equal(brief(value), words);
  assert.deepEqual([0, 119_000, 150_000, 7_300_000, 2e9].map(agoInWords), ['0 s', '119 s', '3 min', '2 h', '23 days']);
});
