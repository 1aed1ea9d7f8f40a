// What `flowherd status` shows of backups: what members say of their flows, added up for their group.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusBoard } from '../../../services/ops/statusBoard.ts';
import { statusInWords } from '../../../services/ops/statusWords.ts';
import { encodeGossip } from '../../../shared/membership/gossip.ts';
import type { ProtectionReport } from '../../../shared/membership/protection.ts';
import type { GroupRules } from '../../../shared/membership/view.ts';
import { mapByHand, stateOf } from '../../support/cluster.ts';

const nothing = {
  flows: 0,
  unprotected: 0,
  promoted: 0,
  replaying: 0,
  replays: 0,
  replayed: 0,
  unreplayed: 0,
  partial: 0,
};

function report(
  availability: GroupRules['availability'],
  said: Readonly<Record<string, Partial<ProtectionReport> | undefined>>,
) {
  const map = mapByHand(['g1', 'g2']);
  const board = new StatusBoard(0);
  const { placement, seed, rules } = map;
  const members = Object.keys(said).map((server, number) => ({
    server,
    incarnation: 1,
    number,
    state: 'active' as const,
    weight: 100,
    base: 100,
    flows: 0,
  }));
  const view = { group: 'g1', number: 7, placement, seed, rules: { ...rules, availability }, members };
  for (const [server, part] of Object.entries(said)) {
    const message = stateOf(server, 1, 'active');
    const protection = part === undefined ? undefined : { ...nothing, ...part };
    board.onGossip(encodeGossip({ ...message, protection } as typeof message), 10);
    // What is left out holds on.
    board.onGossip(encodeGossip(message), 20);
  }
  return board.read('c', map, new Map([['g1', { epoch: { number: 1, id: 'e' }, position: 9, view }]]), 30);
}

test('status of backups - is shown by server and added up by group', () => {
  const status = report('active-active', {
    a: { flows: 600, unprotected: 3, promoted: 12, replays: 1, replayed: 514 },
    b: {
      flows: 400,
      unprotected: 397,
      promoted: 8,
      replays: 1,
      replayed: 486,
      unreplayed: 7,
      replaying: 1,
      partial: 1,
    },
    c: undefined,
  });
  const [g1, g2] = status.groups;
  assert.deepEqual([g1.availability, g2.availability, g2.protection], ['active-active', 'none', null]);
  const sum = { flows: 1_000, unprotected: 400, promoted: 20, replays: 2, replayed: 1_000, unreplayed: 7 };
  assert.deepEqual(g1.protection, { ...nothing, ...sum, replaying: 1, partial: 1 });
  assert.equal(g1.servers[1].protection?.unprotected, 397);
  assert.equal(g1.servers[2].protection, null);
  const lines = statusInWords(status, 0);
  assert.ok(lines.every((line) => line.length < 80));
  const words = lines.join('\n');
  assert.match(words, /^g1: 3 active \(view 7, rendezvous, active-active\)$/m);
  assert.match(words, /^backups +flows +without +taken over +replays +replayed +missed$/m);
  assert.match(words, /^a +600 +3 \(<1%\) +12 +1 +514 +0$/m);
  assert.match(words, /^b +400 +397 \(99%\) +8 +1 +486 +7$/m);
  assert.match(words, /^c +- +- +- +- +- +-$/m);
  assert.match(words, /^all +1\.0k +400 \(40%\) +20 +2 +1\.0k +7$/m);
  assert.match(words, /^ {2}! b replays what a dead server had not handled$/m);
  assert.match(words, /^ {2}! b did not remember all that 1 dead server had not handled$/m);
});

test('status of backups - where there are none nothing is said of them', () => {
  const status = report('none', { a: undefined, b: undefined });
  assert.deepEqual([status.groups[0].availability, status.groups[0].protection], ['none', null]);
  assert.doesNotMatch(statusInWords(status, 0).join('\n'), /backups|none/);
});
