// Who talks to the backend at the moment: one session a client, with a socket of its own, found by the flow of its packets.
//
// A flow of the usual key is one client talking to one VIP, and has one session. Flows of coarser keys hold several
// clients, or several ports of one, and each needs a socket of its own, or its answers could not be told apart. So a
// flow has a first session, and the others beside it.
//
// A session outlives its client's last packet by a fixed time, whatever becomes of the flow. Then it is over: its socket stays
// for a while, so that answers which come too late can be counted, and so that a client who speaks again has the same one.
//
//   live ──(its flow has ended)──► live, and the next to give way ──(time)──► over ──(time, or room)──► closed
//     ▲◄─────────────── its client speaks ──────────┴────────────────────────────┘

import { FlowMap } from '../handlers/flowMap.ts';
import type { Tier1Return } from '../remote/returns.ts';
import type { BackendSocket } from './socket.ts';

export class UdpSession {
  readonly hi: number;
  readonly lo: number;
  /** Client and VIP as answers name them (shared/messages/answers.ts). */
  readonly row: Uint8Array;
  readonly socket: BackendSocket;
  /** The tier 1 by which the last packet came. */
  tier1: Tier1Return;
  /** Wall time of its client's last packet. */
  usedAtMs: number;
  /** Its answers come too late, and are counted. */
  isOver = false;
  /** The client's last datagram has not been answered. */
  isAwaiting = false;
  /** When the first of those that have not been answered left. */
  askedAtMs = 0;
  isClosed = false;
  /** Neighbours in the order of use. */
  older: UdpSession | undefined;
  newer: UdpSession | undefined;

  constructor(hi: number, lo: number, row: Uint8Array, socket: BackendSocket, tier1: Tier1Return, nowMs: number) {
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
  /** Those that are not over, from the longest silent client to the one heard last. */
  readonly #live = new Recency();
  /** Among them those whose flow has ended, the first one first. */
  readonly #ended = new Set<UdpSession>();
  /** The longest over first. */
  readonly #over = new Set<UdpSession>();

  /** Of all that have a socket. */
  get size(): number {
    return this.#live.size + this.#over.size;
  }

  get over(): number {
    return this.#over.size;
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
    this.#live.append(session);
  }

  /** Its client speaks: whatever had ended goes on, on the same socket. */
  touch(session: UdpSession, nowMs: number): void {
    session.usedAtMs = nowMs;
    this.#ended.delete(session);
    if (session.isOver) this.#over.delete(session);
    else this.#live.remove(session);
    session.isOver = false;
    this.#live.append(session);
  }

  /** The sessions of a flow that has ended are the first to give way. */
  endFlow(hi: number, lo: number): void {
    const flow = this.#flows.get(hi, lo);
    if (flow?.first !== undefined) this.#end(flow.first);
    if (flow?.others !== undefined) for (const session of flow.others.values()) this.#end(session);
  }

  /** From here on its answers are late. */
  expire(session: UdpSession): void {
    this.#live.remove(session);
    this.#ended.delete(session);
    session.isOver = true;
    this.#over.add(session);
  }

  remove(session: UdpSession): void {
    if (!session.isOver) this.#live.remove(session);
    this.#over.delete(session);
    this.#ended.delete(session);
    const { hi, lo } = session;
    const flow = this.#flows.get(hi, lo);
    if (flow === undefined) return;
    if (flow.first === session) flow.first = undefined;
    else flow.others?.delete(keyOf(session.row));
    if (flow.first === undefined && (flow.others?.size ?? 0) === 0) this.#flows.delete(hi, lo);
  }

  /** The one that is missed least: over, of an ended flow, or the one whose client was silent for longest. */
  leastNeeded(): UdpSession | undefined {
    return firstOf(this.#over) ?? firstOf(this.#ended) ?? this.#live.oldest;
  }

  /** The next one, not over yet, whose client has been silent since that moment. */
  silentSince(moment: number): UdpSession | undefined {
    const { oldest } = this.#live;
    return oldest !== undefined && oldest.usedAtMs <= moment ? oldest : undefined;
  }

  /** The next one that is over and whose client has been silent since that moment, or that is one of more than `most`. */
  overSince(moment: number, most: number): UdpSession | undefined {
    const first = firstOf(this.#over);
    return first !== undefined && (first.usedAtMs <= moment || this.#over.size > most) ? first : undefined;
  }

  #end(session: UdpSession): void {
    if (!session.isOver) this.#ended.add(session);
  }
}

function firstOf(sessions: ReadonlySet<UdpSession>): UdpSession | undefined {
  const [first] = sessions;
  return first;
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
