// Where a packet is decided. One replica of a group asks of every packet of the group: is this my server's? All replicas see
// the same packets in the same order and answer by the same rules, so exactly one says yes.
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
// Where flows have backups (`availability`), each entry names one. When the owner is no member any more, the flow goes on there with its next
// Where flows have backups (`availability`), each entry names one. When the owner is no member any more, the flow goes on there with its next
// packet: accept(promoted). When its backup has gone as well, it goes on where it would be placed. By Fig. 6 the backup keeps entries of others for
// that, which nobody else has. Flows without packets are looked after slice by slice (`rehome`), so that they survive the next server, too.
//
// By Fig. 7 own and elsewhere flows are entries of one table that differ in their owner, so they are disjoint by construction
// (Figs. 8 and 9) and one look finds either. By Fig. 6 a replica keeps its own flows only, in a table of its own that no other
// replica has; what is shared are the starts of the last seconds (recentStarts.ts). Which method serves a packet is the logical
// switch of Fig. 10: type 1 by the group's rules, type 2 always by Fig. 7. Protocols whose starts happen inside a flow (AGGREGATE:
// GTP-C, RADIUS, DHCP, and everything under a key coarser than the five-tuple) go by Fig. 7 too, because a second start must not
// move the flow that the first one opened. So the two tables never meet: a packet asks one of them, whatever is in the other. A packet
// that is a flow of its own (SINGLE: the key `packet`) asks neither: it is placed by the present view and forgotten, so no slice has to be
// there for it, and nothing begins or ends.
//
// Everything shared that happens here (entries, owners, starts) is a function of rows and views. What depends on which server this
// replica belongs to is the verdict, the own table, and the items for the server.

import { FrameFlags, isSingle, ProtocolClass, protocolClassShift } from '../../../shared/flow/frameFlags.ts';
import { End, type ItemBuffer, ItemKind } from './effects.ts';
import { firstState, hasEnded, isRestart, nextState } from './flowLife.ts';
import { backupOf, EndReason, FlowState, noBackup, noServer, ownerOf, stateOf } from './flows/entry.ts';
import { FlowTable } from './flows/table.ts';
import type { CompiledView } from './global/compiledView.ts';
import { RecentStarts } from './global/recentStarts.ts';
import { idleTicksOf } from './idleLimits.ts';
import type { AbsentSlices } from './snapshot/absentSlices.ts';
import { V } from './verdict.ts';

const { TYPE1, START, END, AGGREGATE } = FrameFlags;

export class Decider {
  /** What all replicas share. */
  readonly table: FlowTable;
  /** Fig. 6: the own flows of this replica's server, which nobody else knows. */
  readonly ownTable: FlowTable | undefined;
  readonly recentStarts = new RecentStarts();
  /** Idle limits of the group's rules, which never change, by `idleIndexOf`. */
  readonly idleTicks: Int32Array;
  /** Owner of the packet decided last, as all replicas know it; `noServer` for none. */
  owner = noServer;
  /** Who stands behind the owner, where flows have backups; means nothing without an owner. */
  backup = noBackup;
  /** Flows of servers that had gone, which went on at this replica's. */
  promoted = 0;
  /** By Fig. 6: the owner of the packet decided last, as only that one and who stands behind it know. */
  privateOwner = noServer;
  readonly #items: ItemBuffer;
  readonly #absent: AbsentSlices;
  #view: CompiledView;
  #self = noServer;
  #isMember = false;
  #tick = 0;

  constructor(view: CompiledView, items: ItemBuffer, absent: AbsentSlices) {
    this.#view = view;
    this.#items = items;
    this.#absent = absent;
    const { maxFlows, idle } = view.view.rules;
    const idleTicks = idleTicksOf(idle);
    this.idleTicks = idleTicks;
    const onEnd = (hi: number, lo: number, info: number, reason: EndReason) => {
      const closed = hasEnded(stateOf(info));
      this.#ended(hi, lo, info, closed ? End.closed : reason === EndReason.evicted ? End.evicted : End.idle);
    };
    this.table = new FlowTable({ maxFlows, idleTicks, onEnd });
    if (view.ownFlowsOnly) this.ownTable = new FlowTable({ maxFlows, idleTicks, onEnd });
  }

  /** Another view holds, and `self` is this life's server number in it (`noServer` for none). */
  setView(view: CompiledView, self: number): void {
    this.#view = view;
    this.#self = self;
    this.#isMember = view.isMember[self] === 1;
    this.table.watch(self);
    this.ownTable?.watch(self);
  }

  /** The line's time has moved on. */
  setTick(tick: number): void {
    this.#tick = tick;
    this.recentStarts.table.expire(tick);
  }

