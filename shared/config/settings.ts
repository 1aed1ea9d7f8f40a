// What can be tuned about a cluster that runs, with defaults and units: how members watch each other, how weights follow
// load, when a silent group is mapped out, when a server moves to another group. It is a part of the cluster map, so that all members hold the same, and it may
// change while the cluster runs.
//
// `describe` says of each what it means and what it costs: `flowherd settings` prints these texts. What is here is all there
// is to a new setting: the configuration file, its variable and the command line follow from it (tunables.ts).

import { z } from 'zod';
import { limits } from '../base/limits.ts';
import { blendNames, loadNames } from '../membership/load.ts';

const ms = (least: number, most: number) => z.int().min(least).max(most);
const share = (least: number, most: number) => z.number().min(least).max(most);

export const weightPolicies = ['equal', 'static', 'fewest-flows', 'least-loaded', 'qos', 'thermal'] as const;
export type WeightPolicyName = (typeof weightPolicies)[number];

const watching = z.strictObject({
  beatMs: ms(20, 10_000)
    .default(100)
    .describe('pause between two signs of life, in ms; shorter finds the dead earlier and costs messages'),
  watchers: z
    .int()
    .min(1)
    .max(16)
    .default(3)
    .describe(
      'members that watch each member, and so many beats each of them hears; two of them must agree to remove it',
    ),
  suspectMs: ms(50, 60_000)
    .default(400)
    .describe('silence after which a member is suspected, in ms; shorter than its pauses, it costs a message each'),
  confirmMs: ms(50, 60_000)
    .default(350)
    .describe('time that a suspected member has to speak, in ms, before it is removed and its flows with it'),
  stateMs: ms(100, 60_000)
    .default(1_000)
    .describe('least pause between two reports of state and load, in ms; in groups of more than 100 it is longer'),
});

const weights = z.strictObject({
  policy: z
    .enum(weightPolicies)
    .default('static')
    .describe('how weights follow load: equal, static (as configured), fewest-flows, least-loaded, qos, thermal'),
  load: z
    .partialRecord(z.enum(blendNames), share(0, 1_000))
    .refine((blend) => Object.values(blend).some((part) => part > 0), 'at least one load with a part above 0')
    .default({ cpu: 1 })
    .describe('least-loaded: the load it goes by, or a blend, as name to part; each is taken relative to the group'),
  everyMs: ms(500, 3_600_000)
    .default(5_000)
    .describe(
      'least pause between two changes of weights, in ms, unless one refuses a server; each is a view that all have to get',
    ),
  smoothing: share(0.01, 1)
    .default(0.3)
    .describe('part of the newest report in the running mean, 0 to 1; more follows faster and trembles more'),
  deadband: share(0, 1)
    .default(0.1)
    .describe('a weight that should change by less than this share of it stays; less means more views'),
  chance: share(0, 100)
    .default(5)
    .describe(
      'a weight also stays within what chance makes, this over the square root of the flows; less means more views',
    ),
  step: share(1.01, 10).default(1.25).describe('a weight grows or shrinks at most by this factor in one change'),
  least: share(0, 1).default(0.125).describe('a weight never falls below this share of the configured one'),
  most: share(1, 64).default(4).describe('a weight never rises above this many times the configured one'),
  targetLatencyMs: share(0.01, 60_000)
    .default(50)
    .describe('qos: latency that servers must keep, in ms; one above it gets fewer new flows, then none'),
  targetLoss: share(0.001, 1)
    .default(0.01)
    .describe('qos: lost share that servers must keep; reports tell thousandths'),
  reserve: share(0, 0.9)
    .default(0.2)
    .describe('qos: headroom below the targets, as a share of them, in which a server gets no more than it has'),
  overrun: share(1, 100)
    .default(1.5)
    .describe('qos: times the target at which a server gets no new flows; it does again when it has its reserve'),
  ceiling: share(0, 150)
    .default(80)
    .describe('thermal: temperature in degrees Celsius at which a server gets no new flows'),
  hysteresis: share(0, 50).default(5).describe('thermal: degrees below the ceiling at which it gets new flows again'),
});

const groupSilence = z.strictObject({
  afterMs: ms(500, 600_000)
    .default(3_000)
    .describe(
      'silence, in ms, after which a group is mapped out: tier 1 sends its flows to the others; counts as three times watching.stateMs at least',
    ),
  returnMs: ms(500, 600_000)
    .default(5_000)
    .describe(
      'time, in ms, that it must be heard before it is mapped in again; doubles with each relapse; shorter may flap, longer leaves it idle',
    ),
});

export const rebalanceModes = ['off', 'advise', 'auto'] as const;

