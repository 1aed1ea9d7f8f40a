// The egress to a server that speaks UDP, on whatever hardware (`--backend udp://host:port`): it gets the payload of each
// accepted datagram, from a socket of its own for each client, and what it answers goes back to the client by the tier 1
// that the client's last packet came by. Neither the client nor the server has to know of the cluster.
//
//   accepted packet ─► payload ─► session of its client (udp/sessions.ts) ─► backend
//   return.<tier 1> ◄─ batches of answers (returns.ts) ◄─ session ◄─────────┘
//
// The backend sees as many peers as there are clients, all with this machine's address. Packets that are not whole UDP
// datagrams are dropped and counted by cause. Sessions are bounded; when there are too many, the one that is missed least
// gives way.
//
// An answer is passed on when it comes from where the client's datagrams go, while the session lasts; all others are counted by
// cause (udp/refusedAnswers.ts). A server may answer from a new port and go on there, as TFTP does (RFC 1350). The client does
// not see that port, only the VIP. So where such answers are wanted, the session takes the port that spoke last for the
// backend's, and the client's later datagrams go there; when nobody listens there any more, they go to the first port again.

import type { RemoteInfo } from 'node:dgram';
import { reasonOf } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { UdpAddress } from '../../../shared/base/udpAddress.ts';
import type { EgressStats, ServerEgress } from './egress.ts';
import type { HandlerLog, ServerLoad } from './handlers/handler.ts';
import { MeanSince, ShareSince } from './measures.ts';
import { Returns, type ReturnsOptions, type Tier1Return } from './remote/returns.ts';
import { copyBytes, Datagram } from './udp/datagram.ts';
import { RefusedAnswers } from './udp/refusedAnswers.ts';
import { UdpSession, UdpSessions } from './udp/sessions.ts';
import { BackendSocket } from './udp/socket.ts';

/** From where the backend's answers are taken: from the port that was asked, or from any port of its address. */
export const answerOrigins = ['same-port', 'any-port'] as const;
export type AnswerOrigin = (typeof answerOrigins)[number];

export interface UdpEgressOptions extends ReturnsOptions {
  readonly backend: UdpAddress;
  readonly log: HandlerLog;
  /** Default `same-port`. */
  readonly answers?: AnswerOrigin | undefined;
  /** How long a session outlives its client's last packet; default `limits.backendSessionSeconds`. */
  readonly sessionSeconds?: number | undefined;
  /** Default `limits.backendSockets`. */
  readonly maxSockets?: number;
}

/** Why an accepted packet does not reach the backend. `unreachable`: its system answered with an ICMP error before. */
const causes = [
  'not-udp',
  'fragment',
  'malformed',
  'no-socket',
  'too-many-pending',
  'unreachable',
  'send-failed',
] as const;
type Cause = (typeof causes)[number];
/** Those that say something of the backend or the way to it, not of the packet. */
const lossCauses: readonly Cause[] = ['no-socket', 'too-many-pending', 'unreachable', 'send-failed'];

const logIntervalMs = 1_000;
/** How long the end waits for answers to what was asked last. */
const lastAnswersMs = 1_000;
/** An answer later than this is taken to be one to a later datagram: not everything is answered. */
const answerMs = 5_000;
const unreachableCodes = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN'];

class UdpStats implements EgressStats {
  packets = 0;
  bytes = 0;
  flowsStarted = 0;
  flowsEnded = 0;
  readonly dropped = Object.fromEntries(causes.map((cause) => [cause, 0])) as Record<Cause, number>;

  get packetsLost(): number {
    return Object.values(this.dropped).reduce((sum, count) => sum + count, 0);
  }
}

export class UdpEgress implements ServerEgress {
  readonly stats: Readonly<UdpStats>;
  readonly #stats = new UdpStats();
  readonly #options: UdpEgressOptions;
  readonly #maxSockets: number;
  readonly #sessionMs: number;
  readonly #refused: RefusedAnswers;
  readonly #returns: Returns;
  readonly #sessions = new UdpSessions();
  /** In the packet at hand. */
  readonly #datagram = new Datagram();
  readonly #counts = { forwarded: 0, unreachable: 0, answers: 0, otherPorts: 0, opened: 0, evicted: 0, failed: 0 };
  readonly #latency = new MeanSince();
  readonly #loss = new ShareSince();
  #data: Uint8Array = new Uint8Array(0);
  #tier1!: Tier1Return;
  #nowMs = 0;
  /** Datagrams that the system has not taken yet. */
  #pending = 0;
  #awaiting = 0;
  #whenAnswered: (() => void) | undefined;
  #loggedAtMs = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(options: UdpEgressOptions) {
    this.stats = this.#stats;
    this.#options = options;
    this.#maxSockets = options.maxSockets ?? limits.backendSockets;
    this.#sessionMs = (options.sessionSeconds ?? limits.backendSessionSeconds) * 1_000;
    const { backend, answers, log } = options;
    const rules = { backend: backend.text, anyPort: answers === 'any-port', sessionMs: this.#sessionMs };
    this.#refused = new RefusedAnswers(rules, log);
    this.#returns = new Returns(options);
  }

