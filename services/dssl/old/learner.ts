// The side of learning what the group knows (sync.ts tells the whole story): whom to ask, whose answer is complete, and
// whether the answers and what this module saw itself leave a gap. A joiner learns everything; a member that missed
// frames learns what began since.

import { limits } from '../../../shared/base/limits.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';
import { ageTicks } from '../replica/ticks.ts';
import type { Streams, Tier1Stream } from './streams.ts';
import type { SyncAnswer, SyncRequest } from './sync.ts';

/** A peer that has not answered whole, or whose answer left a gap, is asked again after this. */
const askAgainMs = 500;
/**
 * A peer that has said nothing for so long is taken to be dead: what it held is lost with it, and a group must not be
 * closed to newcomers because a member died.
 */
const silentPeerMs = 10_000;
/** A tier 1 of which a peer has heard nothing for so long has gone: an idle one speaks four times in that time. */
const silentTier1Ms = 4 * limits.idleFrameMs;
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
  /** The last question has been answered whole. */
  hasAnswered: boolean;
  /** The positions of the last whole answer, and the nonce of its question. What it told stays told when it is asked again. */
  positions: ReadonlyMap<string, number> | undefined;
  toldNonce: number;
}

/** What of a tier 1's stream matters for how far peers have told of it. */
type Asked = Pick<Tier1Stream, 'id' | 'missedAfterQuestion'>;

/** How far a peer had come with a tier 1, and since when it has said so. */
interface Reached {
  readonly sequence: number;
  readonly sinceMs: number;
}

export class Learner {
  readonly #server: string;
  readonly #peers = new Map<string, Peer>();
  /** By peer and tier 1. A question begun anew does not make this void. */
  readonly #reached = new Map<string, ReadonlyMap<string, Reached>>();
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

  /** Questions asked so far: the nonce of the last one. */
  get questions(): number {
    return this.#nonce;
  }

  /** Whether peers are asked to tell what began since that tick, or since an earlier one; undefined for everything. */
  reachesBackTo(since: number | undefined): boolean {
    return this.#since === undefined || (since !== undefined && ageTicks(since, this.#since) >= 0);
  }

  /**
   * Something was missed: every peer is to tell what began since that tick; undefined for everything. `least`: sequences
   * of tier 1s up to which a peer must have come when it answers, where this module's own frames do not say so.
   */
  again(since: number | undefined, isFirst: boolean, least: ReadonlyMap<string, number> = new Map()): void {
    this.#least = least;
    if (isFirst || !this.reachesBackTo(since)) this.#since = since;
    // What a peer is about to answer may be older than what was missed.
    this.#peers.clear();
    this.silent.clear();
  }

