// What the flow table costs: time to find a flow, bytes a flow, and the longest that one insert makes a packet wait.

import { PerformanceObserver } from 'node:perf_hooks';
import { FlowState, idleLimitCount } from '../../../services/dssl/replica/flows/entry.ts';
import { FlowTable } from '../../../services/dssl/replica/flows/table.ts';
import { wordsPerRow } from '../../../shared/log/records/frame.ts';
import { usedBytes } from '../memory.ts';
import { type BenchmarkResult, rounded } from '../runner.ts';

const idleTicks = new Int32Array(idleLimitCount).fill(6_000);
const finds = 2_000_000;
/** Rounds of ten million inserts; of their longest pauses the middle one is told. */
const growthRounds = 3;
const owner = 1;

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  const rounds: { growth: ReturnType<typeof growTo>; garbage: Garbage; control: ReturnType<typeof controlLoop> }[] = [];
  for (let round = 1; round <= growthRounds; round++) {
    say(`flow table, 10,000,000 inserts, round ${round} of ${growthRounds}`);
    // In an empty heap, and before anything else: what the others leave behind would be collected here.
    await usedBytes();
    const watch = new GarbageWatch();
    const growth = growTo(10_000_000);
    const garbage = await watch.stop();
    rounds.push({ growth, garbage, control: controlLoop(growth.durationMs) });
  }
  rounds.sort((one, another) => one.growth.pauseMsMax - another.growth.pauseMsMax);
  const { growth, garbage: growthGarbage, control } = rounds[growthRounds >> 1];
  say('flow table, memory');
  const bytes = Math.max(await bytesPerFlow(1_000_000), await bytesPerFlow(1_500_000));
  say('flow table, look-ups');
  const small = findNs(filled(100_000), 100_000, false);
  const table = filled(1_000_000);
  const large = findNs(table, 1_000_000, false);
  const prefetched = findNs(table, 1_000_000, true);
  const map = mapFindNs(1_000_000);
  return {
    figures: [
      {
        key: 'bytesPerFlow',
        value: bytes,
        unit: 'bytes',
        target: { atMost: 20 },
        explain: { about: 'own flows and those of others differ in one number of their entries only' },
      },
      {
        key: 'growthPauseMsMax',
        value: growth.pauseMsMax,
        unit: 'ms',
        target: { atMost: 5 },
        explain: {
          inserts: growth.inserts,
          insertNs: rounded(growth.insertNs),
          growths: growth.growths,
          growthMs: growth.growthMs,
          otherPauseMsMax: rounded(growth.otherPauseMsMax),
          roundsMsMax: rounds.map((round) => rounded(round.growth.pauseMsMax)),
          growthMaxEntries: growth.maxEntries,
          bytesPerFlow: rounded(growth.bytesPerFlow),
          garbageCollections: growthGarbage.count,
          garbageCollectionMsMax: rounded(growthGarbage.msMax),
          garbageCollectionKinds: growthGarbage.kinds,
        },
      },
      {
        key: 'controlPauseMsMax',
        value: control.pauseMsMax,
        unit: 'ms',
        explain: { about: 'longest gap in a loop of the same duration that only reads the clock', ...control },
      },
      {
        key: 'findNs',
        value: { at100k: small, at1M: large, at1MPrefetched: prefetched, mapAt1M: map },
        unit: 'ns',
        explain: { about: 'a find that hits, flows in random order; beside a Map with string keys' },
      },
    ],
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
  for (let index = 0; index < flows; index++)
    table.insert(hiOf(index), loOf(index), 0, owner, FlowState.established, 1);
  return table;
}

/** What the process grows by for a table of so many flows, after garbage collection. */
async function bytesPerFlow(flows: number): Promise<number> {
  const before = await usedBytes();
  const table = filled(flows);
  const grown = (await usedBytes()) - before;
  // What else the process let go of meanwhile is not the table's merit.
  return Math.max(grown, table.capacityBytes) / table.size;
}

