// Checks from outside what the whole design promises: every packet that the log took is accepted by exactly one server, a
// flow and a datagram stay at their server, all replicas agree on who has it, and whatever nobody accepted has a known cause. It is told of each
// frame that tier 1 sends and sees each entry that a replica has applied, and puts them together when all replicas are past it.
//
// A frame is settled in the order of the log, so that flows are followed in the order of their packets although the
// replicas report at different times. A packet that waits (a fragment before its first one) keeps its frame open, and the
// frames behind it of the same group too.

import { FrameFlags } from '../../shared/flow/frameFlags.ts';
import { wordsPerRow } from '../../shared/log/records/frame.ts';
import { findMember, type View } from '../../shared/membership/view.ts';
import type { TunnelPorts } from '../../shared/packet/decode/tunnels/ports.ts';
import type { Effects } from '../dssl/replica/effects.ts';
import { noServer } from '../dssl/replica/flows/entry.ts';
import type { Replica } from '../dssl/replica/replica.ts';
import { tickOfMs } from '../dssl/replica/ticks.ts';
import { accepts, noPacket, V, waiting } from '../dssl/replica/verdict.ts';
import { Histogram } from '../ops/histogram.ts';
import type { SentFrame } from '../tier1/outlet.ts';
import { Datagrams, type Fragment } from './datagrams.ts';
import { FlowFollower, type FlowRow } from './flowFollower.ts';
import { Tenants } from './tenants.ts';

/** Why a packet that is in the log was accepted by nobody. `unexplained` is a defect. */
export const nobodyCauses = [
  'midFlow',
  'ended',
  'otherTenant',
  'idle',
  'forgotten',
  'fragment',
  'tableFull',
  'noServer',
  'skipped',
  'unexplained',
] as const;
export type NobodyCause = (typeof nobodyCauses)[number];

/** What is looked at of a replica that has applied an entry, and of what came of it. */
export type AuditedReplica = Pick<Replica, 'position' | 'view' | 'timeMs'>;
export type AuditedEffects = Pick<Effects, 'outcome' | 'frame' | 'verdicts' | 'owners' | 'late'>;

interface OpenFrame {
  readonly sentAtMs: number;
  readonly packets: number;
  /** Tier 1 has given it up, and could not know whether the log had taken it. */
  isGivenUp: boolean;
  /** What its entry is to the replicas; undefined until the first of them has applied it. */
  applied: AppliedFrame | undefined;
}

interface Inside {
  /** Places of the rows that are fragments. */
  readonly fragments: ReadonlyMap<number, Fragment>;
  /** Of some rows, what the packet lies within. */
  readonly tenants: ReadonlyMap<number, string>;
}

interface AppliedFrame extends Inside {
  /** Of its entry, or of the one at which the last of its packets that waited was decided. */
  position: number;
  readonly view: View;
  readonly rows: Int32Array;
  /** The line's time in ticks, by which flows age. */
  readonly tick: number;
  readonly accepts: Uint8Array;
  /** Server that accepted each row, as an index into the auditor's servers. */
  readonly acceptedBy: Uint16Array;
  /** Server number of each row's owner. */
  readonly owners: Uint16Array;
  /** The weightiest verdict of those that did not accept. */
  readonly cause: Uint8Array;
  /** Rows that wait. */
  readonly undecided: Set<number>;
  /** Some replica did not hold the slice of some row. */
  isPartial: boolean;
  /** Members of the view that have reported. */
  reporters: number;
}

/** Frames of one group by life of the tier 1 and number, both in the order in which they were sent. */
type GroupFrames = Map<string, Map<number, OpenFrame>>;

/** Verdicts in order of how much they say about why nobody accepted; later wins. */
const weights = new Uint8Array(256);
for (const [weight, verdict] of [
  V.ignoreAbsent,
  V.ignoreRemoved,
  V.ignoreNotMine,
  V.ignoreMidFlow,
  V.ignoreElsewhere,
  V.ignorePlacedElsewhere,
  V.ignoreRecentStart,
  V.dropFragment,
  V.dropNoOwner,
  V.dropTableFull,
].entries()) {
  weights[verdict] = weight + 1;
}

const causeOf = new Map<number, NobodyCause>([
  [V.ignoreNotMine, 'midFlow'],
  [V.ignoreMidFlow, 'midFlow'],
  [V.dropFragment, 'fragment'],
  [V.dropNoOwner, 'noServer'],
  [V.dropTableFull, 'tableFull'],
]);

