// How evenly a million flows lie on a thousand servers when they are placed in two steps, a hundred groups and then ten servers each, beside
// one step over all of them. It counts and does not measure time, so its figures are exact.

import { compilePlacement } from '../../../services/dssl/replica/global/placement.ts';
import { GroupTable } from '../../../services/tier1/routing/groupTable.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { type GroupSelection, groupSelections } from '../../../shared/config/map.ts';
import { maglevTable } from '../../../shared/placement/maglev.ts';
import { type Candidate, Rendezvous } from '../../../shared/placement/rendezvous.ts';
import { compareNames } from '../../../shared/placement/seed.ts';
import { viewOf } from '../../support/weights.ts';
import { type BenchmarkResult, rounded } from '../runner.ts';

const flows = 1_000_000;
const groups = 100;
const serversPerGroup = 10;
const servers = groups * serversPerGroup;
const seed = 1;

/** Index of the server that takes a flow: hashes of its group key and of itself. */
type Place = (groupHash: number, hi: number, lo: number) => number;

export function run(say: (line: string) => void): BenchmarkResult {
  const hashed = groupSelections.filter((selection) => selection !== 'source-last-byte');
  const ways: Readonly<Record<string, Place>> = {
    ...Object.fromEntries(hashed.map((selection) => [`twoLevels-${selection}`, twoLevels(selection)])),
    maglev: overAll(),
    rendezvous: raceOfAll(),
  };
  const value: Record<string, number> = {};
  for (const [name, place] of Object.entries(ways)) {
    say(`placement, ${name}`);
    value[name] = rounded(maxOverAvg(place));
  }
  const explain = { flows, groups, serversPerGroup, flowsPerServer: flows / servers, seed };
  return { figures: [{ key: 'placementMaxOverAvg', value, unit: 'max/avg flows', explain }] };
}

function maxOverAvg(place: Place): number {
  const prng = new Prng(seed);
  const counts = new Float64Array(servers);
  for (let flow = 0; flow < flows; flow++) counts[place(prng.u32(), prng.i32(), prng.i32())]++;
  return counts.reduce((most, count) => Math.max(most, count), 0) / (flows / servers);
}

function twoLevels(selection: GroupSelection): Place {
  const ids = Array.from({ length: groups }, (_, group) => `g${group}`);
  const table = new GroupTable(
    ids.map((id) => ({ id, weight: 1, serves: 'both' })),
    selection,
  );
  const placements = ids.map((id) =>
    compilePlacement(viewOf(Array.from({ length: serversPerGroup }, (_, server) => ({ server: `${id}-${server}` })))),
  );
  return (groupHash, hi, lo) => {
    const group = table.select(groupHash, false);
    return group * serversPerGroup + placements[group].place(hi, lo, -1);
  };
}

function everybody(): Candidate[] {
  const names = Array.from({ length: servers }, (_, server) => `s${server}`).sort(compareNames);
  return names.map((name) => ({ name, weight: 1 }));
}

function overAll(): Place {
  const table = maglevTable(everybody(), seed);
  return (_groupHash, hi) => table[(hi >>> 0) % table.length];
}

function raceOfAll(): Place {
  const race = new Rendezvous(everybody(), seed);
  return (_groupHash, hi, lo) => race.best(hi, lo, -1);
}