function findNs(table: FlowTable, flows: number, prefetched: boolean): number {
  const order = new Int32Array(finds);
  for (let turn = 0; turn < finds; turn++) order[turn] = (mix(turn, 7) >>> 0) % flows;
  const words = new Int32Array(32 * wordsPerRow);
  let found = 0;
  let folded = 0;
  const start = process.hrtime.bigint();
  for (let from = 0; from < finds; from += 32) {
    if (prefetched) {
      for (let row = 0; row < 32; row++) {
        words[row * wordsPerRow] = hiOf(order[from + row]);
        words[row * wordsPerRow + 1] = loOf(order[from + row]);
      }
      folded ^= table.prefetch(words, 32);
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
  const table = new FlowTable({ maxFlows: 2 * flows, idleTicks });
  const begin = performance.now();
  let pauseMsMax = 0;
  let otherPauseMsMax = 0;
  const growthsMs: number[] = [];
  let growths = 0;
  let before = begin;
  for (let index = 0; index < flows; index++) {
    table.insert(hiOf(index), loOf(index), 0, index & 7, FlowState.established, 1);
    const after = performance.now();
    if (after - before > pauseMsMax) pauseMsMax = after - before;
    if (table.counters.grown + table.counters.split === growths) {
      if (after - before > otherPauseMsMax) otherPauseMsMax = after - before;
    } else {
      growths = table.counters.grown + table.counters.split;
      growthsMs.push(after - before);
    }
    before = after;
  }
  growthsMs.sort((a, b) => a - b);
  const share = (part: number) => rounded(growthsMs[Math.floor((growthsMs.length - 1) * part)]);
  return {
    inserts: flows,
    durationMs: before - begin,
    insertNs: ((before - begin) * 1e6) / flows,
    bytesPerFlow: table.capacityBytes / table.size,
    pauseMsMax,
    growths,
    /** Longest insert that neither grew nor split anything: compilation, garbage collection, the machine. */
    otherPauseMsMax,
    /** Inserts that grew or split a segment: the middle one, 99 of 100, and the longest. */
    growthMs: { p50: share(0.5), p99: share(0.99), max: share(1) },
    maxEntries: table.counters.growthMaxEntries,
  };
}

/** The loop of `growTo` without its table: what it waits for is the machine. */
function controlLoop(durationMs: number) {
  const begin = performance.now();
  let pauseMsMax = 0;
  let over1Ms = 0;
  let turns = 0;
  let folded = 0;
  let before = begin;
  while (before - begin < durationMs) {
    for (let index = 0; index < 8; index++) folded ^= hiOf(turns + index) ^ loOf(turns + index);
    const after = performance.now();
    if (after - before > pauseMsMax) pauseMsMax = after - before;
    if (after - before > 1) over1Ms++;
    before = after;
    turns++;
  }
  if (folded === 0.5) throw new Error('never');
  return { pauseMsMax, gapsOver1Ms: over1Ms, turns };
}

type Garbage = Awaited<ReturnType<GarbageWatch['stop']>>;

/** Garbage collections while it watches. */
class GarbageWatch {
  readonly #kinds: Record<string, number> = {};
  #count = 0;
  #msMax = 0;
  readonly #observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      this.#count++;
      this.#msMax = Math.max(this.#msMax, entry.duration);
      const { kind } = (entry as PerformanceEntry & { detail: { kind: number } }).detail;
      const name = kindNames.get(kind) ?? `kind ${kind}`;
      this.#kinds[name] = (this.#kinds[name] ?? 0) + 1;
    }
  });

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  /** Entries come with the next turns of the event loop. */
  async stop() {
    await new Promise((resolve) => setTimeout(resolve, 20));
    this.#observer.disconnect();
    return { count: this.#count, msMax: this.#msMax, kinds: this.#kinds };
  }
}

const kindNames = new Map([
  [1, 'scavenge'],
  [4, 'mark-compact'],
  [8, 'incremental'],
  [16, 'weak callbacks'],
]);
