// The side of learning what the group knows (sync.ts tells the whole story): whom to ask, whose answer is complete, and
// whether the answers and what this module saw itself leave a gap. A joiner learns everything; a member that missed
// frames learns what began since.

import type { Life } from '../../shared/cluster/membership.ts';
import type { View } from '../../shared/cluster/view.ts';
import type { Streams } from './streams.ts';
import type { SyncAnswer, SyncRequest } from './sync.ts';
import { ageTicks } from './ticks.ts';

/** A peer that has not answered whole, or whose answer left a gap, is asked again after this. */
const askAgainMs = 500;
/**
 * A peer that has said nothing for so long is taken to be dead: what it held is lost with it, and a group must not be
 * closed to newcomers because a member died.
 */
const silentPeerMs = 10_000;
/** After so long without a word from a peer, people are told what is waited for. */
const latePeerMs = 2_000;

interface Peer {
  readonly incarnation: number;
  /** It joins itself: what it tells, the starts it saw for certain, is welcome, and not waited for. */
  readonly isJoining: boolean;
  nonce: number;
  askedAtMs: number;
  /** When it was first asked, or last said something. */
  heardAtMs: number;
  nextChunk: number;
  /** The positions of the answer, once its last chunk has come. */
  positions: ReadonlyMap<string, number> | undefined;
}

export class Learner {
  readonly #server: string;
  readonly #peers = new Map<string, Peer>();
  #nonce = 0;
  #since: number | undefined;
  #least: ReadonlyMap<string, number> = new Map();
  /** Answers that left a gap to what was seen here, and had to be asked for again. */
  gaps = 0;
  /** Peers that never answered and were given up. */
  readonly silent = new Set<string>();

  constructor(server: string) {
    this.#server = server;
  }

  /**
   * Something was missed: every peer is to tell what began since that tick; undefined for everything. `least`: sequences
   * of tier 1s up to which a peer must have come when it answers, where this module's own frames do not say so.
   */
  again(since: number | undefined, isFirst: boolean, least: ReadonlyMap<string, number> = new Map()): void {
    this.#least = least;
    if (isFirst) this.#since = since;
    else if (this.#since !== undefined && (since === undefined || ageTicks(since, this.#since) < 0))
      this.#since = since;
    // What a peer is about to answer may be older than what was missed.
    this.#peers.clear();
    this.silent.clear();
  }

  /** The requests to send now, one for each peer that has not told all it holds. */
  requests(view: View, streams: Streams, nowMs: number): SyncRequest[] {
    this.#followMembers(view, nowMs);
    const due: SyncRequest[] = [];
    for (const [to, peer] of this.#peers) {
      if (!peer.isJoining && nowMs - peer.heardAtMs > silentPeerMs && peer.positions === undefined) this.silent.add(to);
      if (peer.positions !== undefined && this.#gapOf(peer.positions, streams) === 'gap') {
        this.gaps++;
        peer.positions = undefined;
        peer.askedAtMs = Number.NEGATIVE_INFINITY;
      }
      const settled = peer.positions !== undefined && this.#gapOf(peer.positions, streams) === 'none';
      if (settled || nowMs - peer.askedAtMs < askAgainMs) continue;
      peer.nonce = ++this.#nonce;
      peer.askedAtMs = nowMs;
      peer.nextChunk = 0;
      peer.positions = undefined;
      due.push({ kind: 'request', to, from: this.#server, nonce: peer.nonce, since: this.#since });
    }
    return due;
  }

  /** The lives of those that were given up. */
  get silentLives(): Life[] {
    return [...this.silent].flatMap((server) => {
      const peer = this.#peers.get(server);
      return peer === undefined ? [] : [{ server, incarnation: peer.incarnation }];
    });
  }

  /** This life of a peer is dead: it is waited for no longer. */
  giveUp({ server, incarnation }: Life): void {
    const peer = this.#peers.get(server);
    if (peer?.incarnation === incarnation && peer.positions === undefined) this.silent.add(server);
  }

  /** Peers that have told nothing for a while and are still waited for. */
  late(nowMs: number): string[] {
    const isLate = ([name, peer]: [string, Peer]) =>
      peer.positions === undefined && !peer.isJoining && !this.silent.has(name) && nowMs - peer.heardAtMs > latePeerMs;
    return [...this.#peers].filter(isLate).map(([name]) => name);
  }

  /** True when the chunk belongs to an answer that was asked for: its rows are to be taken in. */
  accepts(answer: SyncAnswer, nowMs: number): boolean {
    const peer = this.#peers.get(answer.from);
    if (answer.to !== this.#server || peer === undefined || peer.incarnation !== answer.incarnation) return false;
    if (peer.nonce !== answer.nonce || answer.chunk !== peer.nextChunk) return false;
    peer.nextChunk++;
    peer.askedAtMs = nowMs;
    peer.heardAtMs = nowMs;
    this.silent.delete(answer.from);
    if (answer.isLast) peer.positions = answer.positions;
    return true;
  }

  /** True when every member that holds flows and lives has told them, and nothing was missed in between. */
  isComplete(view: View, streams: Streams, nowMs: number): boolean {
    this.#followMembers(view, nowMs);
    for (const [name, peer] of this.#peers) {
      if (this.silent.has(name) || peer.isJoining) continue;
      if (peer.positions === undefined || this.#gapOf(peer.positions, streams) !== 'none') return false;
    }
    return true;
  }

  #followMembers(view: View, nowMs: number): void {
    // Those that join themselves mostly guess: they are asked by members that missed something, and not by each other.
    const isMember = view.members.some(({ server, state }) => server === this.#server && state !== 'joining');
    const tellers = view.members.filter(
      ({ server, state }) => server !== this.#server && (state !== 'joining' || isMember),
    );
    for (const name of this.#peers.keys()) {
      if (tellers.some((member) => member.server === name)) continue;
      this.#peers.delete(name);
      this.silent.delete(name);
    }
    for (const { server, incarnation, state } of tellers) {
      const known = this.#peers.get(server);
      const isJoining = state === 'joining';
      if (known?.incarnation === incarnation && known.isJoining === isJoining) continue;
      // That a former life of it was silent says nothing of this one.
      this.silent.delete(server);
      const askedAtMs = Number.NEGATIVE_INFINITY;
      this.#peers.set(server, {
        incarnation,
        isJoining,
        nonce: 0,
        askedAtMs,
        heardAtMs: nowMs,
        nextChunk: 0,
        positions: undefined,
      });
    }
  }

  /** A tier 1 that this module has not heard yet says nothing either way: its next frame, or its silence, will. */
  #gapOf(positions: ReadonlyMap<string, number>, streams: Streams): 'none' | 'gap' | 'unknown' {
    let unknown = false;
    for (const [id, reached] of positions) {
      if (reached < (this.#least.get(id) ?? 0)) return 'gap';
      const stream = streams.get(id);
      if (stream === undefined) unknown = true;
      else if (stream.completeFrom > reached + 1) return 'gap';
    }
    return unknown ? 'unknown' : 'none';
  }
}
