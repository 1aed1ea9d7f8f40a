// The flow table against a model that is written as its header reads: entries expire, slices are bounded, flows give way by
// what they are, and nothing of it depends on where entries lie.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  EndReason,
  FlowState,
  idleIndexOf,
  idleLimitCount,
  noBackup,
  ownerOf,
  packInfo,
  protocolClassCount,
  stateOf,
  withState,
} from '../../../../../services/dssl/replica/flows/entry.ts';
import { FlowTable, restTicks } from '../../../../../services/dssl/replica/flows/table.ts';
import { limits } from '../../../../../shared/base/limits.ts';

const tcp = 1;
const self = 1;

/** By state: 100 ticks unconfirmed, 1,000 established, 50 closing, 400 half-closed, 70 reset. */
const limitOf = [100, 1_000, 50, 400, 70, 70, 0, 400];
/** Limits that differ by class and state: class 1 has these, the others eight times as much. */
const idleTicks = new Int32Array(idleLimitCount);
for (let protocolClass = 0; protocolClass < protocolClassCount; protocolClass++) {
  for (const state of Object.values(FlowState)) {
    const index = idleIndexOf(packInfo(0, 0, state, protocolClass));
    idleTicks[index] = limitOf[state] * (protocolClass === tcp ? 1 : 8);
  }
}

type FlowEnd = (hi: number, lo: number, info: number, reason: EndReason) => void;

function newTable(maxFlows = 1_000_000, onEnd?: FlowEnd): FlowTable {
  return new FlowTable({ maxFlows, idleTicks, ...(onEnd && { onEnd }) });
}

// Hashes of two slices that meet: few hi, and lo in narrow runs at both ends and around the sign bit, so that homes collide.
const keys = [0, 1, 0x00ff_ffff, -1, -2].flatMap((hi) =>
  [0, 0x7fff_fff8, 0x8000_0000 | 0, -4].flatMap((base) =>
    Array.from({ length: 4 }, (_, index) => [hi, (base + index) | 0] as const),
  ),
);

interface Modelled {
  readonly hi: number;
  readonly lo: number;
  lastSeen: number;
  info: number;
}

/** What the table's header says of one slice, with a list and a sort. */
class SliceModel {
  flows: Modelled[] = [];
  allowance: number;
  restUntil = 0;
  readonly #cap: number;

  constructor(cap: number) {
    this.#cap = cap;
    this.allowance = cap;
  }

  find(hi: number, lo: number, tick: number): Modelled | undefined {
    return this.flows.find((flow) => flow.hi === hi && flow.lo === lo && !isOver(flow, tick));
  }

