// Who stands behind the flows of one owner is counted as entries change; a look at all entries must come to the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hasEnded } from '../../../../../services/dssl/replica/flowLife.ts';
import {
  backupOf,
  FlowState,
  idleLimitCount,
  noBackup,
  ownerOf,
  stateOf,
} from '../../../../../services/dssl/replica/flows/entry.ts';
import { FlowTable } from '../../../../../services/dssl/replica/flows/table.ts';
import { fin, lifeOf, otherSide, syn, TestGroup, tcp } from '../support.ts';

const self = 2;
const backups = [0, 1, 3, 900, noBackup];
const states = [FlowState.unconfirmed, FlowState.established, FlowState.closing, FlowState.resetByFirst];

function counted(table: FlowTable, owner: number, members: readonly number[]) {
  let [flows, unprotected] = [0, 0];
  table.scan((_hi, _lo, _lastSeen, info) => {
    if (ownerOf(info) !== owner || hasEnded(stateOf(info))) return;
    flows++;
    if (!members.includes(backupOf(info))) unprotected++;
  });
  return { flows, unprotected };
}

const step = fc.record({
  what: fc.constantFrom('insert', 'owner', 'backup', 'state', 'remove', 'sweep', 'reload', 'forget', 'watch'),
  flow: fc.nat(12),
  owner: fc.constantFrom(self, self, 5),
  backup: fc.constantFrom(...backups),
  state: fc.constantFrom(...states),
});

test('owner counts - who stands behind the flows of an owner, whatever becomes of them', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 200 }), fc.subarray(backups), (steps, members) => {
      const table = new FlowTable({ maxFlows: 1_000, idleTicks: new Int32Array(idleLimitCount).fill(100) });
      table.watch(self);
      let watched = self;
      let tick = 0;
      for (const { what, flow, owner, backup, state } of steps) {
        tick++;
        const [hi, lo] = [Math.imul(flow, 0x9e37_79b1), flow];
        const handle = table.find(hi, lo, tick);
        if (what === 'insert' && handle === -1) table.insert(hi, lo, tick, owner, state, 1, backup);
        if (what === 'sweep') table.sweepSlice(hi >>> 24, tick);
        if (what === 'reload') table.load(hi >>> 24, table.content(hi >>> 24, tick), tick);
        if (what === 'forget') table.forgetOwner(owner, () => true);
        if (what === 'watch') table.watch((watched = owner));
        if (handle === -1) continue;
        if (what === 'owner') table.setOwner(handle, owner, backup);
        if (what === 'backup') table.setBackup(handle, backup);
        if (what === 'state') table.setState(handle, state);
        if (what === 'remove') table.remove(handle);
      }
      const able = members.filter((number) => number !== noBackup);
      assert.deepEqual(table.owners.protection(able), counted(table, watched, able));
    }),
  );
});

test('owner counts - flows are without a backup when theirs has gone, until their next packet; what has ended needs none', () => {
  for (const typeOneMethod of ['fig-7', 'fig-6'] as const) {
    const group = new TestGroup(3, { availability: 'active-active', typeOneMethod });
    const flows = Array.from({ length: 90 }, (_, flow) => flow);
    const table = () => {
      const { table: shared, ownTable } = group.replica('a');
      return typeOneMethod === 'fig-6' && ownTable !== undefined ? ownTable : shared;
    };
    const protection = () => table().owners.protection(group.replica('a').view.members.map(({ number }) => number));
    const mine = flows.filter((flow) => group.owner({ flow, flags: syn }) === 'a');
    assert.deepEqual(protection(), { flows: mine.length, unprotected: 0 });
    group.command('b', { kind: 'remove', life: lifeOf('c'), handled: 0 });
    const { unprotected } = protection();
    assert.ok(unprotected > 5 && unprotected < mine.length - 5, `${unprotected} of ${mine.length}`);
    if (typeOneMethod === 'fig-6') continue;
    for (const flow of mine) group.owner({ flow, flags: tcp });
    assert.deepEqual(protection(), { flows: mine.length, unprotected: 0 });
    group.command('a', { kind: 'remove', life: lifeOf('b'), handled: 0 });
    assert.deepEqual(protection(), { flows: mine.length, unprotected: mine.length }, 'it is alone');
    for (const flags of [fin, fin | otherSide]) group.owner({ flow: mine[0], flags });
    assert.equal(protection().flows, mine.length - 1);
  }
});