  /** Nothing can be asked of a UDP server beforehand: whether it lives shows when it answers. */
  async start(): Promise<void> {
    const { backend, log } = this.#options;
    log.info('datagrams go to a backend', { backend: backend.text, address: backend.address, port: backend.port });
  }

  begin(data: Uint8Array, _timestampMs: number, tier1Id: string): void {
    this.#data = data;
    this.#nowMs = this.#options.clock.monotonicMs();
    this.#tier1 = this.#returns.heard(tier1Id, this.#nowMs);
  }

  add(offset: number, length: number, hi: number, lo: number, flags: number): void {
    const stats = this.#stats;
    stats.packets++;
    stats.bytes += length;
    const datagram = this.#datagram;
    const fault = datagram.read(this.#data, offset, offset + length, flags);
    if (fault !== undefined) {
      stats.dropped[fault]++;
      return;
    }
    const session = this.#sessions.find(hi, lo, datagram.row) ?? this.#open(hi, lo);
    if (session === undefined) stats.dropped['no-socket']++;
    else this.#forward(session, datagram);
  }

  end(): void {
    // Datagrams leave as they come.
  }

  flowStarted(): void {
    this.#stats.flowsStarted++;
  }

  flowEnded(hi: number, lo: number): void {
    this.#stats.flowsEnded++;
    this.#sessions.endFlow(hi, lo);
  }

  /** Ends the sessions whose clients have been silent for too long, and closes those that were over for long. */
  tick(): void {
    const sessions = this.#sessions;
    const nowMs = this.#options.clock.monotonicMs();
    const endMs = nowMs - this.#sessionMs;
    const closeMs = endMs - limits.backendOverMs;
    for (let next = sessions.silentSince(endMs); next !== undefined; next = sessions.silentSince(endMs)) {
      this.#answered(next);
      sessions.expire(next);
    }
    const most = limits.backendOverSessions;
    for (let next = sessions.overSince(closeMs, most); next !== undefined; next = sessions.overSince(closeMs, most)) {
      this.#close(next);
    }
    this.#refused.noteLost(occurred(this.#returns.dropped), nowMs);
  }

  /** Latency of the answers since it was asked last, and the share of datagrams that did not reach the backend. */
  load(): ServerLoad {
    const { forwarded, unreachable } = this.#counts;
    const dropped = lossCauses.reduce((sum, cause) => sum + this.#stats.dropped[cause], 0);
    const loss = this.#loss.take(dropped + unreachable, dropped + forwarded);
    return { latencyMs: this.#latency.take(), loss };
  }

  report(): Record<string, unknown> {
    const { forwarded, unreachable, answers, otherPorts, opened, evicted, failed } = this.#counts;
    const { size, over } = this.#sessions;
    return {
      backend: this.#options.backend.text,
      forwarded,
      dropped: occurred(this.#stats.dropped),
      /** ICMP errors by which the backend's system, or one on the way, refused earlier datagrams. */
      unreachable,
      /** All that came: answersSent + answersDropped, once what is under way has left. */
      answers,
      /** Those of them that came from another port than the one asked, and were passed on. */
      answersFromOtherPorts: otherPorts,
      answersSent: this.#returns.sent,
      answersDropped: occurred({ ...this.#refused.counts, ...this.#returns.dropped }),
      /** `over`: kept only to count the answers that come too late. */
      sockets: { open: size - over, over, opened, evicted, failed },
    };
  }

  /** Waits a moment for answers that are due, sends them, and closes all sockets. */
  async stop(): Promise<void> {
    if (this.#awaiting > 0) {
      const { clock } = this.#options;
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(lastAnswersMs, resolve);
        this.#whenAnswered = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#returns.flush();
    for (let session = this.#sessions.leastNeeded(); session !== undefined; session = this.#sessions.leastNeeded()) {
      this.#close(session);
    }
  }

  #forward(session: UdpSession, { start, end }: Datagram): void {
    const { dropped } = this.#stats;
    const sessions = this.#sessions;
    sessions.touch(session, this.#nowMs);
    session.tier1 = this.#tier1;
    if (this.#pending >= limits.backendPending) {
      dropped['too-many-pending']++;
      return;
    }
    // The frame's bytes are gone when the system takes them later.
    const payload = Buffer.allocUnsafe(end - start);
    copyBytes.call(this.#data, payload, 0, start, end);
    try {
      session.socket.send(payload, this.#sent);
    } catch (error) {
      dropped['send-failed']++;
      this.#fail(session, error);
      return;
    }
    this.#pending++;
    if (!session.isAwaiting || this.#nowMs - session.askedAtMs > answerMs) session.askedAtMs = this.#nowMs;
    if (!session.isAwaiting) {
      session.isAwaiting = true;
      this.#awaiting++;
    }
  }

  /** What becomes of each datagram; one function for all of them. */
  readonly #sent = (error: Error | null): void => {
    this.#pending--;
    if (error === null || error === undefined) {
      this.#counts.forwarded++;
      return;
    }
    this.#stats.dropped[isUnreachable(error) ? 'unreachable' : 'send-failed']++;
    this.#complain(`a datagram could not be sent: ${reasonOf(error)}`);
  };

  #open(hi: number, lo: number): UdpSession | undefined {
    if (this.#sessions.size >= this.#maxSockets) this.#evict();
    let session: UdpSession | undefined;
    const events = {
      onDatagram: (datagram: Uint8Array, from: RemoteInfo) => {
        if (session !== undefined) this.#onAnswer(session, datagram, from);
      },
      onError: (error: Error) => {
        if (session !== undefined) this.#onError(session, error);
      },
    };
    try {
      const socket = this.#openSocket(events);
      session = new UdpSession(hi, lo, this.#datagram.row.slice(), socket, this.#tier1, this.#nowMs);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
    this.#sessions.add(session);
    this.#counts.opened++;
    return session;
  }

  /** Where the system gives no more files to this process, somebody who is missed less gives one up. */
  #openSocket(events: Parameters<typeof BackendSocket.open>[1]): BackendSocket {
    const { backend } = this.#options;
    try {
      return BackendSocket.open(backend, events);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EMFILE' || !this.#evict()) throw error;
      this.#complain('sessions give way to new ones for want of open files: raise their limit (ulimit -n)');
      return BackendSocket.open(backend, events);
    }
  }

  #evict(): boolean {
    const session = this.#sessions.leastNeeded();
    if (session === undefined) return false;
    this.#close(session);
    this.#counts.evicted++;
    return true;
  }

  #onAnswer(session: UdpSession, datagram: Uint8Array, from: RemoteInfo): void {
    if (session.isClosed) return;
    const nowMs = this.#options.clock.monotonicMs();
    this.#counts.answers++;
    if (this.#refused.refuses(session, datagram.length, from, nowMs)) return;
    if (from.port !== session.socket.port) this.#follow(session, from.port);
    if (from.port !== this.#options.backend.port) this.#counts.otherPorts++;
    if (session.isAwaiting) this.#latency.add(nowMs - session.askedAtMs);
    this.#answered(session);
    this.#returns.add(session.tier1, session.row, datagram, nowMs);
  }

  #follow(session: UdpSession, port: number): void {
    try {
      session.socket.follow(port);
    } catch (error) {
      this.#fail(session, error);
    }
  }

  /** A connected socket is told when the backend's system refuses datagrams. Everything else is the end of the socket. */
  #onError(session: UdpSession, error: Error): void {
    if (session.isClosed) return;
    if (!isUnreachable(error)) {
      this.#fail(session, error);
      return;
    }
    this.#counts.unreachable++;
    this.#answered(session);
    this.#complain(`it cannot be reached (${(error as NodeJS.ErrnoException).code})`);
    this.#follow(session, this.#options.backend.port);
  }

  #fail(session: UdpSession, error: unknown): void {
    if (session.isClosed) return;
    this.#failed(error);
    this.#close(session);
  }

  #failed(error: unknown): void {
    this.#counts.failed++;
    const isFull = (error as NodeJS.ErrnoException).code === 'EMFILE';
    this.#complain(
      `a socket failed (${reasonOf(error)})${isFull ? ': raise the limit of open files (ulimit -n)' : ''}`,
    );
  }

  #close(session: UdpSession): void {
    if (session.isClosed) return;
    session.isClosed = true;
    this.#answered(session);
    this.#sessions.remove(session);
    session.socket.close();
  }

  #answered(session: UdpSession): void {
    if (!session.isAwaiting) return;
    session.isAwaiting = false;
    if (--this.#awaiting === 0) this.#whenAnswered?.();
  }

  #complain(what: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logIntervalMs) {
      this.#unlogged++;
      return;
    }
    this.#loggedAtMs = nowMs;
    const { unreachable } = this.#counts;
    const fields = { unreachable, packetsLost: this.#stats.packetsLost, unlogged: this.#unlogged };
    this.#unlogged = 0;
    this.#options.log.warn(`backend ${this.#options.backend.text}: ${what}`, fields);
  }
}

function isUnreachable(error: Error): boolean {
  return unreachableCodes.includes((error as NodeJS.ErrnoException).code ?? '');
}

function occurred(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
