// Replicas that apply one log hold the same state at every position, whatever else has happened to each of them; and of all
// servers exactly one accepts a packet. Over arbitrary logs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Effects } from '../../../../services/dssl/replica/effects.ts';
import { noServer } from '../../../../services/dssl/replica/flows/entry.ts';
import { Replica } from '../../../../services/dssl/replica/replica.ts';
import { tickOfMs } from '../../../../services/dssl/replica/ticks.ts';
import type { LogEntry } from '../../../../shared/log/log.ts';
import { lives, logOf, type Script, scripts, usedSlices } from './script.ts';
import { decidedBy, fingerprintOf, lifeOf, newReplica } from './support.ts';

const stranger = lifeOf('nobody');
const emptySlices = Array.from({ length: 256 }, (_, slice) => slice).filter((slice) => !usedSlices.includes(slice));

/** What a replica holds at each position, and what it said of each row. */
interface Trace {
  readonly states: readonly string[];
  readonly said: readonly string[];
}

test('replica - equal at every position, whoever its server is', () => {
  fc.assert(
    fc.property(scripts, (script) => {
      const { entries } = logOf(script);
      const reference = traceOf(newReplica(stranger), entries);
      for (const self of [lives[0], lives[3]]) assert.deepEqual(traceOf(newReplica(self), entries), reference);
    }),
    { numRuns: 150, seed: 11 },
  );
});

test('replica - equal at every position, however it is swept', () => {
  const sweeps = fc.array(fc.nat(7), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(scripts, sweeps, (script, turns) => {
      const { entries } = logOf(script);
      const reference = traceOf(newReplica(stranger), entries);
      const swept = newReplica(lives[0]);
      const trace = traceOf(swept, entries, (position) => {
        if (turns[position % turns.length] > 3) return;
        for (const slice of usedSlices) swept.table.sweepSlice(slice, tickOfMs(swept.timeMs));
      });
      assert.deepEqual(trace, reference);
    }),
    { numRuns: 150, seed: 12 },
  );
});

test('replica - restored anywhere, its slices in any order and at later positions, it becomes equal and stays so', () => {
  const places = fc.record({ at: fc.nat(99), later: fc.array(fc.nat(30), { minLength: 2, maxLength: 2 }) });
  fc.assert(
    fc.property(scripts, places, (script, { at, later }) => {
      const { entries } = logOf(script);
      const from = 1 + Math.floor(((entries.length - 2) * at) / 99);
      const donor = newReplica(stranger);
      const reference = traceOf(newReplica(stranger), entries);
      let restored: Replica | undefined;
      const parts: { readonly arrivesAt: number; readonly bytes: Uint8Array }[] = [];
      for (const entry of entries) {
        donor.apply(entry);
        const { position } = donor;
        if (position === from) {
          restored = Replica.restore({ group: 'g1', self: lives[1] }, donor.snapshotGlobal());
          // The slices without flows come at once, so that none is missing once the others are there.
          for (const slice of emptySlices) assert.ok(restored?.restoreSlice(donor.snapshotSlice(slice)));
        }
        // A slice is copied at one position, and arrives when the replica has come half as far, behind or before it.
        for (const [index, slice] of usedSlices.entries()) {
          if (position !== Math.min(from + later[index], entries.length)) continue;
          parts.push({ arrivesAt: Math.min(from + (later[index] >> 1), position), bytes: donor.snapshotSlice(slice) });
        }
      }
      assert.ok(restored !== undefined, 'the global part can be read');
      assert.equal(restored.globalFingerprint(), Number(reference.states[from - 1].split(' ')[0]));
      for (const entry of entries.slice(from)) {
        takeParts(restored, parts);
        restored.apply(entry);
        compare(restored, reference, from, later);
      }
      takeParts(restored, parts);
      compare(restored, reference, from, later);
      for (const slice of usedSlices) assert.equal(restored.isMissing(slice), false);
    }),
    { numRuns: 200, seed: 13 },
  );
});