const rebalance = z.strictObject({
  mode: z
    .enum(rebalanceModes)
    .default('off')
    .describe('whether servers move to groups with more load: off, advise (the move is only told), auto (it is made)'),
  by: z
    .enum(loadNames)
    .default('cpu')
    .describe(
      'the load that groups are compared by; cpu, handler, flows, newFlows, packets and bytes are shared by more servers, and what a move does is foretold; of the others means are compared',
    ),
  over: share(1.01, 100)
    .default(1.3)
    .describe('a group gets a server if its load a server is this many times that of the giver; less means more moves'),
  least: share(0, 1_000_000_000_000)
    .default(0.3)
    .describe(
      'a group below this load a server needs no server; in the unit of rebalance.by (cpu: cores, latencyMs: ms), so change both together',
    ),
  forMs: ms(0, 3_600_000)
    .default(10_000)
    .describe('time, in ms, that a move must be wanted without a break; shorter moves servers for bursts'),
  everyMs: ms(500, 86_400_000)
    .default(60_000)
    .describe('least pause, in ms, from the begin of a move to the next one; much shorter than loads last'),
  minimum: z.int().min(1).max(limits.groupMembers).default(1).describe('servers that a group keeps at least'),
  atOnce: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      'servers that are on their way in the cluster at most, until they take new flows; with more, moves are chosen by loads that still change',
    ),
});

/** Settings that depend on each other. `other` is the path of the second one; `says` what the first one must be. */
export interface Relation {
  readonly path: readonly [section: string, name: string];
  readonly other: readonly [section: string, name: string];
  holds(settings: Shape): boolean;
  says(settings: Shape): string;
}

const shape = z.strictObject({
  watching: watching.prefault({}),
  weights: weights.prefault({}),
  groupSilence: groupSilence.prefault({}),
  rebalance: rebalance.prefault({}),
});
type Shape = z.infer<typeof shape>;

export const relations: readonly Relation[] = [
  {
    path: ['watching', 'suspectMs'],
    other: ['watching', 'beatMs'],
    holds: ({ watching: { suspectMs, beatMs } }) => suspectMs >= 2 * beatMs,
    says: ({ watching: { beatMs } }) =>
      `at least twice watching.beatMs, so ${2 * beatMs}, or one late beat makes a suspect`,
  },
  {
    path: ['groupSilence', 'afterMs'],
    other: ['watching', 'stateMs'],
    holds: ({ watching: { stateMs }, groupSilence: { afterMs } }) => afterMs >= 2 * stateMs,
    says: ({ watching: { stateMs } }) =>
      `at least twice watching.stateMs, so ${2 * stateMs}, or a group of one is mapped out between two reports`,
  },
  {
    path: ['weights', 'hysteresis'],
    other: ['weights', 'ceiling'],
    holds: ({ weights: { hysteresis, ceiling } }) => hysteresis <= ceiling,
    says: ({ weights: { ceiling } }) => `at most weights.ceiling, which is ${ceiling}`,
  },
];

export const settingsSchema = shape.check((context) => {
  for (const relation of relations) {
    if (relation.holds(context.value)) continue;
    const message = relation.says(context.value);
    context.issues.push({ code: 'custom', path: [...relation.path], message, input: context.value, params: relation });
  }
});

export type ClusterSettings = z.infer<typeof settingsSchema>;

export type WeightSettings = ClusterSettings['weights'];

export type RebalanceSettings = ClusterSettings['rebalance'];

export const defaultSettings: ClusterSettings = settingsSchema.parse({});

/** One thing that is wrong with settings. */
export interface SettingsProblem {
  /** Names of the section and the setting, as far as it is about one; of a blend also that of the load. */
  readonly path: readonly string[];
  /** Another setting that this one is at odds with. */
  readonly other?: readonly string[];
  readonly kind: 'value' | 'unknown' | 'relation';
  /** What the schema or the relation says. */
  readonly says: string;
}

/** What is wrong with settings; empty when they can be. Relations are looked at only when each value can be. */
export function findProblems(value: unknown): SettingsProblem[] {
  const { error } = settingsSchema.safeParse(value);
  const problems = (error?.issues ?? []).flatMap((issue): SettingsProblem[] => {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: [...path, key], kind: 'unknown', says: issue.message }));
    }
    if (issue.code !== 'custom' || issue.params === undefined) return [{ path, kind: 'value', says: issue.message }];
    const { other } = issue.params as unknown as Relation;
    return [{ path, other, kind: 'relation', says: issue.message }];
  });
  // Where a part is wrong, what the whole lacks by that is no news.
  const isPartOf = (whole: readonly string[], part: readonly string[]) =>
    part.length > whole.length && whole.every((name, index) => part[index] === name);
  return problems.filter(({ path }) => !problems.some((other) => path.length > 0 && isPartOf(path, other.path)));
}

/** The schema as JSON Schema: what a program can ask of it. */
export function settingsAsJsonSchema(): unknown {
  return z.toJSONSchema(shape, { io: 'input' });
}
