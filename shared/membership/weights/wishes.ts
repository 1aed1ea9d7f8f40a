// What each policy of weights wants, by name: for a member a multiple of its configured weight, or that it gets no new
// flows at all. How fast a weight may go there is not decided here (weights.ts).
//
// No policy remembers anything: whoever acts for the group at the moment may ask, and gets what another would have got.
// What must be known of the past is in the view. Weight 0 where another is configured means that the member was refused
// new flows, and it stays so until it is well within its bounds again: that is the hysteresis.
//
// Where a policy speaks of a class of flows, that class is the group: a group serves the types of flows and the VLANs for
// which it is configured, and all its members serve the same. So different targets are different groups' matter.

import type { WeightSettings } from '../../config/settings.ts';
import { follow, type Wish } from './follow.ts';
import { boundsOf } from './move.ts';
import type { Judged } from './relative.ts';

/** `none`: no new flows. `keep`: the weight in force is right. */
export type Wanted = Wish | 'none' | 'keep';

/** Policies that go by reports. `equal` and `static` need none. */
export type ReportPolicy = Exclude<WeightSettings['policy'], 'equal' | 'static'>;

export function isReportPolicy(policy: WeightSettings['policy']): policy is ReportPolicy {
  return policy !== 'equal' && policy !== 'static';
}

/**
 * What is wanted for each of the members whose load is known. `mayCompare` says whether these are enough of the group for
 * their average to mean anything; if not, only what a member says of itself counts.
 */
export function wishes(members: readonly Judged[], settings: WeightSettings, mayCompare: boolean): Wanted[] {
  if (members.length === 0) return [];
  switch (settings.policy as ReportPolicy) {
    case 'fewest-flows':
      return byLoad(members, { flows: 1 }, settings, mayCompare);
    case 'least-loaded':
      return byLoad(members, settings.load, settings, mayCompare);
    case 'thermal':
      return thermal(members, settings, mayCompare);
    case 'qos':
      return qos(members, settings);
  }
}

const asConfigured: Wish = { times: 1, chance: 0 };

/** Those that take new flows are compared with each other; who takes none, but may again, is on the way back. */
function byLoad(
  members: readonly Judged[],
  blend: WeightSettings['load'],
  { chance }: WeightSettings,
  mayCompare: boolean,
): Wanted[] {
  const taking = members.filter(({ weight }) => weight > 0);
  const followed = mayCompare && taking.length > 0 ? follow(taking, blend, chance) : undefined;
  let next = 0;
  return members.map(({ weight }) => (weight === 0 ? asConfigured : (followed?.[next++] ?? 'keep')));
}

/**
 * Temperatures are balanced, and a server at the ceiling gets no new flows until it is below by the hysteresis. For that
 * the last reading counts, not the mean: heat does not wait.
 */
function thermal(members: readonly Judged[], settings: WeightSettings, mayCompare: boolean): Wanted[] {
  const balanced = byLoad(members, { temperature: 1 }, settings, mayCompare);
  return members.map(({ weight, load: { temperature } }, index) => {
    if (temperature === undefined) return balanced[index];
    const isTooHot =
      weight > 0 ? temperature >= settings.ceiling : temperature > settings.ceiling - settings.hysteresis;
    return isTooHot ? 'none' : balanced[index];
  });
}

/**
 * Latency and lost share are kept below their targets. What counts is the worse of the two, as a multiple of its target:
 *
 *   `overrun` or more     no new flows
 *   above 1               fewer with each change; none when it has come down to the least and is still above
 *   above 1 - `reserve`   stays as it is: this much headroom is left for what the present flows will yet ask for
 *   below                 more with each change, up to the configured weight
 *
 * A server that gets none comes back when it is below 1 - `reserve`. One that measures nothing counts as average. At most
 * a quarter of the servers are refused in one change, the worst first: what they no longer get goes to the others, and
 * whether these can bear it shows only after the next reports. Else one slow server could take down all, one by one. And
 * when all would be refused, the group has too much to do, which weights cannot help: all get the least.
 */
function qos(members: readonly Judged[], settings: WeightSettings): Wanted[] {
  const { reserve, overrun } = settings;
  const fewer: Wish = { times: settings.least, chance: 0 };
  const pressures = pressuresOf(members, settings);
  const deserves = members.map(({ weight, base }, index): Wanted => {
    const over = pressures[index];
    if (over <= 1 - reserve) return asConfigured;
    const hasComeDown = over > 1 && weight <= boundsOf(base, settings).least;
    if (weight === 0 || over >= overrun || hasComeDown) return 'none';
    return over > 1 ? fewer : 'keep';
  });
  if (deserves.every((wanted) => wanted === 'none')) return members.map(() => fewer);

  const refused = members
    .map((_, index) => index)
    .filter((index) => deserves[index] === 'none' && members[index].weight > 0);
  const quarter = Math.max(1, Math.floor(members.filter(({ weight }) => weight > 0).length / 4));
  const worstFirst = refused.sort((a, b) => pressures[b] - pressures[a] || a - b);
  for (const index of worstFirst.slice(quarter)) deserves[index] = fewer;
  return deserves;
}

/** The worse of latency and loss of each, as a multiple of its target. */
function pressuresOf(members: readonly Judged[], { targetLatencyMs, targetLoss }: WeightSettings): number[] {
  const own = members.map(({ mean: { latencyMs, loss } }) =>
    latencyMs === undefined && loss === undefined
      ? undefined
      : Math.max((latencyMs ?? 0) / targetLatencyMs, (loss ?? 0) / targetLoss),
  );
  const known = own.filter((value) => value !== undefined);
  const average = known.reduce((a, b) => a + b, 0) / Math.max(1, known.length);
  return own.map((value) => value ?? average);
}
