// The flow table against a plain Map, its rules for expiry and for a full table, and the worked example of the patent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EndReason, FlowState, noBackup, ownerOf, stateOf } from '../../../../../services/dssl/replica/flows/entry.ts';
import { FlowTable } from '../../../../../services/dssl/replica/flows/table.ts';
import { clockJumpTicks } from '../../../../../services/dssl/replica/ticks.ts';

const tcp = 1;
const self = 1;

/** Limits that differ by class and state: class 1 has 100 / 1000 / 50 ticks, the others ten times that. */
const idleTicks = Int32Array.from(
  { length: 64 },
  (_, index) => [100, 1_000, 50, 0][index & 3] * (index >> 2 === tcp ? 1 : 10),
);

function newTable(options: { maxFlows?: number; maxOwn?: number; onEnd?: FlowEnd } = {}): FlowTable {
  return new FlowTable({ self, maxFlows: 1_000_000, idleTicks, ...options });
}

type FlowEnd = (hi: number, lo: number, info: number, reason: EndReason) => void;

// Hashes that meet: few hi, and lo in narrow runs at both ends and around the sign bit, so that homes collide.
const keys = [0, 1, -1, 0x4000_0000].flatMap((hi) =>
  [0, 0x7fff_fff8, 0x8000_0000 | 0, -8].flatMap((base) =>
    Array.from({ length: 8 }, (_, index) => [hi, (base + index) | 0] as const),
  ),
);

const operation = fc.record({
  kind: fc.constantFrom(
    'find',
    'insert',
    'insert',
    'insert',
    'touch',
    'remove',
    'setOwner',
    'setState',
    'sweep',
    'prune',
  ),
  key: fc.nat(keys.length - 1),
  advance: fc.oneof(
    { arbitrary: fc.integer({ min: 0, max: 60 }), weight: 12 },
    { arbitrary: fc.integer({ min: -40, max: 0 }), weight: 4 },
    { arbitrary: fc.integer({ min: -2 * clockJumpTicks, max: 2 * clockJumpTicks }), weight: 1 },
  ),
  owner: fc.constantFrom(0, 1, 2, 63, 64, 4_094),
  state: fc.constantFrom(FlowState.unconfirmed, FlowState.established, FlowState.closing),
  protocolClass: fc.constantFrom(0, tcp, 15),
});

interface Modelled {
  lastSeen: number;
  owner: number;
  state: FlowState;
  protocolClass: number;
}

function isOver(flow: Modelled, tick: number): boolean {
  const age = (tick - flow.lastSeen) | 0;
  return age > idleTicks[flow.protocolClass * 4 + flow.state] || age < -clockJumpTicks;
}

test('flow table - behaves as a Map whose entries expire, with late packets, clocks set back and ticks that wrap', () => {
  const starts = fc.constantFrom(0, 0x7fff_ffff, -20, 0x8000_0000 | 0);
  fc.assert(
    fc.property(starts, fc.array(operation, { minLength: 1, maxLength: 400, size: 'max' }), (start, operations) => {
      const ended: string[] = [];
      const table = newTable({ onEnd: (hi, lo, info, reason) => ended.push(`${hi}:${lo}:${ownerOf(info)}:${reason}`) });
      const model = new Map<string, Modelled>();
      const expected: string[] = [];
      let tick = start;
      const forget = (name: string, flow: Modelled) => {
        model.delete(name);
        expected.push(`${name}:${flow.owner}:${EndReason.expired}`);
      };
      for (const { kind, key, advance, owner, state, protocolClass } of operations) {
        tick = (tick + advance) | 0;
        const [hi, lo] = keys[key];
        const name = `${hi}:${lo}`;
        if (kind === 'sweep') {
          table.sweep(1_000_000, tick);
          table.sweep(1_000_000, tick);
          for (const [other, flow] of model) if (isOver(flow, tick)) forget(other, flow);
          continue;
        }
        if (kind === 'prune') {
          assert.equal(
            table.prune(0, 1_000_000, (_hi, _lo, _seen, info) => ownerOf(info) === owner),
            -1,
          );
          for (const [other, flow] of model) if (flow.owner === owner) model.delete(other);
          continue;
        }
        const handle = table.find(hi, lo, tick);
        const known = model.get(name);
        if (known !== undefined && isOver(known, tick)) forget(name, known);
        const flow = model.get(name);
        assert.equal(handle >= 0, flow !== undefined);
        if (kind === 'insert') {
          const inserted = table.insert(hi, lo, tick, owner, state, protocolClass);
          model.set(name, { lastSeen: tick, owner, state, protocolClass });
          assert.equal(table.backup(inserted), noBackup);
          assert.equal(table.owner(inserted), owner);
        } else if (flow !== undefined) {
          if (kind === 'touch') {
            table.touch(handle, tick);
            if (((tick - flow.lastSeen) | 0) > 0) flow.lastSeen = tick;
          } else if (kind === 'remove') {
            table.remove(handle);
            model.delete(name);
          } else if (kind === 'setOwner') {
            table.setOwner(handle, owner);
            flow.owner = owner;
          } else if (kind === 'setState') {
            table.setState(handle, state);
            flow.state = state;
          }
        }
      }
      assert.deepEqual(
        contents(table),
        new Map([...model].map(([name, flow]) => [name, `${flow.lastSeen}:${flow.owner}:${flow.state}`])),
      );
      assert.equal(table.size, model.size);
      assert.deepEqual(ended.sort(), expected.sort());
      assert.equal(table.counters.expired, expected.length);
      for (const owner of [0, 1, 2, 63, 64, 4_094]) {
        const counted = [...model.values()].filter((flow) => flow.owner === owner).length;
        assert.equal(table.countByOwner(owner), counted);
      }
    }),
    { numRuns: 300 },
  );
});