  /** Victims, or undefined when the flow is refused. */
  insert(flow: Modelled, tick: number): readonly Modelled[] | undefined {
    let victims: readonly Modelled[] = [];
    if (this.allowance === 0) {
      if (tick < this.restUntil) return undefined;
      const living = this.flows.filter((each) => !isOver(each, tick));
      const batch = Math.max(1, Math.floor(this.#cap / 16));
      const mayGo = living.filter((each) => rankOf(each, tick) < 3).sort((a, b) => goesFirst(a, b, tick));
      victims = mayGo.slice(0, Math.max(0, living.length + batch - this.#cap));
      this.flows = living.filter((each) => !victims.includes(each));
      this.allowance = this.#cap - this.flows.length;
      this.restUntil = this.allowance < batch ? tick + restTicks : tick;
      if (this.allowance === 0) return undefined;
    }
    this.allowance--;
    this.flows.push(flow);
    return victims;
  }
}

/** Unconfirmed, ended, silent for five minutes; 3 for what never goes. */
function rankOf({ info, lastSeen }: Modelled, tick: number): number {
  const state = stateOf(info);
  if (state === FlowState.unconfirmed) return 0;
  if ([FlowState.closing, FlowState.resetByFirst, FlowState.resetBySecond].some((each) => each === state)) return 1;
  return tick - lastSeen >= 3_000 ? 2 : 3;
}

function goesFirst(a: Modelled, b: Modelled, tick: number): number {
  const rank = rankOf(a, tick);
  const age = ({ lastSeen }: Modelled) => Math.floor((tick - lastSeen) / (rank === 2 ? 50 : 1));
  return rank - rankOf(b, tick) || age(b) - age(a) || (a.hi >>> 0) - (b.hi >>> 0) || (a.lo >>> 0) - (b.lo >>> 0);
}

function isOver({ lastSeen, info }: Modelled, tick: number): boolean {
  return tick - lastSeen > idleTicks[idleIndexOf(info)];
}

const operation = fc.record({
  kind: fc.constantFrom('find', 'insert', 'insert', 'insert', 'meet', 'remove', 'setState', 'sweep', 'copy'),
  key: fc.nat(keys.length - 1),
  advance: fc.oneof({ arbitrary: fc.nat(8), weight: 12 }, { arbitrary: fc.nat(400), weight: 1 }),
  owner: fc.constantFrom(0, 1, 2, 63, 64, 4_093),
  state: fc.constantFrom(...Object.values(FlowState)),
  protocolClass: fc.constantFrom(0, tcp, 15),
});

test('flow table - behaves as its header says, swept or not, copied slice by slice or not', () => {
  const operations = fc.array(operation, { minLength: 1, maxLength: 400, size: 'max' });
  fc.assert(
    fc.property(fc.constantFrom(1, 2, 5, 16, 40, 1_000), operations, (cap, steps) => {
      const told = { expired: new Set<string>(), evicted: [] as string[] };
      let table = newTable(256 * cap, (hi, lo, _info, reason) => {
        if (reason === EndReason.evicted) told.evicted.push(`${hi}:${lo}`);
        else told.expired.add(`${hi}:${lo}`);
      });
      const models = new Map([0, 255].map((slice) => [slice, new SliceModel(cap)] as const));
      const evicted: string[] = [];
      let tick = 1;
      for (const { kind, key, advance, owner, state, protocolClass } of steps) {
        tick += advance;
        const [hi, lo] = keys[key];
        const model = models.get(hi >>> 24) as SliceModel;
        if (kind === 'sweep') table.sweepSlice(hi >>> 24, tick);
        if (kind === 'copy') table = copyOf(table, cap, tick, told.evicted);
        const known = model.find(hi, lo, tick);
        const handle = kind === 'meet' ? table.meet(hi, lo, tick) : table.find(hi, lo, tick);
        assert.equal(handle >= 0, known !== undefined);
        if (known !== undefined) {
          assert.equal(table.foundInfo, known.info);
          if (kind === 'meet') known.lastSeen = tick;
          assert.equal(table.lastSeen(handle), known.lastSeen);
        }
        if (kind === 'insert' && known === undefined) {
          const inserted = table.insert(hi, lo, tick, owner, state, protocolClass);
          const info = packInfo(owner, noBackup, state, protocolClass);
          const victims = model.insert({ hi, lo, lastSeen: tick, info }, tick);
          assert.equal(inserted >= 0, victims !== undefined);
          for (const victim of victims ?? []) evicted.push(`${victim.hi}:${victim.lo}`);
        } else if (kind === 'remove' && known !== undefined) {
          table.remove(handle);
          model.flows.splice(model.flows.indexOf(known), 1);
        } else if (kind === 'setState' && known !== undefined) {
          table.setState(handle, state);
          known.info = withState(known.info, state);
        }
        assert.deepEqual(told.evicted.toSorted(), evicted.toSorted());
      }
      for (const [slice, { flows, allowance, restUntil }] of models) {
        const content = table.content(slice, tick);
        const living = flows.filter((flow) => !isOver(flow, tick));
        const expected = living.map(({ hi, lo, lastSeen, info }) => `${hi} ${lo} ${lastSeen} ${info}`);
        assert.deepEqual(textOf(content.entries).toSorted(), expected.toSorted());
        assert.deepEqual([content.allowance, content.rest], [allowance, Math.max(0, restUntil - tick)]);
        table.sweepSlice(slice, tick);
      }
      const living = [...models.values()].flatMap(({ flows }) => flows.filter((flow) => !isOver(flow, tick)));
      assert.equal(table.size, living.length);
      for (const owner of [0, 1, 2, 63, 64, 4_093]) {
        const own = living.filter(({ info }) => ownerOf(info) === owner);
        assert.equal(table.countByOwner(owner), own.length);
        assert.equal(table.endedByOwner(owner), own.filter((flow) => rankOf(flow, tick) === 1).length);
      }
    }),
    { numRuns: 400, seed: 2 },
  );
});

/** Another table that got the slices of this one; equal by its digests. */
function copyOf(table: FlowTable, cap: number, tick: number, evicted: string[]): FlowTable {
  const copy = newTable(256 * cap, (hi, lo, _info, reason) => {
    if (reason === EndReason.evicted) evicted.push(`${hi}:${lo}`);
  });
  for (const slice of [0, 255]) {
    assert.ok(copy.load(slice, table.content(slice, tick), tick));
    assert.equal(copy.digest(slice, tick), table.digest(slice, tick));
  }
  return copy;
}

function textOf(entries: Int32Array): string[] {
  return Array.from({ length: entries.length / 4 }, (_, index) => entries.subarray(4 * index, 4 * index + 4).join(' '));
}

test('flow table - an entry lives up to its own limit and is gone one tick later, also where ticks wrap', () => {
  const cases = [
    { state: FlowState.unconfirmed, protocolClass: tcp, limit: 100 },
    { state: FlowState.established, protocolClass: tcp, limit: 1_000 },
    { state: FlowState.closing, protocolClass: tcp, limit: 50 },
    { state: FlowState.halfClosedByFirst, protocolClass: tcp, limit: 400 },
    { state: FlowState.halfClosedBySecond, protocolClass: tcp, limit: 400 },
    { state: FlowState.resetByFirst, protocolClass: 2, limit: 560 },
    { state: FlowState.resetBySecond, protocolClass: tcp, limit: 70 },
    { state: FlowState.established, protocolClass: 2, limit: 8_000 },
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

test('flow table - owner, backup and state of an entry do not disturb one another', () => {
  const field = fc.record({ backup: fc.nat(4_095), state: fc.constantFrom(...Object.values(FlowState)) });
  fc.assert(
    fc.property(fc.nat(4_093), field, field, (owner, first, second) => {
      const table = newTable();
      const handle = table.insert(3, 4, 0, owner, first.state, 15);
      for (const { backup, state } of [first, second]) {
        table.setBackup(handle, backup);
        table.setState(handle, state);
        assert.equal(table.info(handle), packInfo(owner, backup, state, 15));
      }
      assert.equal(table.find(3, 4, 0), handle);
    }),
  );
});

test('flow table - a flood of starts pushes out starts, never an established flow', () => {
  const ended = new Set<string>();
  const table = newTable(256 * 100, (_hi, _lo, info, reason) => ended.add(`${stateOf(info)} ${reason}`));
  const spread = (index: number) => Math.imul(index, 0x9e37_79b1);
  for (let flow = 0; flow < 50; flow++) table.insert(flow, spread(flow), 0, self, FlowState.established, tcp);
  for (let flow = 50; flow < 5_000; flow++) table.insert(flow, spread(flow), 1, self, FlowState.unconfirmed, tcp);
  assert.ok(table.size > 90 && table.size <= 100);
  for (let flow = 0; flow < 50; flow++) assert.notEqual(table.find(flow, spread(flow), 1), -1);
  const { inserted, evicted, refusedFull } = table.counters;
  assert.deepEqual([inserted, inserted - evicted, refusedFull], [5_000, table.size, 0]);
  assert.deepEqual(ended, new Set([`${FlowState.unconfirmed} ${EndReason.evicted}`]));
});

test('flow table - full of established flows, a slice refuses new ones and rests, until one of them is over', () => {
  const table = newTable(256 * 3);
  for (const lo of [10, 20, 30]) table.insert(0, lo, lo === 10 ? 0 : 500, self, FlowState.established, tcp);
  assert.equal(table.insert(0, 40, 996, self, FlowState.unconfirmed, tcp), -1);
  assert.equal(table.insert(0, 40, 1_001, self, FlowState.unconfirmed, tcp), -1, 'one is over, but the slice rests');
  assert.notEqual(table.insert(1 << 24, 40, 1_001, self, FlowState.unconfirmed, tcp), -1, 'another slice does not');
  assert.notEqual(table.insert(0, 40, 1_006, self, FlowState.unconfirmed, tcp), -1);
  assert.equal(table.counters.refusedFull, 2);
});

test('flow table - flows that were silent for five minutes give way when there is nothing else, the most silent first', () => {
  const table = newTable(256 * 32);
  for (let lo = 0; lo < 32; lo++) table.insert(0, lo, 100 * lo, self, FlowState.established, 2);
  assert.equal(table.insert(0, 99, 2_999, self, FlowState.unconfirmed, 2), -1);
  assert.notEqual(table.insert(0, 99, 3_110, self, FlowState.unconfirmed, 2), -1);
  assert.deepEqual(
    [0, 1, 2].map((lo) => table.find(0, lo, 3_110) !== -1),
    [false, false, true],
  );
});

test('flow table - another bound holds from the next new flow on', () => {
  const table = newTable(256 * 8);
  for (let lo = 0; lo < 8; lo++) table.insert(0, lo, lo, self, FlowState.unconfirmed, tcp);
  table.setMaxFlows(256 * 4, () => true);
  assert.equal(table.size, 8);
  table.insert(0, 100, 9, self, FlowState.unconfirmed, tcp);
  assert.deepEqual(textOf(table.content(0, 9).entries).length, 4);
  table.setMaxFlows(256 * 8, (slice) => slice !== 0);
  table.insert(0, 101, 10, self, FlowState.unconfirmed, tcp);
  assert.equal(table.content(0, 10).entries.length / 4, 8 - 8 / 2 + 1 - 1 + 1);
});

test('flow table - a digest tells apart all that is in a slice', () => {
  const sums = new Set<number>();
  const change = (make: (table: FlowTable) => void) => {
    const table = newTable(256 * 8);
    make(table);
    sums.add(table.digest(0, 20));
  };
  const add = (table: FlowTable, lo = 5, tick = 10, owner = 1, state: FlowState = FlowState.established) =>
    table.insert(0, lo, tick, owner, state, tcp);
  change(() => undefined);
  change((table) => add(table));
  change((table) => add(table, 6));
  change((table) => add(table, 5, 11));
  change((table) => add(table, 5, 10, 2));
  change((table) => add(table, 5, 10, 1, FlowState.closing));
  change((table) => table.setBackup(add(table), 3));
  change((table) => table.remove(add(table)));
  change((table) => {
    add(table);
    table.setMaxFlows(256 * 8, () => true);
  });
  assert.equal(sums.size, 9);
  for (const sum of sums) assert.ok(Number.isSafeInteger(sum) && sum >= 0);
});

test('flow table - entries of an owner are forgotten where they are affected, and nobody is told', () => {
  const table = newTable(1_000_000, () => assert.fail('told'));
  for (const slice of [0, 1]) for (const owner of [1, 2]) table.insert(slice << 24, owner, 0, owner, 1, tcp);
  table.forgetOwner(1, (slice) => slice === 0);
  assert.deepEqual([table.countByOwner(1), table.countByOwner(2), table.size], [1, 2, 3]);
  assert.equal(table.find(0, 1, 0), -1);
  assert.notEqual(table.find(1 << 24, 1, 0), -1);
});

// Six flows in a group of three servers: server 1 serves flows 1, 3 and 5, server 2 flow 2, server 3 flows 4 and 6.
test('flow table - Figs. 8 and 9: own and elsewhere tables of three modules', () => {
  const owners = [1, 2, 1, 3, 1, 3];
  const table = newTable();
  for (const [index, owner] of owners.entries()) table.insert(0, index + 1, 0, owner, FlowState.established, tcp);
  const expected = [
    { server: 1, own: [1, 3, 5], elsewhere: ['2 at 2', '4 at 3', '6 at 3'] },
    { server: 2, own: [2], elsewhere: ['1 at 1', '3 at 1', '4 at 3', '5 at 1', '6 at 3'] },
    { server: 3, own: [4, 6], elsewhere: ['1 at 1', '2 at 2', '3 at 1', '5 at 1'] },
  ];
  for (const { server, own, elsewhere } of expected) {
    const found = { own: [] as number[], elsewhere: [] as string[] };
    for (let flow = 1; flow <= 6; flow++) {
      const owner = table.owner(table.find(0, flow, 1));
      if (owner === server) found.own.push(flow);
      else found.elsewhere.push(`${flow} at ${owner}`);
    }
    assert.deepEqual(found, { own, elsewhere });
    assert.equal(table.countByOwner(server), own.length);
  }
});

test('flow table - options out of range are refused', () => {
  assert.throws(() => newTable(0), RangeError);
  assert.throws(() => newTable(limits.tableFlows + 1), RangeError);
  assert.throws(() => new FlowTable({ maxFlows: 1, idleTicks: Int32Array.of(1, 2, 3) }), RangeError);
});
