// Who talks to the backend at the moment: one session a client, with a socket of its own, found by the flow of its packets.
//
// A flow of the usual key is one client talking to one VIP, and has one session. Flows of coarser keys hold several
// clients, or several ports of one, and each needs a socket of its own, or its answers could not be told apart. So a
// flow has a first session, and the others beside it.
//
// Sessions stand in order of use, open ones and those of ended flows apart, so that the one to be closed next is at hand.

import type { Socket } from 'node:dgram';
import { FlowMap } from './handlers/flowMap.ts';
import type { Tier1Return } from './remote/returns.ts';

export class UdpSession {
  readonly hi: number;
  readonly lo: number;
  /** Client and VIP as answers name them (shared/messages/answers.ts). */
  readonly row: Uint8Array;
  readonly socket: Socket;
  /** The tier 1 by which the last packet came. */
  tier1: Tier1Return;
  /** Wall time of the last datagram in either direction. */
  usedAtMs: number;
  /** The flow has ended; the session stays a little for late answers. */
  hasEnded = false;
  /** The client's last datagram has not been answered. */
  isAwaiting = false;
  /** When the first of those that have not been answered left. */
  askedAtMs = 0;
  isClosed = false;
  /** Neighbours in the order of use. */
  older: UdpSession | undefined;
  newer: UdpSession | undefined;

  constructor(hi: number, lo: number, row: Uint8Array, socket: Socket, tier1: Tier1Return, nowMs: number) {
    this.hi = hi;
    this.lo = lo;
    this.row = row;
    this.socket = socket;
    this.tier1 = tier1;
    this.usedAtMs = nowMs;
  }
}

interface Flow {
  first: UdpSession | undefined;
  others: Map<string, UdpSession> | undefined;
}

export class UdpSessions {
  readonly #flows = new FlowMap<Flow>();
  readonly #open = new Recency();
  readonly #ended = new Recency();

  get size(): number {
    return this.#open.size + this.#ended.size;
  }

  /** The session of the client and VIP in `row`, within a flow. */
  find(hi: number, lo: number, row: Uint8Array): UdpSession | undefined {
    const flow = this.#flows.get(hi, lo);
    if (flow === undefined) return undefined;
    const { first, others } = flow;
    if (first !== undefined && isSame(first.row, row)) return first;
    return others?.get(keyOf(row));
  }

  add(session: UdpSession): void {
    const { hi, lo, row } = session;
    const flow = this.#flows.get(hi, lo);
    if (flow === undefined) this.#flows.set(hi, lo, { first: session, others: undefined });
    else if (flow.first === undefined) flow.first = session;
    else (flow.others ??= new Map()).set(keyOf(row), session);
    this.#open.append(session);
  }

  /** A datagram went by, in either direction. */
  touch(session: UdpSession, nowMs: number): void {
    session.usedAtMs = nowMs;
    const list = session.hasEnded ? this.#ended : this.#open;
    list.remove(session);
    list.append(session);
  }

  /** The client speaks again although its flow had ended: it is a new flow, on the same socket. */
  revive(session: UdpSession): void {
    if (!session.hasEnded) return;
    this.#ended.remove(session);
    session.hasEnded = false;
    this.#open.append(session);
  }

  /** The sessions of a flow stay only for late answers. */
  endFlow(hi: number, lo: number, nowMs: number): void {
    const flow = this.#flows.get(hi, lo);
    if (flow?.first !== undefined) this.#end(flow.first, nowMs);
    if (flow?.others !== undefined) for (const session of flow.others.values()) this.#end(session, nowMs);
  }

  remove(session: UdpSession): void {
    (session.hasEnded ? this.#ended : this.#open).remove(session);
    const { hi, lo } = session;
    const flow = this.#flows.get(hi, lo);
    if (flow === undefined) return;
    if (flow.first === session) flow.first = undefined;
    else flow.others?.delete(keyOf(session.row));
    if (flow.first === undefined && (flow.others?.size ?? 0) === 0) this.#flows.delete(hi, lo);
  }

  /** The one that is missed least: of an ended flow if there is one, and silent for longest. */
  leastNeeded(): UdpSession | undefined {
    return this.#ended.oldest ?? this.#open.oldest;
  }

  /** The next session that has been silent since before the moment for its kind. */
  overdue(endedBeforeMs: number, openBeforeMs: number): UdpSession | undefined {
    const ended = this.#ended.oldest;
    if (ended !== undefined && ended.usedAtMs <= endedBeforeMs) return ended;
    const open = this.#open.oldest;
    return open !== undefined && open.usedAtMs <= openBeforeMs ? open : undefined;
  }

  #end(session: UdpSession, nowMs: number): void {
    if (session.hasEnded) return;
    this.#open.remove(session);
    session.hasEnded = true;
    session.usedAtMs = nowMs;
    this.#ended.append(session);
  }
}

/** Sessions from the longest silent to the one used last, linked to each other. */
class Recency {
  oldest: UdpSession | undefined;
  newest: UdpSession | undefined;
  size = 0;

  append(session: UdpSession): void {
    session.older = this.newest;
    session.newer = undefined;
    if (this.newest === undefined) this.oldest = session;
    else this.newest.newer = session;
    this.newest = session;
    this.size++;
  }

  remove(session: UdpSession): void {
    const { older, newer } = session;
    if (older === undefined) this.oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.newest = older;
    else newer.older = older;
    this.size--;
  }
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}

function keyOf(row: Uint8Array): string {
  return Buffer.from(row.buffer, row.byteOffset, row.length).toString('latin1');
}