export class Auditor {
  accepted = 0;
  double = 0;
  readonly nobody: Record<NobodyCause, number>;
  /** Packets in frames that tier 1 sent and the log did not take: tier 1 counts them as dropped. */
  notAppended = 0;
  /** Packets that tier 1 counts as dropped too, and that are in the log all the same: it never heard that the log took them. */
  appendedUnheard = 0;
  /** Rows of which two replicas said that different servers own them. */
  disagreements = 0;
  readonly flows = new FlowFollower((server) => this.#servers[server]);
  /** Counts datagrams whose fragments went to different servers. */
  readonly datagrams: Datagrams;
  /** From the moment tier 1 sends a frame to the moment a server has its packets, in milliseconds. */
  readonly latencyMs = new Histogram();
  readonly #nowMs: () => number;
  readonly #tenants: Tenants;
  readonly #groups: GroupFrames[];
  readonly #servers: string[] = [];

  /** `tunnels`: as for `parse`, what the keys of the cluster go by. */
  constructor(groups: number, nowMs: () => number, tunnels: boolean | TunnelPorts = false) {
    this.#nowMs = nowMs;
    this.datagrams = new Datagrams(tunnels);
    this.#tenants = new Tenants(tunnels);
    this.#groups = Array.from({ length: groups }, () => new Map());
    this.nobody = Object.fromEntries(nobodyCauses.map((cause) => [cause, 0])) as Record<NobodyCause, number>;
  }

  /** Tier 1 sends a frame to a group. */
  onSend(group: number, { life, number, packets }: SentFrame): void {
    const lives = this.#groups[group];
    let frames = lives.get(life);
    if (frames === undefined) lives.set(life, (frames = new Map()));
    frames.set(number, { sentAtMs: this.#nowMs(), packets, isGivenUp: false, applied: undefined });
  }

  /** Tier 1 has given it up: it is not in the log, unless that `isUncertain`. */
  onLost(group: number, { life, number, packets }: SentFrame, isUncertain: boolean): void {
    const frames = this.#groups[group].get(life);
    const open = frames?.get(number);
    if (open === undefined) return;
    if (isUncertain) {
      open.isGivenUp = true;
      return;
    }
    frames?.delete(number);
    this.notAppended += packets;
  }

  /** What is to see each entry that the replica of a server has applied. */
  observer(group: number, server: string): (replica: AuditedReplica, effects: AuditedEffects) => void {
    const self = this.#servers.push(server) - 1;
    const lives = this.#groups[group];
    return (replica, effects) => {
      for (const { tier1Id, number, row, verdict } of effects.late) {
        this.#onLate(lives.get(tier1Id)?.get(number)?.applied, self, row, verdict, replica.position);
      }
      if (effects.outcome === 'frame') this.#onFrame(lives, self, replica, effects);
    };
  }

  /** Settles the frames of a group up to `position`: every replica that is to report on them has done so. */
  settle(group: number, position: number): void {
    const lives = this.#groups[group];
    for (const [life, frames] of lives) {
      for (const [number, { applied }] of frames) {
        if (applied === undefined) continue;
        if (applied.position > position || applied.undecided.size > 0) return;
        this.#forgetUpTo(frames, number);
        this.#settleFrame(applied);
      }
      if (frames.size === 0 && lives.size > 1) lives.delete(life);
    }
  }

  /** No more packets will come, and nothing is on its way to a log: what is in none was not taken, what waits goes on waiting. */
  finish(): void {
    for (const [group, lives] of this.#groups.entries()) {
      for (const frames of lives.values()) {
        for (const { applied } of frames.values()) {
          if (applied === undefined) continue;
          for (const row of applied.undecided) applied.cause[row] = V.dropFragment;
          applied.undecided.clear();
        }
      }
      this.settle(group, Number.POSITIVE_INFINITY);
      for (const frames of lives.values()) this.#forgetUpTo(frames, Number.POSITIVE_INFINITY);
    }
  }

  /** Packets in frames that are not settled yet. */
  get unsettled(): number {
    let packets = 0;
    for (const lives of this.#groups) {
      for (const frames of lives.values()) for (const frame of frames.values()) packets += frame.packets;
    }
    return packets;
  }

  /** Forgets frames up to a number. Those that no replica has applied are not in the log, as a later one is. */
  #forgetUpTo(frames: Map<number, OpenFrame>, last: number): void {
    for (const [number, { applied, packets, isGivenUp }] of frames) {
      if (number > last) return;
      if (applied === undefined) this.notAppended += packets;
      else if (isGivenUp) this.appendedUnheard += packets;
      frames.delete(number);
    }
  }

  #onFrame(lives: GroupFrames, server: number, replica: AuditedReplica, effects: AuditedEffects): void {
    const { frame, verdicts, owners } = effects;
    const open = lives.get(frame.tier1Id)?.get(frame.number);
    if (open === undefined) return;
    const { count } = frame;
    let { applied } = open;
    if (applied === undefined) {
      applied = open.applied = {
        position: replica.position,
        view: replica.view,
        rows: frame.words.slice(0, count * wordsPerRow),
        tick: tickOfMs(replica.timeMs),
        accepts: new Uint8Array(count),
        acceptedBy: new Uint16Array(count),
        owners: owners.slice(0, count),
        cause: new Uint8Array(count),
        ...this.#lookInside(frame, verdicts),
        undecided: new Set(),
        isPartial: false,
        reporters: 0,
      };
      for (let row = 0; row < count; row++) if (verdicts[row] === waiting) applied.undecided.add(row);
    }
    if (isOwner(applied.view, this.#servers[server])) applied.reporters++;
    let acceptedHere = 0;
    for (let row = 0; row < count; row++) {
      const verdict = verdicts[row];
      if (verdict === noPacket || verdict === waiting) continue;
      if (this.#note(applied, server, row, verdict)) acceptedHere++;
      this.#compare(applied.owners, row, owners[row]);
    }
    if (acceptedHere > 0) this.latencyMs.record(this.#nowMs() - open.sentAtMs, acceptedHere);
  }

  /**
   * Reads what rows do not tell: the place of fragments (later ones by their flag, first ones by the row before, which names their datagram), and
   * whose the packets are that end a connection, or whose connection is not known.
   */
  #lookInside({ words, payload, count }: AuditedEffects['frame'], verdicts: Uint8Array): Inside {
    const fragments = new Map<number, Fragment>();
    const tenants = new Map<number, string>();
    let start = 0;
    for (let row = 0; row < count; row++) {
      const at = row * wordsPerRow;
      const end = start + (words[at + 2] & 0xffff);
      const flags = words[at + 2] >>> 16;
      const isFirst = row > 0 && ((words[at - 1] >>> 16) & FrameFlags.DATAGRAM) !== 0;
      const named = isFirst ? at - wordsPerRow : at;
      if (isFirst || flags & FrameFlags.LATER_FRAGMENT) {
        fragments.set(row, this.datagrams.read(payload, start, end, flags, words[named], words[named + 1]));
      }
      const isEnd = (flags & (FrameFlags.END | FrameFlags.AGGREGATE)) === FrameFlags.END;
      if (isEnd || causeOf.get(verdicts[row]) === 'midFlow') {
        tenants.set(row, this.#tenants.of(payload, start, end, flags));
      }
      start = end;
    }
    return { fragments, tenants };
  }

  #onLate(applied: AppliedFrame | undefined, server: number, row: number, verdict: number, position: number): void {
    if (applied === undefined) return;
    if (applied.undecided.delete(row)) applied.position = Math.max(applied.position, position);
    this.#note(applied, server, row, verdict);
  }

  #note(applied: AppliedFrame, server: number, row: number, verdict: number): boolean {
    if (accepts(verdict)) {
      applied.accepts[row]++;
      applied.acceptedBy[row] = server;
      return true;
    }
    if (verdict === V.ignoreAbsent) applied.isPartial = true;
    if (weights[verdict] > weights[applied.cause[row]] || applied.cause[row] === 0) applied.cause[row] = verdict;
    return false;
  }

  /** A replica may not know the owner: it lacks the slice, or by Fig. 6 only the owner itself does. */
  #compare(owners: Uint16Array, row: number, owner: number): void {
    if (owners[row] === noServer) owners[row] = owner;
    else if (owner !== noServer && owner !== owners[row]) this.disagreements++;
  }

  #settleFrame(applied: AppliedFrame): void {
    const { rows } = applied;
    for (let row = 0; row < applied.accepts.length; row++) {
      const at = row * wordsPerRow;
      const flags = rows[at + 2] >>> 16;
      if (flags & FrameFlags.DATAGRAM) continue;
      const count = applied.accepts[row];
      if (count === 1) this.accepted++;
      else if (count > 1) this.double++;
      else this.nobody[this.#causeOf(applied, row)]++;
      const fragment = applied.fragments.get(row);
      if (count > 0 && fragment !== undefined) {
        const isMember = (server: number) => findMember(applied.view, this.#servers[server]) !== undefined;
        this.datagrams.accepted(fragment, applied.acceptedBy[row], applied.tick, isMember);
      }
      if (count > 0 && !(flags & FrameFlags.LATER_FRAGMENT)) {
        this.flows.accepted(rowOf(applied, row), applied, applied.acceptedBy[row]);
      }
    }
  }

  #causeOf(frame: AppliedFrame, row: number): NobodyCause {
    const { view, cause, reporters, isPartial } = frame;
    const known = causeOf.get(cause[row]);
    if (known === 'midFlow') return this.flows.whyUnknown(rowOf(frame, row), frame);
    if (known !== undefined) return known;
    // A member that passed the entry over, or that row of it, may have been the owner.
    const owners = view.members.filter(({ server }) => isOwner(view, server)).length;
    return isPartial || reporters < owners ? 'skipped' : 'unexplained';
  }
}

function rowOf({ rows, tenants }: AppliedFrame, row: number): FlowRow {
  const at = row * wordsPerRow;
  return { hi: rows[at], lo: rows[at + 1], flags: rows[at + 2] >>> 16, tenant: tenants.get(row) };
}

/** A member that joins accepts nothing yet. */
function isOwner(view: View, server: string): boolean {
  const member = findMember(view, server);
  return member !== undefined && member.state !== 'joining';
}