function contents(table: FlowTable): Map<string, string> {
  const seen = new Map<string, string>();
  const end = table.scan(0, Number.MAX_SAFE_INTEGER, (hi, lo, lastSeen, info, handle) => {
    assert.equal(table.info(handle), info);
    assert.ok(!seen.has(`${hi}:${lo}`));
    seen.set(`${hi}:${lo}`, `${lastSeen}:${ownerOf(info)}:${stateOf(info)}`);
  });
  assert.equal(end, -1);
  return seen;
}

test('flow table - an entry lives up to its own limit and is gone one tick later', () => {
  const cases = [
    { state: FlowState.unconfirmed, protocolClass: tcp, limit: 100 },
    { state: FlowState.established, protocolClass: tcp, limit: 1_000 },
    { state: FlowState.closing, protocolClass: tcp, limit: 50 },
    { state: FlowState.established, protocolClass: 2, limit: 10_000 },
  ];
  for (const { state, protocolClass, limit } of cases) {
    for (const start of [5, 0x7fff_fff0, -10]) {
      const table = newTable();
      table.insert(7, 8, start, self, state, protocolClass);
      assert.notEqual(table.find(7, 8, (start + limit) | 0), -1);
      assert.equal(table.find(7, 8, (start + limit + 1) | 0), -1);
      assert.equal(table.size, 0);
      assert.equal(table.counters.expired, 1);
    }
  }
});

test('flow table - a late packet leaves an entry as young as it was; a clock set back ends it', () => {
  const table = newTable();
  const handle = table.insert(1, 1, 1_000, self, FlowState.unconfirmed, tcp);
  table.touch(handle, 990);
  assert.equal(table.lastSeen(handle), 1_000);
  assert.notEqual(table.find(1, 1, 1_000 - clockJumpTicks), -1);
  table.touch(handle, 999 - clockJumpTicks);
  assert.equal(table.lastSeen(handle), 999 - clockJumpTicks);
  table.touch(handle, 1_000);
  assert.equal(table.find(1, 1, 999 - clockJumpTicks), -1);
});

test('flow table - to meet an entry is to find and to touch it', () => {
  const table = newTable();
  const handle = table.insert(1, 1, 1_000, 7, FlowState.unconfirmed, tcp);
  assert.equal(table.meet(1, 1, 1_090), handle);
  assert.equal(table.lastSeen(handle), 1_090);
  assert.equal(table.foundInfo, table.info(handle));
  assert.equal(table.meet(1, 1, 1_080), handle);
  assert.equal(table.lastSeen(handle), 1_090);
  assert.equal(table.find(1, 1, 1_180), handle);
  assert.equal(table.lastSeen(handle), 1_090);
  assert.equal(table.meet(1, 1, 1_191), -1);
});

test('flow table - owner, backup, state and mark of an entry do not disturb one another', () => {
  const field = fc.record({
    owner: fc.nat(4_094),
    backup: fc.nat(4_095),
    state: fc.constantFrom(0 as const, 1 as const, 2 as const),
    mark: fc.boolean(),
  });
  fc.assert(
    fc.property(field, field, (first, second) => {
      const table = newTable();
      const handle = table.insert(3, 4, 0, first.owner, first.state, 15);
      for (const { owner, backup, state, mark } of [first, second]) {
        table.setBackup(handle, backup);
        table.setOwner(handle, owner);
        table.setMark(handle, mark);
        table.setState(handle, state);
        const read = [table.owner(handle), table.backup(handle), table.state(handle), table.marked(handle)];
        assert.deepEqual(read, [owner, backup, state, mark]);
      }
      assert.equal((table.info(handle) >>> 26) & 15, 15);
      assert.equal(table.find(3, 4, 0), handle);
    }),
  );
});

