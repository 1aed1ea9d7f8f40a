// The rungs of the verdict ladder (Figs. 6 and 7): what one DSSL module makes of one packet. Every packet that reaches a
// module ends on exactly one rung, and each rung is counted. Accepting rungs come first, so that one comparison tells.

export const verdicts = [
  // accepted: the packet goes to this module's server
  'acceptBypass', // tier 1 had assigned the flow to this server already
  'acceptKnown', // in my flow table
  'acceptNew', // a new flow, placed here
  'acceptAdopted', // a type-1 flow in mid-flow that nobody knew, placed here
  // ignored: some other module accepts it, or the rule says that none does
  'ignoreElsewhere', // in the elsewhere table
  'ignorePlacedElsewhere', // a new flow, placed at another member
  'ignoreNotMine', // Fig. 6: not a start, not in my table, so it is taken to be another member's
  'ignoreRecentStart', // a repeated start of a flow that another member got a moment ago
  'ignoreMidFlow', // Fig. 7 with `ignore`: a type-1 packet whose start no member saw
  'ignoreRemoved', // this server is no member of the frame's view any more
  // dropped: this module could not decide, or had no room
  'dropView', // the frame's view is forgotten or never came
  'dropUnsure', // frames were missed, and no peer said in time what began in them, or one that could have has gone
  'dropFragment', // a later fragment whose first fragment never came
  'dropTableFull', // a new flow placed here, but the flow table is full of established ones
  'dropNoOwner', // a new flow while no member takes new flows
] as const;
export type Verdict = (typeof verdicts)[number];

/** Verdicts by name, as the small integers that the data plane uses. */
export const V = Object.fromEntries(verdicts.map((name, code) => [name, code])) as { readonly [K in Verdict]: number };

/** Codes up to this one accept. */
export const lastAccept = V.acceptAdopted;

/** Not a verdict: the row carries no packet, or its packet waits and the verdict comes later. */
export const noPacket = 255;
export const waiting = 254;

/** Counts by rung, in the order of `verdicts`. */
export function countsByName(counts: ArrayLike<number>): Record<Verdict, number> {
  return Object.fromEntries(verdicts.map((name, code) => [name, counts[code]])) as Record<Verdict, number>;
}
