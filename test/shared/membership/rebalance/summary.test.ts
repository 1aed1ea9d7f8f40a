// Summaries of groups: whose loads count into the sums, and what comes back from the wire.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pack, unpack } from 'msgpackr';
import { limits } from '../../../../shared/base/limits.ts';
import { type LoadName, loadNames } from '../../../../shared/membership/load.ts';
import {
  decodeSummary,
  encodeSummary,
  type GroupSummary,
  type SummaryMessage,
  summarize,
} from '../../../../shared/membership/rebalance/summary.ts';
import { defaultRules } from '../../../../shared/membership/view.ts';
import { loadOf, viewOf } from '../../../support/weights.ts';

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const count = fc.nat({ max: 200 });
const optional: readonly LoadName[] = ['temperature', 'handler', 'latencyMs', 'loss'];

/** Summaries as they can be: each load that every server can tell was told by as many servers as the others. */
const summaries: fc.Arbitrary<SummaryMessage> = fc
  .record({
    sender: fc.record({ server: name, incarnation: fc.maxSafeNat() }, { noNullPrototype: true }),
    group: name,
    view: fc.maxSafeNat(),
    ...{ servers: count, leaving: count, joining: count, draining: count, moving: count, standbys: count },
    isFixed: fc.boolean(),
    // Above this a double does not hold thousandths any more.
    sums: fc.array(fc.nat({ max: 2 ** 50 }), { minLength: loadNames.length, maxLength: loadNames.length }),
    isCold: fc.boolean(),
    told: fc.array(fc.nat(), { minLength: loadNames.length, maxLength: loadNames.length }),
  })
  .map(({ sums, told, isCold, ...counts }) => {
    const taking = counts.servers + counts.leaving;
    const loads = loadNames.map((load, index) => {
      const sum = (load === 'temperature' && isCold ? -sums[index] || 0 : sums[index]) / 1_000;
      return [load, { sum, told: told[optional.includes(load) ? index : 0] % (taking + 1) }];
    });
    return { ...counts, loads: Object.fromEntries(loads) };
  });

/** A load that all servers can tell, so large, for each name. */
function full(value: number): GroupSummary['loads'] {
  return Object.fromEntries(loadNames.map((load) => [load, { sum: value, told: 1_000 }])) as GroupSummary['loads'];
}

test('summary - what is said comes back as it was', () => {
  fc.assert(fc.property(summaries, (said) => assert.deepEqual(decodeSummary(encodeSummary(said)), said)));
});

test('summary - bytes that are no summary, or are cut or changed, are refused or read as another one, and never throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void decodeSummary(bytes)));
  fc.assert(
    fc.property(summaries, fc.nat(), fc.nat({ max: 255 }), (said, at, byte) => {
      const bytes = encodeSummary(said);
      assert.equal(decodeSummary(bytes.subarray(0, at % bytes.length)), undefined);
      bytes[at % bytes.length] = byte;
      const read = decodeSummary(bytes);
      if (read !== undefined) assert.ok(decodeSummary(encodeSummary(read)) !== undefined);
    }),
  );
});

test('summary - it is small: the longest names and the largest values take less than 300 bytes', () => {
  const long = 'x'.repeat(64);
  const counts = { servers: 1_000, leaving: 0, joining: 1_000, draining: 1_000, moving: 1_000, standbys: 1_000 };
  const life = { server: long, incarnation: Number.MAX_SAFE_INTEGER };
  const one = { sender: life, group: long, view: Number.MAX_SAFE_INTEGER, ...counts, isFixed: true };
  const largest = encodeSummary({ ...one, loads: full(Number.MAX_VALUE) });
  assert.ok(largest.length < 300, `${largest.length} bytes`);
  const small = encodeSummary({ ...one, sender: { server: 'server-12', incarnation: 1 }, group: 'g1', loads: full(1) });
  assert.ok(small.length < 120, `${small.length} bytes`);
});

test('summary - a sum that is too large for the wire is as large as can be, and can be read', () => {
  const view = viewOf([100]);
  const sender = { server: 's0', incarnation: 1 };
  const summary = summarize(view, new Map([['s0', loadOf({ bytes: 1e300, temperature: -1e300 })]]));
  const read = decodeSummary(encodeSummary({ ...summary, sender }));
  assert.deepEqual(read, { ...summary, sender });
  assert.ok(summary.loads.bytes.sum > 9e12 && (summary.loads.temperature.sum ?? 0) < -9e12);
});