test('flow table - a flood of starts pushes out starts, never an established flow', () => {
  const ended: number[] = [];
  const table = newTable({ maxFlows: 1_000, onEnd: (_hi, _lo, info, reason) => ended.push(stateOf(info), reason) });
  const spread = (index: number) => Math.imul(index, 0x9e37_79b1);
  for (let flow = 0; flow < 500; flow++) table.insert(flow, spread(flow), 0, self, FlowState.established, tcp);
  for (let flow = 500; flow < 20_000; flow++) table.insert(flow, spread(flow), 1, self, FlowState.unconfirmed, tcp);
  assert.equal(table.size, 1_000);
  for (let flow = 0; flow < 500; flow++) assert.notEqual(table.find(flow, spread(flow), 1), -1);
  const { inserted, evictedUnconfirmed, refusedFull } = table.counters;
  assert.equal(inserted - evictedUnconfirmed, 1_000);
  assert.equal(inserted + refusedFull, 20_000);
  assert.ok(evictedUnconfirmed > 10_000);
  assert.equal(ended.length, 2 * evictedUnconfirmed);
  assert.deepEqual(new Set(ended), new Set([FlowState.unconfirmed, EndReason.evicted]));
});

test('flow table - full of established flows, it refuses new ones until one of them expires', () => {
  const table = newTable({ maxFlows: 3 });
  for (const lo of [10, 20, 30]) table.insert(0, lo, 0, self, FlowState.established, tcp);
  assert.equal(table.insert(0, 40, 1_000, self, FlowState.unconfirmed, tcp), -1);
  assert.equal(table.counters.refusedFull, 1);
  assert.notEqual(table.insert(0, 20, 1_000, self, FlowState.established, tcp), -1);
  assert.notEqual(table.insert(0, 40, 1_001, self, FlowState.unconfirmed, tcp), -1);
  assert.equal(table.find(0, 10, 500), -1);
  assert.notEqual(table.find(0, 30, 500), -1);
  assert.equal(table.size, 3);
});

test('flow table - of the unconfirmed flows the one silent longest gives way', () => {
  const table = newTable({ maxFlows: 3 });
  table.insert(0, 1, 8, self, FlowState.unconfirmed, tcp);
  table.insert(0, 2, 5, self, FlowState.unconfirmed, tcp);
  table.insert(0, 3, 7, self, FlowState.unconfirmed, tcp);
  table.insert(0, 4, 9, self, FlowState.unconfirmed, tcp);
  assert.deepEqual([...contents(table).keys()], ['0:1', '0:3', '0:4']);
});

test('flow table - a bound on own flows lets only own flows give way, and elsewhere flows pass', () => {
  const table = newTable({ maxFlows: 100, maxOwn: 2 });
  table.insert(0, 1, 0, 2, FlowState.unconfirmed, tcp);
  table.insert(0, 2, 1, self, FlowState.unconfirmed, tcp);
  table.insert(0, 3, 2, self, FlowState.established, tcp);
  assert.notEqual(table.insert(0, 4, 3, self, FlowState.established, tcp), -1);
  assert.equal(table.insert(0, 5, 3, self, FlowState.established, tcp), -1);
  assert.notEqual(table.insert(0, 6, 3, 2, FlowState.unconfirmed, tcp), -1);
  assert.deepEqual([...contents(table).keys()], ['0:1', '0:3', '0:4', '0:6']);
});

// Six flows in a group of three servers: server 1 serves flows 1, 3 and 5, server 2 flow 2, server 3 flows 4 and 6.
test('flow table - Figs. 8 and 9: own and elsewhere tables of three modules', () => {
  const ownerOfFlow = new Map([
    [1, 1],
    [2, 2],
    [3, 1],
    [4, 3],
    [5, 1],
    [6, 3],
  ]);
  const expected = [
    { server: 1, own: [1, 3, 5], elsewhere: ['2 at 2', '4 at 3', '6 at 3'] },
    { server: 2, own: [2], elsewhere: ['1 at 1', '3 at 1', '4 at 3', '5 at 1', '6 at 3'] },
    { server: 3, own: [4, 6], elsewhere: ['1 at 1', '2 at 2', '3 at 1', '5 at 1'] },
  ];
  for (const { server, own, elsewhere } of expected) {
    const table = new FlowTable({ self: server, maxFlows: 100, idleTicks });
    for (const [flow, owner] of ownerOfFlow) table.insert(0, flow, 0, owner, FlowState.established, tcp);
    const found = { own: [] as number[], elsewhere: [] as string[] };
    for (const flow of ownerOfFlow.keys()) {
      const owner = table.owner(table.find(0, flow, 1));
      if (owner === server) found.own.push(flow);
      else found.elsewhere.push(`${flow} at ${owner}`);
    }
    assert.deepEqual(found, { own, elsewhere });
    assert.equal(table.countByOwner(server), own.length);
    assert.equal(table.size - table.countByOwner(server), elsewhere.length);
  }
});

test('flow table - options out of range are refused', () => {
  assert.throws(() => newTable({ maxFlows: 0 }), RangeError);
  assert.throws(() => newTable({ maxOwn: 0 }), RangeError);
  assert.throws(() => new FlowTable({ self: 4_096, maxFlows: 1, idleTicks }), RangeError);
  assert.throws(() => new FlowTable({ maxFlows: 1, idleTicks: [1, 2, 3] }), RangeError);
});
