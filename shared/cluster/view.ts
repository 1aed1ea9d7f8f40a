// A view is what a group has agreed on: who its members are and how new flows are placed among them.
//
// Modules of a group decide alone, packet by packet, and may never both accept. They agree because every frame names the
// view tier 1 held when it built the frame, and every module decides that frame by that view, not by the newest it
// knows. So a view must be immutable, its number must never be used twice, and everything a placement needs must be in
// it. The key-value store makes the numbers unique: a view is written only by compare-and-set on its predecessor.

/** `joining` observes and accepts nothing new; `draining` keeps its flows and gets no new ones. */
export type MemberState = 'joining' | 'active' | 'draining';

export interface Member {
  /** Name of the server, unique in the cluster: [A-Za-z0-9_-]{1,64}. */
  readonly server: string;
  /** Counts the restarts of that server, so that a new life is not mistaken for the old one. */
  readonly incarnation: number;
  readonly state: MemberState;
  /** Share of new flows relative to the other members: an integer from 0 (none) to 65535. */
  readonly weight: number;
  /** Flows this member held when the view was made; what `fewest-flows` places by. */
  readonly flows: number;
}

export const placementNames = [
  'rendezvous',
  'maglev',
  'modulo',
  'weighted-random',
  'round-robin',
  'weighted-round-robin',
  'fewest-flows',
] as const;
export type PlacementName = (typeof placementNames)[number];

export interface View {
  readonly group: string;
  /** Identity of the key-value store's life: a store that was emptied starts again at 1 under another incarnation. */
  readonly cluster: string;
  readonly number: number;
  readonly placement: PlacementName;
  /** Seed of the placement, u32, the same for the whole life of the group. */
  readonly seed: number;
  readonly members: readonly Member[];
}
