// Follows flows from outside, packet by packet: does each stay at its server, and why does a group not know one? It goes by the same rules for
// when a flow has ended or is forgotten as the replicas do, and keeps its own record of each.

import { limits } from '../../shared/base/limits.ts';
import { FrameFlags, isSingle, protocolClassShift } from '../../shared/flow/frameFlags.ts';
import type { IdleLimits } from '../../shared/membership/idleLimits.ts';
import { findMember, type View } from '../../shared/membership/view.ts';
import { firstState, hasEnded, isRestart, nextState } from '../dssl/replica/flowLife.ts';
import { type FlowState, idleIndexOf, packInfo } from '../dssl/replica/flows/entry.ts';
import { idleTicksOf } from '../dssl/replica/idleLimits.ts';
import { tickOfMs } from '../dssl/replica/ticks.ts';

/** A packet as its frame has it. */
export interface FlowRow {
  readonly hi: number;
  readonly lo: number;
  readonly flags: number;
  /** VLANs and networks that it lies within, of packets that end a connection and of those that nobody knows. */
  readonly tenant: string | undefined;
}

/** Where a packet was decided: the view, and the line's time in ticks, by which flows age. */
export interface Moment {
  readonly view: View;
  readonly tick: number;
}

/**
 * Why the group does not know the flow of a packet in its middle. `midFlow`: its start was not seen. `ended`: both sides had ended
 * it, or one had reset it. `otherTenant`: the same, by a packet of another VLAN or network. `idle`: it was silent for too long. `forgotten`: it had to give way, or its server has gone.
 */
export type UnknownCause = 'midFlow' | 'ended' | 'otherTenant' | 'idle' | 'forgotten';

interface FlowRecord {
  server: number;
  /** Of its last packet, and of its first. */
  lastTick: number;
  readonly startTick: number;
  state: FlowState;
  /** Whose packet ended it last. */
  endedBy: string | undefined;
}

const recentStartTicks = tickOfMs(limits.recentStartMs);
/** Flows followed before the first look for silent ones. */
const leastPruned = 100_000;
const mostStories = 5;

export class FlowFollower {
  seen = 0;
  type1 = 0;
  type2 = 0;
  /** Packets that were accepted by another server than their flow's. */
  moved = 0;
  /** The first few flows that moved, in words. */
  readonly stories: string[] = [];
  readonly #nameOf: (server: number) => string;
  readonly #flows = new Map<string, FlowRecord>();
  #pruneAt = leastPruned;
  #idle: { readonly limits: IdleLimits; readonly ticks: Int32Array } | undefined;

  constructor(nameOf: (server: number) => string) {
    this.#nameOf = nameOf;
  }

  /** A server has accepted a packet. */
  accepted(row: FlowRow, moment: Moment, server: number): void {
    const { flags } = row;
    // A flow of one packet cannot move; by chance another one has its hash.
    if (isSingle(flags)) return;
    const key = keyOf(row);
    const { tick } = moment;
    const flow = this.#flows.get(key);
    if (flow === undefined || this.#mayBeNew(flow, flags, moment)) {
      this.seen++;
      if (flags & FrameFlags.TYPE1) this.type1++;
      else this.type2++;
      if (this.#flows.size >= this.#pruneAt) this.#prune(moment);
      this.#flows.set(key, { server, lastTick: tick, startTick: tick, state: firstState(flags), endedBy: row.tenant });
      return;
    }
    if (flow.server !== server) {
      // The flows of a server that has gone may live elsewhere.
      if (findMember(moment.view, this.#nameOf(flow.server)) !== undefined) {
        this.moved++;
        if (this.stories.length < mostStories) {
          this.stories.push(`flow ${key} moved from ${this.#nameOf(flow.server)} to ${this.#nameOf(server)}`);
        }
      }
      flow.server = server;
    }
    flow.lastTick = tick;
    flow.state = nextState(flow.state, flags);
    if (flags & FrameFlags.END) flow.endedBy = row.tenant;
  }

  /** Nobody has accepted a packet, because no member knows its flow. */
  whyUnknown(row: FlowRow, moment: Moment): UnknownCause {
    const flow = this.#flows.get(keyOf(row));
    if (flow === undefined) return 'midFlow';
    if (hasEnded(flow.state)) return flow.endedBy === row.tenant ? 'ended' : 'otherTenant';
    return this.#isOver(flow, row.flags, moment) ? 'idle' : 'forgotten';
  }

  /** Forgets flows that have been silent for longer than any limit, so that a long capture does not fill the memory. */
  #prune({ tick, view }: Moment): void {
    const longest = Math.max(...this.#idleTicksOf(view));
    for (const [key, { lastTick }] of this.#flows) if (tick - lastTick > longest) this.#flows.delete(key);
    this.#pruneAt = Math.max(leastPruned, 2 * this.#flows.size);
  }

  /** Whether a packet may belong to another flow than the last one on these addresses: ended, idle, or started anew. */
  #mayBeNew(flow: FlowRecord, flags: number, moment: Moment): boolean {
    if (this.#isOver(flow, flags, moment) || isRestart(flow.state, flags)) return true;
    const start = (flags & FrameFlags.START) !== 0 && !(flags & FrameFlags.AGGREGATE);
    return start && moment.tick - flow.startTick > recentStartTicks;
  }

  #isOver({ lastTick, state }: FlowRecord, flags: number, { tick, view }: Moment): boolean {
    const protocolClass = flags & FrameFlags.AGGREGATE ? 0 : flags >>> protocolClassShift;
    return tick - lastTick > this.#idleTicksOf(view)[idleIndexOf(packInfo(0, 0, state, protocolClass))];
  }

  /** Views have the limits of their group's rules, which never change. */
  #idleTicksOf({ rules: { idle } }: View): Int32Array {
    if (this.#idle?.limits !== idle) this.#idle = { limits: idle, ticks: idleTicksOf(idle) };
    return this.#idle.ticks;
  }
}

function keyOf({ hi, lo }: FlowRow): string {
  return `${hi}:${lo}`;
}
