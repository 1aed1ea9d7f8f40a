// Where a packet is decided. One module of a group asks of every packet of the group: is this mine? All modules see the
// same packets and answer by the same rules, so exactly one says yes.
//
// The rules are the two methods of the patent, as a ladder of which each packet takes exactly one rung (verdict.ts):
//
//   Fig. 6, flows whose start shows (type 1)          Fig. 7, any flow
//   start?  repeated a moment ago ... first owner     in my table ............ accept(known)
//           no: place ─ mine ... record, accept(new)  in elsewhere table ..... ignore(elsewhere)
//                      other ... ignore(placed)       else place ─ mine ...... record own, accept(new)
//   else    in my table ........ accept(known)                     other ..... record elsewhere, ignore(placed)
//           not ................ ignore(not mine)
//
// Own and elsewhere flows are entries of one table that differ in their owner, so they are disjoint by construction
// (Figs. 8 and 9) and one look finds either. Which method serves a packet is the logical switch of Fig. 10: type 1 by
// the group's rules, type 2 always by Fig. 7. Protocols whose starts happen inside a flow (AGGREGATE: GTP-C, RADIUS,
// DHCP, and everything under a key coarser than the five-tuple) go by Fig. 7 too, because a second start must not move
// the flow that the first one opened.
//
// Complications: a repeated start under a newer view (recentStarts.ts), owners that have left (viewHistory.ts), and
// fragments that do not carry their ports (fragments.ts). Time is the frames' own, so that every module ages its
// entries alike.

import { FrameFlags, ProtocolClass, protocolClassShift } from '../../../shared/flow/frameFlags.ts';
import type { Egress } from '../egress/egress.ts';
import type { FlowEndReason } from '../egress/handlers/handler.ts';
import type { Guesses } from '../old/hearsay.ts';
import { EndReason, FlowState, isMarked, ownerOf, stateOf } from './flows/entry.ts';
import { flowKey } from './flows/key.ts';
import { FlowTable } from './flows/table.ts';
import { idleTicks } from './idleLimits.ts';
import { RecentStarts } from './recentStarts.ts';
import { tickOfMs } from './ticks.ts';
import { lastAccept, V, verdicts } from './verdict.ts';
import { type CompiledView, noServer } from './viewHistory.ts';

/** Whatever is new to this module in a frame is new. */
export const told = -1;
/** Ends that are noted at most while peers are asked, which is a matter of moments. */
const endsSeenMax = 1_000_000;

export interface DeciderOptions {
  /** Server number of this module's own server. */
  readonly self: number;
  /** Most flows, own and elsewhere together, that the table holds. */
  readonly maxFlows: number;
}

export class Decider {
  readonly table: FlowTable;
  readonly recentStarts = new RecentStarts();
  /** Packets by rung, in the order of `verdicts`. */
  readonly counts = new Float64Array(verdicts.length);
  /** Flows of others that did not fit the table: this module may later take them for new ones. */
  elsewhereOverflow = 0;
  /** While this module joins: the flows that it took for new ones. */
  guesses: Guesses | undefined;
  /**
   * Not `told`: a member that has gone may have taken what is new to this module in the frame in hand. Such flows are this
   * module's from that view on.
   */
  untoldIn = told;
  /** While peers are asked: flows whose end this module has seen meanwhile, and at which tick. A peer may not know yet. */
  endsSeen: Map<number, number> | undefined;
  /** Flows that peers said are this module's, which has not met them since: views from which on they are. */
  readonly #adoptedIn = new Map<number, number>();
  readonly #self: number;
  readonly #egress: Egress;
  #view!: CompiledView;
  #tick = 0;
  #timestampMs = 0;