test('summary - fields of newer versions are passed over, and what is missing, too large or no number is refused', () => {
  const view = viewOf([100, 100]);
  const said = {
    ...summarize(view, new Map([['s1', loadOf({ cpu: 0.5 })]])),
    sender: { server: 's0', incarnation: 1 },
  };
  const fields = unpack(encodeSummary(said)) as unknown[];
  const [sums, told] = fields.slice(-2) as number[][];
  const changed = (index: number, value: unknown) =>
    decodeSummary(pack(fields.map((f, i) => (i === index ? value : f))));
  assert.deepEqual(decodeSummary(pack([...fields, 'more', [1, 2]])), said);
  assert.deepEqual(changed(12, [...sums, 5]), said);
  assert.deepEqual(changed(13, [...told, 5]), said);

  assert.equal(decodeSummary(pack(fields.slice(0, -1))), undefined);
  assert.equal(decodeSummary(pack([...fields, 'x'.repeat(2_000)])), undefined, 'more than a newer version may add');
  const refused: [index: number, value: unknown][] = [
    ...([
      [0, 2],
      [1, 'a.b'],
      [1, ''],
      [2, -1],
      [2, 0.5],
      [3, 'x'.repeat(65)],
      [4, null],
      [11, 1],
    ] as [number, unknown][]),
    ...[5, 6, 7, 8, 9, 10].flatMap((index): [number, unknown][] =>
      [-1, 1.5, '1', limits.groupMembers + 1].map((v) => [index, v]),
    ),
    ...([
      [12, sums.slice(1)],
      [12, sums.map(() => -1)],
      [12, sums.map(() => null)],
      [12, 5],
    ] as [number, unknown][]),
    ...([
      [13, told.slice(1)],
      [13, told.map(() => 3)],
      [13, told.map(() => -1)],
      [13, undefined],
    ] as [number, unknown][]),
  ];
  for (const [index, value] of refused) assert.equal(changed(index, value), undefined, `${index}: ${value}`);
  // As many members as a group can have, but not in each state.
  assert.ok(changed(7, limits.groupMembers - 2) !== undefined);
  assert.equal(changed(7, limits.groupMembers - 1), undefined);
});

test('summary - servers are counted by what they do, and each member but those on their way counts once', () => {
  const rules = { ...defaultRules, availability: 'n-plus-m' as const };
  const members = [
    100,
    100,
    { movesTo: 'g2' },
    { state: 'draining' as const, movesTo: 'g2' },
    { state: 'draining' as const },
    { state: 'joining' as const },
    { standsFor: [], weight: 0 },
    { standsFor: [], weight: 0, state: 'joining' as const },
  ];
  const { loads: _, ...counts } = summarize({ ...viewOf(members), rules, number: 7 }, new Map());
  assert.deepEqual(counts, {
    ...{ group: 'g1', view: 7, servers: 2, leaving: 1, joining: 1, draining: 2, moving: 2, standbys: 2 },
    isFixed: false,
  });
  const fixed = { ...viewOf(members), rules: { ...rules, availability: 'active-passive' as const } };
  assert.equal(summarize(fixed, new Map()).isFixed, true);
});

test('summary - sums are over servers that take flows, those on their way among them, as far as they told', () => {
  const view = viewOf([
    100,
    { movesTo: 'g2' },
    { state: 'draining', movesTo: 'g2' },
    { state: 'draining' },
    { state: 'joining' },
    { standsFor: [], weight: 0 },
    100,
  ]);
  const loads = new Map(view.members.map(({ server }, index) => [server, loadOf({ cpu: 0.1, flows: 10 ** index })]));
  loads.set('stranger', loadOf({ cpu: 9, flows: 9 }));
  loads.set('s1', loadOf({ cpu: 0.2, flows: 10, temperature: -40.5 }));
  loads.delete('s6');
  const { cpu, flows, temperature, latencyMs } = summarize(view, loads).loads;
  assert.deepEqual(cpu, { sum: 0.3, told: 2 }, '0.1 and 0.2 in whole thousandths');
  assert.deepEqual(flows, { sum: 11, told: 2 });
  assert.deepEqual(temperature, { sum: -40.5, told: 1 });
  assert.deepEqual(latencyMs, { sum: 0, told: 0 });
  const nearZero = summarize(view, new Map([['s0', loadOf({ temperature: -0.0002 })]]));
  assert.deepEqual(nearZero.loads.temperature, { sum: 0, told: 1 }, 'there is no negative zero');
});
