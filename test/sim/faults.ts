// What goes wrong in a run: a list of faults drawn from the seed before the run begins, so that one of them can be left
// out and everything else stays as it was. What really happened is kept, with its times, for the checkers: a packet may
// go unserved only where something here explains it.

import type { Prng } from '../../shared/base/prng.ts';

/** Kinds that are drawn together. */
const drawnKinds = [
  'pause', // a process stops for a while and comes back believing nothing happened
  'crash', // it dies, and is started again with empty memory
  'disconnect', // its connections break; what is under way is lost
  'slow-network', // its messages take long
  'partition', // the nodes of the bus are cut off from each other
  'slow-store', // operations of the key-value store take long
  'failing-store', // they fail, or are done without an answer
  'stale-store', // its history lags
  'store-emptied', // what is in it is gone; the operator writes the map again
  'clock-jump', // a process's wall clock is set
  'repeat-control', // control messages come twice
  'gossip-loss', // signs of life do not reach it
  'one-way', // what it says reaches nobody, or it hears nobody; now and then it loses the logs too
  'deaf-to-one', // what one server says to the others does not reach one of them
  'bus-restart', // all connections break at once, and come back one after the other
  'die', // a server dies and stays dead
  'die-appending', // a server dies while it appends a command, which is stored or not
  'slow-log', // what a process appends reaches the log late
  'late-store', // so late that it does not know any more whether it will be stored
  'lost-answers', // it is stored, and the process does not learn so
  'slow-reader', // entries reach a process late
  'reader-forgotten', // a log forgets its readers
  'no-leader', // a log elects a leader for seconds, and its clock has stepped then
  'short-log', // a log keeps little, and slow readers fall out of it
  'log-clock', // a log's clock is far off
  'log-restart', // the server of a log restarts, and has everything
  'log-tail', // it has everything but the last entries, and uses their positions again
  'log-emptied', // it has nothing
  'two-ways', // the router sends packets of one flow through several tier 1s
  // what operators do; these explain nothing that is lost
  'add-server',
  'drain-server',
  'rush', // servers come and others drain in one moment
  'reweigh', // the weights of a group change
  'add-tier1',
  'end-tier1',
] as const;
/** Moves have draws of their own: a seed has the same other faults with them as without. */
export const faultKinds = [
  ...drawnKinds,
  'move-server', // an operator sends a server to another group, or calls it back
] as const;
export type FaultKind = (typeof faultKinds)[number];
type DrawnKind = (typeof drawnKinds)[number];

export interface Fault {
  readonly index: number;
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly lastsMs: number;
  /** Picks the process, group or node it befalls, among those there are at that moment. */
  readonly pick: number;
  /** What else the kind needs: a chance, a jump, a weight. */
  readonly amount: number;
}

/** Something that really happened, and may explain packets that nobody took. */
export interface Trouble {
  readonly kind: FaultKind | 'overrun';
  fromMs: number;
  untilMs: number;
  /** Process or group it befell; '*' when it concerns everybody. */
  readonly process: string;
  readonly what: string;
}

export interface FaultOptions {
  /** Kinds that may occur; default all. */
  readonly kinds?: readonly FaultKind[];
  readonly faults: number;
  /** Changes of weights or placement by an operator, beside those among the faults. */
  readonly changes: number;
  /** Faults begin between these times; after the last, time must be left for things to settle. */
  readonly fromMs: number;
  readonly untilMs: number;
}

const shares: Readonly<Record<DrawnKind, number>> = {
  pause: 10,
  crash: 8,
  disconnect: 10,
  'slow-network': 8,
  partition: 4,
  'slow-store': 6,
  'failing-store': 6,
  'stale-store': 4,
  'store-emptied': 2,
  'clock-jump': 6,
  'repeat-control': 6,
  'gossip-loss': 8,
  'one-way': 8,
  'deaf-to-one': 6,
  'bus-restart': 4,
  die: 8,
  'die-appending': 6,
  'slow-log': 8,
  'late-store': 6,
  'lost-answers': 8,
  'slow-reader': 10,
  'reader-forgotten': 6,
  'no-leader': 5,
  'short-log': 6,
  'log-clock': 4,
  'log-restart': 3,
  'log-tail': 2,
  'log-emptied': 2,
  'two-ways': 8,
  'add-server': 16,
  'drain-server': 14,
  rush: 6,
  reweigh: 14,
  'add-tier1': 5,
  'end-tier1': 4,
};