test('replica - a slice that is dropped and restored in the middle makes no difference behind it', () => {
  const places = fc.record({ at: fc.nat(99), slice: fc.constantFrom(...usedSlices), gap: fc.nat(20) });
  fc.assert(
    fc.property(scripts, places, (script, { at, slice, gap }) => {
      const { entries } = logOf(script);
      const from = 1 + Math.floor(((entries.length - 2) * at) / 99);
      const reference = traceOf(newReplica(stranger), entries);
      const donor = newReplica(stranger);
      const mended = newReplica(lives[0]);
      for (const entry of entries) {
        donor.apply(entry);
        mended.apply(entry);
        if (mended.position === from) mended.dropSlice(slice);
        if (mended.position === from + gap || (mended.position === entries.length && mended.isMissing(slice))) {
          assert.ok(mended.restoreSlice(donor.snapshotSlice(slice)));
        }
        if (mended.isMissing(slice)) continue;
        assert.equal(fingerprintOf(mended, usedSlices), reference.states[mended.position - 1]);
      }
    }),
    { numRuns: 150, seed: 14 },
  );
});

test('replica - of all servers exactly one accepts a packet, and it is the one that all take for its owner', () => {
  fc.assert(
    fc.property(scripts, (script) => {
      const { entries } = logOf(script);
      const replicas = lives.map((life) => newReplica(life));
      for (const entry of entries) {
        const effects = replicas.map((replica) => replica.apply(entry));
        checkAccepted(script, replicas, effects);
      }
      const counts = replicas.map((replica) => replica.counts.reduce((sum, count) => sum + count));
      assert.equal(new Set(counts).size, 1, 'every packet ends on one rung, everywhere');
    }),
    { numRuns: 100, seed: 15 },
  );
});

function traceOf(replica: Replica, entries: readonly LogEntry[], after: (position: number) => void = () => undefined) {
  const states: string[] = [];
  const said: string[] = [];
  for (const entry of entries) {
    const effects = replica.apply(entry);
    after(replica.position);
    states.push(fingerprintOf(replica, usedSlices));
    said.push(sharedPart(effects));
  }
  return { states, said };
}

/** What every replica must say alike. */
function sharedPart(effects: Effects): string {
  const { outcome, digests, late, viewChanged } = effects;
  const owners = outcome === 'frame' ? decidedBy(effects).map(({ owner }) => owner) : [];
  const lates = late.map(({ tier1Id, number, row, owner }) => [tier1Id, number, row, owner]);
  return JSON.stringify([outcome, owners, lates, digests, viewChanged]);
}

function takeParts(
  replica: Replica,
  parts: readonly { readonly arrivesAt: number; readonly bytes: Uint8Array }[],
): void {
  for (const { arrivesAt, bytes } of parts) {
    if (replica.position === arrivesAt) assert.ok(replica.restoreSlice(bytes), 'a slice can be read');
  }
}

/** A slice counts from the position at which it was copied. */
function compare(replica: Replica, { states }: Trace, from: number, later: readonly number[]): void {
  const [global, ...digests] = states[replica.position - 1].split(' ');
  assert.equal(String(replica.globalFingerprint()), global);
  for (const [index, slice] of usedSlices.entries()) {
    const isThere = !replica.isMissing(slice) && replica.position >= Math.min(from + later[index], states.length);
    if (isThere) assert.equal(String(replica.digest(slice)), digests[index], `slice ${slice} at ${replica.position}`);
  }
}

function checkAccepted(script: Script, replicas: readonly Replica[], effects: readonly Effects[]): void {
  if (effects[0].outcome !== 'frame') return;
  const rows = effects.map(decidedBy);
  const numbers = replicas.map(({ selfNumber }) => selfNumber);
  const members = new Set(replicas[0].view.members.map(({ number }) => number));
  for (let row = 0; row < rows[0].length; row++) {
    const { owner } = rows[0][row];
    const takers = replicas.map((_, index) => index).filter((index) => rows[index][row].verdict.startsWith('accept'));
    assert.ok(takers.length <= 1, `row ${row} is accepted by ${takers.length}`);
    const isRefused = rows.some((each) => each[row].verdict === 'dropTableFull');
    if (owner !== noServer && !isRefused) {
      assert.deepEqual(
        takers.map((index) => numbers[index]),
        [owner],
      );
      assert.ok(members.has(owner));
    }
    if (owner === noServer && script.rules.typeOneMethod === 'fig-7') assert.equal(takers.length, 0);
  }
}
