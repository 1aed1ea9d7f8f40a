// What the flow table costs: time to find a flow, bytes a flow, and the longest that one insert makes a packet wait.

import { FlowState } from '../../services/dssl/flowEntry.ts';
import { FlowTable } from '../../services/dssl/flowTable.ts';

export interface FlowTableBench {
  /** Mean time of a find that hits, flows in random order, by table size. */
  readonly findHitNs: { readonly at100k: number; readonly at1M: number };
  /** The same with a first pass of `prefetch` over batches of 32. */
  readonly findHitPrefetchedNs: { readonly at1M: number };
  /** The same for a Map with string keys of the two hash halves. */
  readonly mapFindNs: { readonly at1M: number };
  readonly insertNs: { readonly at10M: number };
  readonly bytesPerFlow: { readonly at1M: number; readonly at10M: number };
  /**
   * Longest single insert out of 10^7 into one growing table, each timed by performance.now: growth, splits, garbage
   * collection and whatever else the machine did at that moment.
   */
  readonly growthPauseMsMax: number;
  /** The inserts among them that grew or split a segment: how long the middle one took, and 99 % at most. */
  readonly growthMs: { readonly median: number; readonly p99: number };
  /** Most entries that one growth moved: the part of the pause that belongs to the table. */
  readonly growthMaxEntries: number;
}

const idleTicks = new Int32Array(64).fill(6_000);
const finds = 2_000_000;

/** Runs all measurements; about ten seconds and 600 MB. */
export function benchFlowTable(): FlowTableBench {
  const small = filled(100_000);
  const findSmall = findNs(small, 100_000, false);
  const large = filled(1_000_000);
  const findLarge = findNs(large, 1_000_000, false);
  const findPrefetched = findNs(large, 1_000_000, true);
  const growth = growTo(10_000_000);
  return {
    findHitNs: { at100k: findSmall, at1M: findLarge },
    findHitPrefetchedNs: { at1M: findPrefetched },
    mapFindNs: { at1M: mapFindNs(1_000_000) },
    insertNs: { at10M: growth.insertNs },
    bytesPerFlow: { at1M: large.capacityBytes / large.size, at10M: growth.bytesPerFlow },
    growthPauseMsMax: growth.pauseMsMax,
    growthMs: growth.growthMs,
    growthMaxEntries: growth.maxEntries,
  };
}

/** Hash halves of flow number `index`: the finalizer of MurmurHash3, a bijection, with two seeds. */
function mix(index: number, seed: number): number {
  let h = index ^ seed;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return h ^ (h >>> 16);
}

function hiOf(index: number): number {
  return mix(index, 0x3c6e_f372);
}

function loOf(index: number): number {
  return mix(index, 0x1b87_3593);
}

function filled(flows: number): FlowTable {
  const table = new FlowTable({ maxFlows: 2 * flows, idleTicks });
  for (let index = 0; index < flows; index++) table.insert(hiOf(index), loOf(index), 0, 1, FlowState.established, 1);
  return table;
}

function findNs(table: FlowTable, flows: number, prefetched: boolean): number {
  const order = new Int32Array(finds);
  for (let turn = 0; turn < finds; turn++) order[turn] = (mix(turn, 7) >>> 0) % flows;
  let found = 0;
  let folded = 0;
  const start = process.hrtime.bigint();
  for (let from = 0; from < finds; from += 32) {
    if (prefetched) {
      for (let turn = from; turn < from + 32; turn++) folded ^= table.prefetch(hiOf(order[turn]), loOf(order[turn]));
    }
    for (let turn = from; turn < from + 32; turn++) {
      if (table.find(hiOf(order[turn]), loOf(order[turn]), 1) >= 0) found++;
    }
  }
  const ns = Number(process.hrtime.bigint() - start) / finds;
  if (found !== finds || folded === 0.5) throw new Error(`found ${found} of ${finds}`);
  return ns;
}

function mapFindNs(flows: number): number {
  const map = new Map<string, number>();
  for (let index = 0; index < flows; index++) map.set(`${hiOf(index)}:${loOf(index)}`, index);
  let found = 0;
  const start = process.hrtime.bigint();
  for (let turn = 0; turn < finds; turn++) {
    const index = (mix(turn, 7) >>> 0) % flows;
    if (map.get(`${hiOf(index)}:${loOf(index)}`) !== undefined) found++;
  }
  const ns = Number(process.hrtime.bigint() - start) / finds;
  if (found !== finds) throw new Error(`found ${found} of ${finds}`);
  return ns;
}

function growTo(flows: number) {
  const table = new FlowTable({ maxFlows: flows, idleTicks });
  const begin = performance.now();
  let pauseMsMax = 0;
  const growthsMs: number[] = [];
  let growths = 0;
  let before = begin;
  for (let index = 0; index < flows; index++) {
    table.insert(hiOf(index), loOf(index), 0, index & 7, FlowState.established, 1);
    const after = performance.now();
    if (after - before > pauseMsMax) pauseMsMax = after - before;
    if (table.counters.grown + table.counters.split !== growths) {
      growths = table.counters.grown + table.counters.split;
      growthsMs.push(after - before);
    }
    before = after;
  }
  growthsMs.sort((a, b) => a - b);
  return {
    insertNs: ((before - begin) * 1e6) / flows,
    bytesPerFlow: table.capacityBytes / table.size,
    pauseMsMax,
    growthMs: { median: growthsMs[growthsMs.length >> 1], p99: growthsMs[Math.floor(growthsMs.length * 0.99)] },
    maxEntries: table.counters.growthMaxEntries,
  };
}

if (import.meta.main) console.log(benchFlowTable());
