// What a module knows of its group's agreements: the last few dozen views, each compiled so that a packet can be decided
// without looking at names.
//
// Flow entries outlive views, and a member's position in a view changes from one to the next, so entries name their
// owner by a *server number* that this module hands out and that means one life of one server. A frame is decided by
// the view it names, which may be older or newer than the view under which a flow was recorded. An owner counts as gone
// for a frame only when it had already joined by that view and is no member in it: a server that joined later is not
// gone, it has not come yet.

import { limits } from '../../../shared/base/limits.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import { compilePlacement, type Placement } from './placement.ts';

/** Server numbers are 12 bits in a flow entry; the last value is "nobody". */
export const noServer = limits.knownServers - 1;

export class CompiledView {
  readonly view: View;
  /** This module's own server had joined by this view and is no member of it any more. */
  selfGone = false;
  /** The group's rules as plain facts, asked for every packet: comparing names would cost as much as the look-up. */
  readonly ownFlowsOnly: boolean;
  readonly tableFirst: boolean;
  readonly adopts: boolean;
  /** Round robin: the owner depends on the number of the start, so a repeated start may be placed elsewhere. */
  readonly placesByOrdinal: boolean;
  readonly #placement: Placement;
  readonly #serverNumbers: Uint16Array;
  #gone: Uint8Array = new Uint8Array(0);

  constructor(view: View, serverNumbers: Uint16Array) {
    this.view = view;
    this.ownFlowsOnly = view.rules.typeOneMethod === 'fig-6';
    this.tableFirst = view.rules.tableFirst;
    this.adopts = view.rules.midFlow === 'adopt';
    this.placesByOrdinal = view.placement === 'round-robin' || view.placement === 'weighted-round-robin';
    this.#placement = compilePlacement(view);
    this.#serverNumbers = serverNumbers;
  }

  /** Server number of the member that takes a new flow, or `noServer`. */
  place(hi: number, lo: number, ordinal: number): number {
    const index = this.#placement.place(hi, lo, ordinal);
    return index < 0 ? noServer : this.#serverNumbers[index];
  }

  /** True when the server had joined by this view and is no member of it any more. */
  isGone(serverNumber: number): boolean {
    return this.#gone[serverNumber] === 1;
  }

  markGone(gone: Uint8Array, self: number): void {
    this.#gone = gone;
    this.selfGone = gone[self] === 1;
  }
}

/** One life of a server, and the number of the first view that has it as a member. */
export interface ServerLife {
  readonly server: string;
  readonly incarnation: number;
  readonly joinedIn: number;
}

interface KnownServer {
  readonly name: string;
  readonly incarnation: number;
  /** Number of the first view known to this module that has it as a member. */
  joinedIn: number;
}

export class ViewHistory {
  /** Server number of this module's own server. */
  readonly self: number;
  readonly #views = new Map<number, CompiledView>();
  readonly #servers: KnownServer[] = [];
  readonly #numbers = new Map<string, number>();
  #handedOut = 0;
  #newest: CompiledView | undefined;
  #oldest = Number.POSITIVE_INFINITY;

  constructor(server: string, incarnation: number) {
    this.self = this.numberOf(server, incarnation);
  }

  get newest(): CompiledView | undefined {
    return this.#newest;
  }

  /** Numbers below this one are forgotten, or were before this module's time. */
  get oldestNumber(): number {
    return this.#oldest;
  }

  get(number: number): CompiledView | undefined {
    return this.#views.get(number);
  }

  /** Takes a view in; false when it is known already. Views may come in any order. */
  add(view: View): boolean {
    if (this.#views.has(view.number)) return false;
    const compiled = new CompiledView(
      view,
      Uint16Array.from(view.members, (member) => this.#memberNumber(member)),
    );
    this.#views.set(view.number, compiled);
    for (const member of view.members) {
      const known = this.#servers[this.#memberNumber(member)];
      known.joinedIn = Math.min(known.joinedIn, view.number);
    }
    if (this.#newest === undefined || view.number > this.#newest.view.number) this.#newest = compiled;
    this.#forget();
    this.#markGone();
    return true;
  }

  /** Name of a server number, for reports. */
  serverName(number: number): string {
    return this.#servers[number]?.name ?? '-';
  }

  /** Which life of which server a number means; undefined when it was never handed out. */
  lifeOf(number: number): ServerLife | undefined {
    const known = this.#servers[number];
    return known && { server: known.name, incarnation: known.incarnation, joinedIn: known.joinedIn };
  }

  /**
   * The number of a life that a peer names. This module may never have seen a view with it: only the peer's word tells
   * one that has gone from one that has not come yet.
   */
  learnLife({ server, incarnation, joinedIn }: ServerLife): number {
    const number = this.numberOf(server, incarnation);
    const known = this.#servers[number];
    if (joinedIn >= known.joinedIn) return number;
    known.joinedIn = joinedIn;
    this.#markGone();
    return number;
  }

  /** The number of one life of a server; a new one the first time it is asked for. */
  numberOf(server: string, incarnation: number): number {
    const key = `${server} ${incarnation}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    // A group whose servers restart thousands of times within one actor's life comes round to the oldest numbers; their
    // flows have ended by idleness long before.
    const number = this.#handedOut < noServer ? this.#handedOut : 1 + (this.#handedOut % (noServer - 1));
    this.#handedOut++;
    const former = this.#servers[number];
    if (former !== undefined) this.#numbers.delete(`${former.name} ${former.incarnation}`);
    this.#servers[number] = { name: server, incarnation, joinedIn: Number.POSITIVE_INFINITY };
    this.#numbers.set(key, number);
    return number;
  }

  /** Number of a life that is a member by the newest view and does not join; `noServer` for none. */
  memberNumber({ server, incarnation }: Life): number {
    const member = this.#newest?.view.members.find((each) => each.server === server);
    if (member?.incarnation !== incarnation || member.state === 'joining') return noServer;
    return this.numberOf(server, incarnation);
  }

  #memberNumber(member: Member): number {
    return this.numberOf(member.server, member.incarnation);
  }

  #markGone(): void {
    for (const each of this.#views.values()) each.markGone(this.#goneIn(each.view), this.self);
  }

  #goneIn(view: View): Uint8Array {
    const gone = new Uint8Array(this.#servers.length);
    for (let number = 0; number < gone.length; number++)
      gone[number] = this.#servers[number].joinedIn <= view.number ? 1 : 0;
    for (const member of view.members) gone[this.#memberNumber(member)] = 0;
    return gone;
  }

  #forget(): void {
    while (this.#views.size > limits.viewHistory) this.#views.delete(Math.min(...this.#views.keys()));
    this.#oldest = Math.min(...this.#views.keys());
  }
}