  /** The requests to send now, one for each peer that has not told all it holds. */
  requests(view: View, streams: Streams, nowMs: number): SyncRequest[] {
    this.#followMembers(view, nowMs);
    const due: SyncRequest[] = [];
    for (const [to, peer] of this.#peers) {
      const gap = this.#gapOf(to, peer, streams);
      if (gap === 'none') continue;
      if (!peer.isJoining && nowMs - peer.heardAtMs > silentPeerMs && !peer.hasAnswered) this.silent.add(to);
      const isGap = gap === 'gap' && peer.hasAnswered;
      if (isGap) this.gaps++;
      else if (nowMs - peer.askedAtMs < askAgainMs) continue;
      peer.nonce = ++this.#nonce;
      peer.askedAtMs = nowMs;
      peer.nextChunk = 0;
      peer.hasAnswered = false;
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

  /** Whether these lives are given up still: one that answers in the end is not. */
  areSilent(lives: readonly Life[]): boolean {
    const { silentLives } = this;
    return lives.every((life) => silentLives.some((silent) => isLifeOf(silent, life)));
  }

  /** Whether one of these lives has answered the last question whole. */
  haveAnyAnswered(lives: readonly Life[]): boolean {
    return lives.some(({ server, incarnation }) => {
      const peer = this.#peers.get(server);
      return peer?.incarnation === incarnation && peer.hasAnswered;
    });
  }

  /** This life of a peer is dead: it is waited for no longer. */
  giveUp({ server, incarnation }: Life): void {
    const peer = this.#peers.get(server);
    if (peer?.incarnation === incarnation && !peer.hasAnswered) this.silent.add(server);
  }

  /** Peers that have told nothing for a while and are still waited for. */
  late(nowMs: number): string[] {
    const isLate = ([name, peer]: [string, Peer]) =>
      !peer.hasAnswered && !peer.isJoining && !this.silent.has(name) && nowMs - peer.heardAtMs > latePeerMs;
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
    if (!answer.isLast) return true;
    peer.hasAnswered = true;
    peer.positions = answer.positions;
    peer.toldNonce = answer.nonce;
    this.#noteReached(answer, nowMs);
    return true;
  }

  /** True when every member that holds flows and lives has told them, and nothing was missed in between. */
  isComplete(view: View, streams: Streams, nowMs: number): boolean {
    this.#followMembers(view, nowMs);
    for (const [name, peer] of this.#peers) {
      if (!this.silent.has(name) && !peer.isJoining && this.#gapOf(name, peer, streams) !== 'none') return false;
    }
    return true;
  }

  /** Up to which frame of a tier 1 every member that lives has told what it knows. */
  toldTo(stream: Asked): number {
    let least = Number.POSITIVE_INFINITY;
    for (const [name, peer] of this.#peers) {
      if (!this.silent.has(name) && !peer.isJoining) least = Math.min(least, toldBy(peer, stream));
    }
    return least;
  }

  /** The same of all tier 1s that they name, for a module that was told everything. */
  get toldOf(): Map<string, number> {
    const ids = [...this.#peers.values()].flatMap(({ positions }) => [...(positions?.keys() ?? [])]);
    const told = ids.map((id): [string, number] => [id, this.toldTo({ id, missedAfterQuestion: -1 })]);
    return new Map(told.filter(([, sequence]) => Number.isFinite(sequence)));
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
      this.#reached.delete(name);
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
        hasAnswered: false,
        positions: undefined,
        toldNonce: 0,
      });
    }
  }

  #noteReached({ from, positions }: SyncAnswer, nowMs: number): void {
    const before = this.#reached.get(from);
    const now = [...positions].map(([id, sequence]): [string, Reached] => {
      const known = before?.get(id);
      return [id, known?.sequence === sequence ? known : { sequence, sinceMs: nowMs }];
    });
    this.#reached.set(from, new Map(now));
  }

  /** The peer has answered again, and has not heard that tier 1 in between: it has gone, and nothing of it is on its way. */
  #isSilent(tier1: string, peer: string): boolean {
    const reached = this.#reached.get(peer)?.get(tier1);
    const heardAtMs = this.#peers.get(peer)?.heardAtMs ?? 0;
    return reached !== undefined && heardAtMs - reached.sinceMs >= silentTier1Ms;
  }

  /** A tier 1 that this module has not heard yet says nothing either way: its next frame, or its silence, will. */
  #gapOf(name: string, peer: Peer, streams: Streams): 'none' | 'gap' | 'unknown' {
    const { positions } = peer;
    if (positions === undefined) return 'unknown';
    for (const stream of streams.all()) if (toldBy(peer, stream) < stream.missedTo) return 'gap';
    let unknown = false;
    for (const [id, reached] of positions) {
      if (reached < (this.#least.get(id) ?? 0)) return 'gap';
      if (streams.get(id) === undefined && !this.#isSilent(id, name)) unknown = true;
    }
    return unknown ? 'unknown' : 'none';
  }
}

/** Up to which frame of a tier 1 a peer has told what it knows; -1 when it has told nothing. */
function toldBy({ positions, toldNonce }: Peer, { id, missedAfterQuestion }: Asked): number {
  if (positions === undefined) return -1;
  // It has not heard that tier 1 for a while, so it has nothing of it to tell; unless that was before frames were missed.
  return positions.get(id) ?? (toldNonce > missedAfterQuestion ? Number.POSITIVE_INFINITY : -1);
}
