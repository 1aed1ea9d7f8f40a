// The rungs of the verdict ladder (Figs. 6 and 7): what one replica makes of one packet, for its own server. Every packet that
// reaches a replica ends on exactly one rung, and each rung is counted. Accepting rungs come first, so that one comparison
// tells.

export const verdicts = [
  // accepted: the packet goes to this replica's server
  'acceptKnown', // in the flow table, as a flow of this server
  'acceptNew', // a new flow, placed here
  'acceptAdopted', // a type-1 flow in mid-flow that nobody knew, placed here
  'acceptSingle', // a packet that is a flow of its own, placed here
  'acceptPromoted', // a flow whose server has gone, and of which this one was the backup
  // ignored: some other member accepts it, or the rule says that none does
  'ignoreElsewhere', // in the elsewhere table
  'ignorePlacedElsewhere', // a new flow, or a packet that is one of its own, placed at another member
  'ignoreNotMine', // Fig. 6: not a start, not in the own table, so it is taken to be another member's
  'ignoreRecentStart', // Fig. 6: a repeated start of a flow that another member got a moment ago
  'ignoreMidFlow', // Fig. 7 with `ignore`: a type-1 packet whose start no member saw
  'ignoreRemoved', // this server is no member of the view
  'ignoreAbsent', // this replica does not hold the slice that the flow is in
  // dropped: nobody could take it, or there was no room
  'dropFragment', // a later fragment whose first fragment never came
  'dropTableFull', // a new flow placed here, but the slice is full of established ones
  'dropNoOwner', // a new flow while no member takes new flows
] as const;
export type Verdict = (typeof verdicts)[number];

/** Verdicts by name, as the small integers that the data plane uses. */
export const V = Object.fromEntries(verdicts.map((name, code) => [name, code])) as { readonly [K in Verdict]: number };

/** Codes up to this one accept. */
export const lastAccept: number = V.acceptPromoted;

/** Not a verdict: the row carries no packet, or its packet waits and the verdict comes later. */
export const noPacket = 255;
export const waiting = 254;

export function accepts(verdict: number): boolean {
  return verdict <= lastAccept;
}

/** Counts by rung, in the order of `verdicts`. */
export function countsByName(counts: ArrayLike<number>): Record<Verdict, number> {
  return Object.fromEntries(verdicts.map((name, code) => [name, counts[code]])) as Record<Verdict, number>;
}