  /**
   * The verdict on one packet. `ordinal` numbers the flow start that it is, or is -1; `row` is where its hash is
   * in the frame, or -1. Items for the server that belong before the
   * packet are there by then; the packet itself is the caller's to add.
   */
  decide(hi: number, lo: number, flags: number, ordinal: number, row: number): number {
    this.privateOwner = noServer;
    if (isSingle(flags)) return this.#single(hi, lo, ordinal);
    const verdict =
      this.ownTable !== undefined && (flags & (TYPE1 | AGGREGATE)) === TYPE1
        ? flags & START
          ? this.#start(this.ownTable, hi, lo, flags, ordinal)
          : this.#midFlow(this.ownTable, hi, lo, flags)
        : this.#anyFlow(hi, lo, flags, ordinal, row);
    return this.#isMember || verdict === V.ignoreAbsent ? verdict : V.ignoreRemoved;
  }

  /** A packet that is a flow of its own. */
  #single(hi: number, lo: number, ordinal: number): number {
    const owner = this.#view.place(hi, lo, ordinal);
    this.owner = owner;
    this.backup = noBackup;
    if (!this.#isMember) return V.ignoreRemoved;
    if (owner === noServer) return V.dropNoOwner;
    return owner === this.#self ? V.acceptSingle : V.ignorePlacedElsewhere;
  }