  constructor(options: DeciderOptions, egress: Egress) {
    this.#self = options.self;
    this.#egress = egress;
    this.table = new FlowTable({
      self: options.self,
      maxFlows: options.maxFlows,
      idleTicks,
      onEnd: (hi, lo, info, reason) => {
        if (ownerOf(info) !== this.#self) return;
        if (isMarked(info)) this.#adoptedIn.delete(flowKey(hi, lo));
        const closed = stateOf(info) === FlowState.closing;
        const why = reason === EndReason.evicted ? 'evicted' : closed ? 'closed' : 'idle';
        egress.flowEnded(hi, lo, why, this.#timestampMs);
      },
    });
  }

  /** The packets' time, as a tick. */
  get tick(): number {
    return this.#tick;
  }

  /** Sets what holds for the rows that follow: the frame's view and the packets' time. */
  begin(view: CompiledView, timestampMs: number): void {
    this.#view = view;
    this.at(timestampMs);
  }

  /** Sets the packets' time alone, for flows that the table ends between frames. */
  at(timestampMs: number): void {
    this.#timestampMs = timestampMs;
    this.#tick = tickOfMs(timestampMs);
  }

  /**
   * The verdict on one packet. `ordinal` numbers the flow start it is, or is -1. The caller counts the verdict and hands
   * the packet to the egress when it accepts; flow starts have been told to the egress by then.
   */
  decide(hi: number, lo: number, flags: number, ordinal: number): number {
    if (flags & FrameFlags.BYPASS) return V.acceptBypass;
    const view = this.#view;
    if (view.selfGone) return V.ignoreRemoved;
    if ((flags & (FrameFlags.TYPE1 | FrameFlags.AGGREGATE)) === FrameFlags.TYPE1 && view.ownFlowsOnly) {
      return flags & FrameFlags.START
        ? this.#start(hi, lo, flags, ordinal, view.tableFirst)
        : this.#midFlow(hi, lo, flags);
    }
    return this.#anyFlow(hi, lo, flags, ordinal, view.adopts);
  }

  /** Fig. 6, blocks 641-645: the packet starts a flow. */
  #start(hi: number, lo: number, flags: number, ordinal: number, tableFirst: boolean): number {
    const table = this.table;
    const slot = table.find(hi, lo, this.#tick);
    let owner = this.recentStarts.find(hi, lo, this.#tick);
    const repeated = owner !== -1 && !this.#view.isGone(owner) && !this.#isDoubtful(hi, lo);
    if (!repeated) {
      owner = this.#view.place(hi, lo, ordinal);
      this.guesses?.note(hi, lo, this.#view);
    }
    if (owner !== this.#self) {
      // The start went to somebody else, who sees this packet too: whatever I held on this tuple is stale.
      if (slot !== -1) this.drop(hi, lo, slot, 'moved');
      if (owner === noServer) return V.dropNoOwner;
      if (repeated) return V.ignoreRecentStart;
      this.#recordStart(hi, lo, owner, flags, false);
      return V.ignorePlacedElsewhere;
    }
    if (!repeated) this.#recordStart(hi, lo, owner, flags, false);
    if (slot !== -1) {
      // What was learnt of another member's flow on this tuple is stale now, like one of my own that a start replaces.
      const isMine = table.owner(slot) === this.#self;
      if (isMine && (repeated || tableFirst) && table.state(slot) !== FlowState.closing) {
        if (table.marked(slot) && this.#isTooEarly(hi, lo, slot)) return V.ignoreNotMine;
        table.touch(slot, this.#tick);
        return V.acceptKnown;
      }
      this.drop(hi, lo, slot, 'closed');
    }
    const handle = table.insert(hi, lo, this.#tick, owner, FlowState.unconfirmed, protocolClassOf(flags));
    return this.#begins(hi, lo, handle, V.acceptNew);
  }

  /** Fig. 6, blocks 646-648: the packet does not start a flow. */
  #midFlow(hi: number, lo: number, flags: number): number {
    const { table } = this;
    const slot = table.find(hi, lo, this.#tick);
    if (slot === -1 || ownerOf(table.foundInfo) !== this.#self) return V.ignoreNotMine;
    const state = stateOf(table.foundInfo);
    if (isMarked(table.foundInfo) && this.#isTooEarly(hi, lo, slot)) return V.ignoreNotMine;
    if (this.#mayBeAnother(hi, lo, slot, state)) return V.dropUnsure;
    table.touch(slot, this.#tick);
    this.#follow(hi, lo, slot, state, flags);
    return V.acceptKnown;
  }

  /** Fig. 7. */
  #anyFlow(hi: number, lo: number, flags: number, ordinal: number, adopt: boolean): number {
    const table = this.table;
    const slot = table.meet(hi, lo, this.#tick);
    if (slot !== -1) {
      const owner = ownerOf(table.foundInfo);
      const state = stateOf(table.foundInfo);
      if (isMarked(table.foundInfo)) {
        if (owner === this.#self && this.#isTooEarly(hi, lo, slot)) return V.ignoreElsewhere;
        table.setMark(slot, false);
        // What was told may be of this very packet. Then it is still the first one and, like a handshake, confirms nothing.
        if (state === FlowState.unconfirmed && this.recentStarts.describe(hi, lo, this.#tick)?.tick === this.#tick) {
          flags |= FrameFlags.HANDSHAKE;
        }
      }
      if (owner === this.#self) {
        if (this.#mayBeAnother(hi, lo, slot, state)) return V.dropUnsure;
        if (flags & FrameFlags.START && state === FlowState.closing && !(flags & FrameFlags.AGGREGATE)) {
          this.#restart(hi, lo, slot);
        } else {
          this.#follow(hi, lo, slot, state, flags);
        }
        return V.acceptKnown;
      }
      const isNew = (adopt || !isMidFlow(flags)) && this.#isDoubtful(hi, lo);
      if (!this.#view.isGone(owner) && !isNew) {
        this.#follow(hi, lo, slot, state, flags);
        return V.ignoreElsewhere;
      }
      table.remove(slot);
    }
    const view = this.#view;
    const midFlow = isMidFlow(flags);
    const ends = (flags & FrameFlags.END) !== 0 && !(flags & FrameFlags.AGGREGATE);
    if (ends) this.#noteEnd(hi, lo);
    if (midFlow && !adopt) {
      this.guesses?.pass();
      return V.ignoreMidFlow;
    }
    const owner = view.place(hi, lo, ordinal);
    if (owner === noServer) return V.dropNoOwner;
    const state = ends ? FlowState.closing : FlowState.unconfirmed;
    this.#recordStart(hi, lo, owner, flags, true);
    this.guesses?.note(hi, lo, this.#view);
    const handle = table.insert(hi, lo, this.#tick, owner, state, protocolClassOf(flags));
    if (owner !== this.#self) {
      if (handle === -1) this.elsewhereOverflow++;
      return V.ignorePlacedElsewhere;
    }
    return this.#begins(hi, lo, handle, midFlow ? V.acceptAdopted : V.acceptNew);
  }

  /** A flow is placed here, and has got this entry, or none. */
  #begins(hi: number, lo: number, handle: number, verdict: number): number {
    if (handle === -1) return V.dropTableFull;
    if (this.untoldIn !== told) {
      this.adopt(hi, lo, handle, this.untoldIn);
      return V.dropUnsure;
    }
    this.#egress.flowStarted(hi, lo, this.#timestampMs);
    return verdict;
  }

  /**
   * A peer says that this module has a flow since view `sinceView`. Frames of earlier views that waited meanwhile are not
   * its own: whoever had the flow then has taken their packets.
   */
  adopt(hi: number, lo: number, handle: number, sinceView: number): void {
    this.table.setMark(handle, true);
    this.#adoptedIn.set(flowKey(hi, lo), sinceView);
    this.#egress.flowStarted(hi, lo, this.#timestampMs);
  }

  /**
   * Whether a flow of this module that was closing may have begun anew, with a member that has gone and had not told. If so,
   * it is that one's by views that it is in.
   */
  #mayBeAnother(hi: number, lo: number, slot: number, state: FlowState): boolean {
    const { untoldIn } = this;
    if (untoldIn === told || state !== FlowState.closing) return false;
    if (untoldIn !== 0) {
      if (this.#view.view.number >= untoldIn) return false;
      this.table.setMark(slot, true);
      this.#adoptedIn.set(flowKey(hi, lo), untoldIn);
    }
    return true;
  }

  /** A joiner's guess of where the flow is has not been confirmed: if nobody has it, it begins with this packet. */
  #isDoubtful(hi: number, lo: number): boolean {
    if (this.guesses?.isDoubtful(hi, lo) !== true) return false;
    this.recentStarts.remove(hi, lo);
    return true;
  }

  #isTooEarly(hi: number, lo: number, slot: number): boolean {
    const sinceView = this.#adoptedIn.get(flowKey(hi, lo)) ?? 0;
    if (this.#view.view.number < sinceView) return true;
    this.#adoptedIn.delete(flowKey(hi, lo));
    this.table.setMark(slot, false);
    return false;
  }

  #recordStart(hi: number, lo: number, owner: number, flags: number, inTable: boolean): void {
    const { number } = this.#view.view;
    this.recentStarts.record(hi, lo, this.#tick, owner, protocolClassOf(flags), inTable, number);
  }

  /** Forgets an entry that a new start has made stale. */
  drop(hi: number, lo: number, slot: number, reason: FlowEndReason): void {
    const own = this.table.owner(slot) === this.#self;
    if (this.table.marked(slot)) this.#adoptedIn.delete(flowKey(hi, lo));
    this.table.remove(slot);
    if (own) this.#egress.flowEnded(hi, lo, reason, this.#timestampMs);
  }

  /**
   * Gives up own flows, about `slots` slots' worth of the table from `cursor` on (0 at first): others have them, and the
   * egress is told. Returns the next cursor, -1 at the end. For a module that decides nothing any more.
   */
  giveUp(cursor: number, slots: number): number {
    return this.table.prune(cursor, slots, (hi, lo, _lastSeen, info) => {
      if (ownerOf(info) !== this.#self) return false;
      this.#adoptedIn.delete(flowKey(hi, lo));
      this.#egress.flowEnded(hi, lo, 'moved', this.#timestampMs);
      return true;
    });
  }

  /** The state of a recorded flow follows the protocol. All modules follow alike. */
  #follow(hi: number, lo: number, slot: number, state: FlowState, flags: number): void {
    let next = state;
    if (flags & FrameFlags.AGGREGATE) {
      if (state === FlowState.unconfirmed) next = FlowState.established;
    } else if (flags & FrameFlags.END) {
      next = FlowState.closing;
      this.#noteEnd(hi, lo);
    } else if (flags & FrameFlags.START) {
      if (state === FlowState.closing) next = FlowState.unconfirmed;
    } else if (state === FlowState.unconfirmed && !(flags & FrameFlags.HANDSHAKE)) {
      next = FlowState.established;
    }
    if (next !== state) this.table.setState(slot, next);
  }

  #noteEnd(hi: number, lo: number): void {
    if (this.endsSeen !== undefined && this.endsSeen.size < endsSeenMax) this.endsSeen.set(flowKey(hi, lo), this.#tick);
  }

  /** Fig. 7: a new connection on a tuple whose last one was closing. The holder keeps the tuple; its server is told. */
  #restart(hi: number, lo: number, slot: number): void {
    this.table.setState(slot, FlowState.unconfirmed);
    this.#egress.flowEnded(hi, lo, 'closed', this.#timestampMs);
    this.#egress.flowStarted(hi, lo, this.#timestampMs);
  }
}

export function accepts(verdict: number): boolean {
  return verdict <= lastAccept;
}

/** A packet of a flow whose start shows, but not here. */
function isMidFlow(flags: number): boolean {
  return (flags & (FrameFlags.TYPE1 | FrameFlags.AGGREGATE | FrameFlags.START)) === FrameFlags.TYPE1;
}

/** Flows that hold several protocols' packets age by one limit, whichever packet a module happened to see first. */
function protocolClassOf(flags: number): number {
  return flags & FrameFlags.AGGREGATE ? ProtocolClass.OTHER : flags >>> protocolClassShift;
}