/** How long each lasts at least and at most, in milliseconds. */
const lasting: Partial<Record<DrawnKind, readonly [number, number]>> = {
  pause: [50, 6_000],
  crash: [200, 4_000],
  disconnect: [20, 4_000],
  'slow-network': [500, 6_000],
  partition: [100, 4_000],
  'slow-store': [500, 5_000],
  'failing-store': [500, 5_000],
  'stale-store': [500, 5_000],
  'repeat-control': [1_000, 8_000],
  'gossip-loss': [500, 8_000],
  'one-way': [200, 5_000],
  'deaf-to-one': [500, 8_000],
  'bus-restart': [50, 2_000],
  // A dead server is out within a second or two; those that are slow themselves are patient with it.
  die: [4_000, 4_000],
  'die-appending': [200, 4_000],
  'slow-log': [500, 6_000],
  'late-store': [500, 5_000],
  'lost-answers': [500, 6_000],
  'slow-reader': [500, 8_000],
  'no-leader': [4_000, 9_000],
  'short-log': [1_000, 10_000],
  'log-clock': [500, 10_000],
  'log-restart': [100, 2_000],
  'log-tail': [100, 2_000],
  'log-emptied': [100, 2_000],
  'two-ways': [500, 10_000],
};

/** The faults of a seed, in order of time. Each seed has its own taste: some kinds do not occur in it. */
export function drawFaults(prng: Prng, options: FaultOptions): Fault[] {
  const kinds = options.kinds?.filter(isDrawn) ?? drawnKinds.filter(() => prng.chance(2, 3));
  const weights = kinds.map((kind) => shares[kind]);
  // Where nothing but moves is wanted there is nothing to draw.
  const faults = kinds.length > 0 ? options.faults : 0;
  const drawn = Array.from({ length: faults + options.changes }, (_, index) => {
    const isFault = index < faults;
    const kind = isFault ? kinds[prng.pickWeighted(weights)] : 'reweigh';
    const [least, most] = lasting[kind] ?? [0, 0];
    return {
      kind,
      atMs: options.fromMs + Math.floor(prng.fraction() * (options.untilMs - options.fromMs)),
      lastsMs: least + Math.floor(prng.fraction() ** 2 * (most - least)),
      pick: prng.below(1_000_000),
      amount: prng.fraction(),
    };
  });
  drawn.sort((one, other) => one.atMs - other.atMs);
  return drawn.map((fault, index) => ({ index, ...fault }));
}

function isDrawn(kind: FaultKind): kind is DrawnKind {
  return kind !== 'move-server';
}

/** The same with moves among them, which a third of the seeds has, where kinds do not say which. Half of them follow another one at once. */
export function drawMoves(prng: Prng, faults: readonly Fault[], { kinds, fromMs, untilMs }: FaultOptions): Fault[] {
  const hasMoves = kinds === undefined ? prng.chance(1, 3) : kinds.includes('move-server');
  const moves: Fault[] = [];
  const count = hasMoves ? prng.between(1, 6) : 0;
  for (let index = faults.length; moves.length < count; index++) {
    const before = moves.at(-1)?.atMs;
    const isSoon = before !== undefined && prng.chance(1, 2);
    const soonMs = (before ?? 0) + Math.floor(prng.fraction() ** 3 * 6_000);
    const anyMs = fromMs + Math.floor(prng.fraction() * (untilMs - fromMs));
    const atMs = isSoon ? Math.min(soonMs, untilMs) : anyMs;
    moves.push({ index, kind: 'move-server', atMs, lastsMs: 0, pick: prng.below(1_000_000), amount: prng.fraction() });
  }
  return [...faults, ...moves].sort((one, other) => one.atMs - other.atMs);
}

/** A fault in words, as a failing seed prints it. */
export function faultInWords({ index, kind, atMs, lastsMs }: Fault): string {
  return `#${index} ${(atMs / 1_000).toFixed(3)} s ${kind}${lastsMs > 0 ? ` for ${lastsMs} ms` : ''}`;
}