  /** Fig. 6, blocks 641-645: the packet starts a flow. */
  #start(own: FlowTable, hi: number, lo: number, flags: number, ordinal: number): number {
    const view = this.#view;
    const first = this.#firstOwner(hi, lo, flags);
    const repeated = first !== noServer;
    const owner = repeated ? first : view.place(hi, lo, ordinal);
    this.owner = owner;
    const backup = repeated
      ? this.#firstBackup(first)
      : owner === noServer
        ? noBackup
        : view.placeBackup(hi, lo, owner);
    if (!repeated && owner !== noServer) this.recentStarts.record(hi, lo, this.#tick, owner, backup);
    const handle = own.find(hi, lo, this.#tick);
    const isMine = owner === this.#self;
    this.backup = backup;
    if (owner === noServer || (!isMine && backup !== this.#self)) {
      // The start went to somebody else, who sees this packet too: whatever is held here on this tuple is stale.
      if (handle !== -1) this.#drop(own, hi, lo, handle, hasEnded(stateOf(own.foundInfo)) ? End.closed : End.moved);
      if (owner === noServer) return V.dropNoOwner;
      return repeated ? V.ignoreRecentStart : V.ignorePlacedElsewhere;
    }
    if (handle !== -1) {
      const isKept = (repeated || view.tableFirst) && !isRestart(stateOf(own.foundInfo), flags);
      if (isKept && ownerOf(own.foundInfo) === owner) {
        own.touch(handle, this.#tick);
        return isMine ? V.acceptKnown : V.ignoreElsewhere;
      }
      if (isKept && repeated && isMine) return this.#promote(own, handle, hi, lo, flags, owner);
      this.#drop(own, hi, lo, handle, isMine || hasEnded(stateOf(own.foundInfo)) ? End.closed : End.moved);
    }
    const state = FlowState.unconfirmed;
    const isFull = own.insert(hi, lo, this.#tick, owner, state, protocolClassOf(flags), backup) === -1;
    if (!isMine) {
      if (isFull) this.backup = noBackup;
      else if (this.#items.behind !== undefined) this.#items.behindStarted(hi, lo, owner);
      return repeated ? V.ignoreRecentStart : V.ignorePlacedElsewhere;
    }
    if (isFull) return V.dropTableFull;
    this.#items.flowStarted(hi, lo);
    return V.acceptNew;
  }

  /** Whose a start is that was sent before: the first one's server, or who stood behind it when that has gone. `noServer` when it is a new one. */
  #firstOwner(hi: number, lo: number, flags: number): number {
    const { isMember } = this.#view;
    const first = this.recentStarts.find(hi, lo, flags);
    if (first === -1 || isMember[first] === 1) return first === -1 ? noServer : first;
    const { foundBackup } = this.recentStarts;
    return isMember[foundBackup] === 1 ? foundBackup : noServer;
  }

  /** Who stands behind that one: another backup would know the flow beside the first one, and nobody could tell. */
  #firstBackup(owner: number): number {
    const { foundBackup } = this.recentStarts;
    return foundBackup !== owner && this.#view.isMember[foundBackup] === 1 ? foundBackup : noBackup;
  }

  /** Fig. 6, blocks 646-648: the packet does not start a flow. */
  #midFlow(own: FlowTable, hi: number, lo: number, flags: number): number {
    this.owner = noServer;
    if (flags & END) this.recentStarts.end(hi, lo, flags);
    if (!this.#isMember) return V.ignoreRemoved;
    const handle = own.meet(hi, lo, this.#tick);
    if (handle === -1) return V.ignoreNotMine;
    const owner = ownerOf(own.foundInfo);
    this.privateOwner = owner;
    this.backup = backupOf(own.foundInfo);
    // What another server owns is here because this one stands behind it.
    if (owner !== this.#self && this.#view.isMember[owner] !== 1)
      return this.#promote(own, handle, hi, lo, flags, backupOf(own.foundInfo));
    this.#follow(own, handle, stateOf(own.foundInfo), flags);
    this.backup = backupOf(own.foundInfo);
    return owner === this.#self ? V.acceptKnown : V.ignoreElsewhere;
  }

  /** Fig. 7. */
  #anyFlow(hi: number, lo: number, flags: number, ordinal: number, row: number): number {
    const { table } = this;
    if (this.#absent.some && this.#absent.covers(hi >>> 24)) {
      this.owner = noServer;
      return V.ignoreAbsent;
    }
    const handle = table.meet(hi, lo, this.#tick, row);
    if (handle !== -1) {
      const info = table.foundInfo;
      const owner = ownerOf(info);
      const state = stateOf(info);
      const isNext = (flags & START) !== 0 && isRestart(state, flags);
      if (this.#view.isMember[owner] === 1 && !isNext) {
        this.owner = owner;
        // Most packets of most flows change nothing.
        if (state !== FlowState.established || (flags & END) !== 0) this.#follow(table, handle, state, flags);
        if (this.#view.protects) this.#keepBackup(handle, hi, lo, owner, backupOf(info));
        else this.backup = backupOf(info);
        return owner === this.#self ? V.acceptKnown : V.ignoreElsewhere;
      }
      const next = isNext ? noServer : this.#successor(hi, lo, backupOf(info));
      if (next !== noServer) return this.#promote(table, handle, hi, lo, flags, next);
      // The tuple is used again, or its owner is gone and nobody stood behind it: a flow begins with this packet.
      this.#drop(table, hi, lo, handle, isNext ? End.closed : End.moved);
    }
    return this.#newFlow(hi, lo, flags, ordinal);
  }

  /** Fig. 7: a flow that nobody has. */
  #newFlow(hi: number, lo: number, flags: number, ordinal: number): number {
    const view = this.#view;
    this.owner = noServer;
    const midFlow = (flags & (TYPE1 | AGGREGATE | START)) === TYPE1;
    if (midFlow && !view.adopts) return V.ignoreMidFlow;
    const owner = view.place(hi, lo, ordinal);
    if (owner === noServer) return V.dropNoOwner;
    const isMine = owner === this.#self;
    const backup = view.placeBackup(hi, lo, owner);
    const protocolClass = protocolClassOf(flags);
    if (this.table.insert(hi, lo, this.#tick, owner, firstState(flags), protocolClass, backup) === -1) {
      this.backup = noBackup;
      return isMine ? V.dropTableFull : V.ignorePlacedElsewhere;
    }
    this.owner = owner;
    this.backup = backup;
    if (!isMine) {
      if (backup === this.#self && this.#items.behind !== undefined) this.#items.behindStarted(hi, lo, owner);
      return V.ignorePlacedElsewhere;
    }
    this.#items.flowStarted(hi, lo);
    return midFlow ? V.acceptAdopted : V.acceptNew;
  }

  /** Another member stands behind the owner where the former one has gone, or is about to go. */
  #keepBackup(handle: number, hi: number, lo: number, owner: number, former: number): void {
    this.backup = former;
    if (this.#view.stays[former] === 1) return;
    this.backup = this.#backupFor(hi, lo, owner, former);
    if (this.backup === former) return;
    this.table.setBackup(handle, this.backup);
    if (former === this.#self && this.#items.behind !== undefined) this.#items.changed(ItemKind.behindLost, hi, lo);
  }

  #backupFor(hi: number, lo: number, owner: number, former: number): number {
    const backup = this.#view.placeBackup(hi, lo, owner);
    // One that drains is better than none.
    return backup === noServer && this.#view.isMember[former] === 1 ? former : backup;
  }

  /** Flows of a slice whose owner has gone go on at their backups, and those that have no backup any more get one, without waiting for a packet. */
  rehome(slice: number): void {
    const { isMember, stays } = this.#view;
    for (const table of this.ownTable === undefined ? [this.table] : [this.table, this.ownTable]) {
      const flows: number[] = [];
      table.scanSlice(slice, (hi, lo, _lastSeen, info) => {
        const isServed = isMember[ownerOf(info)] === 1;
        if (isServed ? stays[backupOf(info)] !== 1 : isMember[backupOf(info)] === 1) flows.push(hi, lo);
      });
      for (let at = 0; at < flows.length; at += 2) {
        const handle = table.find(flows[at], flows[at + 1], this.#tick);
        if (handle !== -1) this.#rehomeFlow(table, handle, flows[at], flows[at + 1]);
      }
    }
  }

  #rehomeFlow(table: FlowTable, handle: number, hi: number, lo: number): void {
    const view = this.#view;
    const info = table.foundInfo;
    const [former, formerBackup] = [ownerOf(info), backupOf(info)];
    const isServed = view.isMember[former] === 1;
    // By Fig. 6 nobody else could stand behind it.
    if (isServed && table !== this.table) return;
    const owner = isServed ? former : formerBackup;
    const isShared = table === this.table;
    const backup = !isShared
      ? noBackup
      : isServed
        ? this.#backupFor(hi, lo, owner, formerBackup)
        : view.placeBackup(hi, lo, owner);
    if (isServed && backup === formerBackup) return;
    table.setOwner(handle, owner, backup);
    if (former === this.#self && !isServed) this.#items.flowEnded(hi, lo, End.moved);
    if (owner === this.#self && !isServed) {
      this.promoted++;
      this.#items.flowPromoted(hi, lo);
    }
    if (this.#items.behind === undefined) return;
    if (owner === this.#self) this.#items.changed(ItemKind.backedAnew, hi, lo);
    else if (isServed && formerBackup === this.#self) this.#items.changed(ItemKind.behindLost, hi, lo);
    else if (backup === this.#self) this.#items.changed(ItemKind.behindGiven, hi, lo);
  }

  /** Whether the packet that was decided last, with this verdict, is of another server's flow that this one stands behind. */
  isBehind(verdict: number): boolean {
    if (this.backup !== this.#self || this.#self === noServer) return false;
    return verdict === V.ignoreElsewhere || verdict === V.ignorePlacedElsewhere || verdict === V.ignoreRecentStart;
  }

  /**
   * Who hands out a packet of a server that has gone and had not handled it: whoever the flow goes on at, else the backup that it had then, or whom
   * its hash is placed at now. Undefined when the flow's slice is not here.
   */
  heirOf(gone: number, hi: number, lo: number, formerBackup: number): number | undefined {
    if (this.#absent.some && this.#absent.covers(hi >>> 24)) return undefined;
    // By Fig. 6 a connection has one backup all its life, and what a table holds may be the next connection on its ports.
    if (this.table.find(hi, lo, this.#tick) !== -1 && ownerOf(this.table.foundInfo) === gone)
      return this.#successor(hi, lo, backupOf(this.table.foundInfo));
    return this.#successor(hi, lo, formerBackup);
  }

  /** Where a flow goes on whose server has gone: at its backup, or, when that has gone too, where it would be placed. `noServer`: nowhere. */
  #successor(hi: number, lo: number, backup: number): number {
    const view = this.#view;
    if (view.isMember[backup] === 1) return backup;
    return view.protects ? view.place(hi, lo, -1) : noServer;
  }

  /** The owner has gone: the flow goes on at another one, and gets another backup. By Fig. 6 nobody else could be it. */
  #promote(table: FlowTable, handle: number, hi: number, lo: number, flags: number, owner: number): number {
    const info = table.foundInfo;
    const backup = table === this.table ? this.#view.placeBackup(hi, lo, owner) : noBackup;
    table.setOwner(handle, owner, backup);
    this.#follow(table, handle, stateOf(info), flags);
    if (table === this.table) this.owner = owner;
    else this.privateOwner = owner;
    this.backup = backup;
    if (ownerOf(info) === this.#self) this.#items.flowEnded(hi, lo, End.moved);
    if (owner !== this.#self) return V.ignoreElsewhere;
    this.promoted++;
    this.#items.flowPromoted(hi, lo);
    return V.acceptPromoted;
  }

  /** Forgets an entry that has become stale. */
  #drop(table: FlowTable, hi: number, lo: number, handle: number, reason: number): void {
    const info = table.foundInfo;
    table.remove(handle);
    this.#ended(hi, lo, info, reason);
  }

  /** Tells the server that a flow has ended, if it was its own, or one that it stood behind. */
  #ended(hi: number, lo: number, info: number, reason: number): void {
    const owner = ownerOf(info);
    if (owner === this.#self) this.#items.flowEnded(hi, lo, reason);
    else if (backupOf(info) === this.#self && this.#items.behind !== undefined) {
      this.#items.behindEnded(hi, lo, reason, owner, this.#view.isMember[owner] !== 1);
    }
  }

  /** The state of a recorded flow follows the protocol. */
  #follow(table: FlowTable, handle: number, state: FlowState, flags: number): void {
    const next = nextState(state, flags);
    if (next !== state) table.setState(handle, next);
  }
}

/** Flows that hold several protocols' packets age by one limit, whichever packet came first. */
function protocolClassOf(flags: number): number {
  return flags & AGGREGATE ? ProtocolClass.OTHER : flags >>> protocolClassShift;
}
