// The egress to a server that speaks UDP, on whatever hardware (`--backend udp://host:port`): it gets the payload of each
// accepted datagram, from a socket of its own for each client, and what it answers goes back to the client by the tier 1
// that the client's last packet came by. Neither the client nor the server has to know of the cluster.
//
//   accepted packet ─► payload ─► session of its client (udpSessions.ts) ─► backend
//   return.<tier 1> ◄─ batches of answers (returns.ts) ◄─ session ◄─────────┘
//
// The backend sees as many peers as there are clients, all with this machine's address. Packets that are not whole UDP
// datagrams are dropped and counted by cause. Sockets are bounded; when there are too many, the one that is missed least
// gives way. A session whose flow has ended stays a little for answers that are late.

import { createSocket, type Socket } from 'node:dgram';
import { reasonOf } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { UdpAddress } from '../../../shared/base/udpAddress.ts';
import { FrameFlags, linkTypeOf } from '../../../shared/flow/frameFlags.ts';
import { answerRowBytes } from '../../../shared/messages/answers.ts';
import { u16 } from '../../../shared/packet/bytes.ts';
import { Fragment, Headers, type IpLayer } from '../../../shared/packet/decode/headers.ts';
import { parse } from '../../../shared/packet/decode/parse.ts';
import { Protocol } from '../../../shared/packet/decode/transport.ts';
import type { EgressStats, ServerEgress } from './egress.ts';
import type { HandlerLog, ServerLoad } from './handlers/handler.ts';
import { MeanSince, ShareSince } from './measures.ts';
import { Returns, type ReturnsOptions, type Tier1Return } from './remote/returns.ts';
import { UdpSession, UdpSessions } from './udpSessions.ts';

export interface UdpEgressOptions extends ReturnsOptions {
  readonly backend: UdpAddress;
  readonly log: HandlerLog;
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

const udpHeaderBytes = 8;
const logIntervalMs = 1_000;
/** How long the end waits for answers to what was asked last. */
const lastAnswersMs = 1_000;
/** An answer later than this is taken to be one to a later datagram: not everything is answered. */
const answerMs = 5_000;
const unreachableCodes = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN'];

/** Copies without making a view of the packet. */
const copyBytes = Buffer.prototype.copy as (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  sourceStart: number,
  sourceEnd: number,
) => number;

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
  readonly #returns: Returns;
  readonly #sessions = new UdpSessions();
  readonly #headers = new Headers();
  /** Client and VIP of the packet at hand. */
  readonly #row = new Uint8Array(answerRowBytes);
  readonly #counts = { forwarded: 0, unreachable: 0, answers: 0, opened: 0, evicted: 0, failed: 0 };
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
    const start = this.#payloadOf(offset, offset + length, flags);
    if (start < 0) return;
    const end = this.#headers.outer.payload + u16(this.#data, this.#headers.outer.payload + 4);
    writeRow(this.#row, this.#data, this.#headers.outer);
    const session = this.#sessions.find(hi, lo, this.#row) ?? this.#open(hi, lo);
    if (session === undefined) stats.dropped['no-socket']++;
    else this.#forward(session, start, end);
  }

  end(): void {
    // Datagrams leave as they come.
  }

  flowStarted(): void {
    this.#stats.flowsStarted++;
  }

  flowEnded(hi: number, lo: number): void {
    this.#stats.flowsEnded++;
    this.#sessions.endFlow(hi, lo, this.#options.clock.monotonicMs());
  }

  /** Closes the sessions that have been silent for too long. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (;;) {
      const session = this.#sessions.overdue(nowMs - limits.backendLingerMs, nowMs - limits.backendIdleMs);
      if (session === undefined) return;
      this.#close(session);
    }
  }

  /** Latency of the answers since it was asked last, and the share of datagrams that did not reach the backend. */
  load(): ServerLoad {
    const { forwarded, unreachable } = this.#counts;
    const dropped = lossCauses.reduce((sum, cause) => sum + this.#stats.dropped[cause], 0);
    const loss = this.#loss.take(dropped + unreachable, dropped + forwarded);
    return { latencyMs: this.#latency.take(), loss };
  }

  report(): Record<string, unknown> {
    const { forwarded, unreachable, answers, opened, evicted, failed } = this.#counts;
    return {
      backend: this.#options.backend.text,
      forwarded,
      dropped: occurred(this.#stats.dropped),
      /** ICMP errors by which the backend's system, or one on the way, refused earlier datagrams. */
      unreachable,
      answers,
      answersSent: this.#returns.sent,
      answersDropped: occurred(this.#returns.dropped),
      sockets: { open: this.#sessions.size, opened, evicted, failed },
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

  /** Where the datagram in a packet begins, with `#headers` filled; -1 when it has none, which is counted. */
  #payloadOf(start: number, end: number, flags: number): number {
    const { dropped } = this.#stats;
    const { outer } = this.#headers;
    const reason = parse(this.#data, start, end, linkTypeOf(flags), this.#headers, false);
    if (outer.version !== 0 && (outer.fragment !== Fragment.WHOLE || flags & FrameFlags.LATER_FRAGMENT)) {
      dropped.fragment++;
    } else if (reason !== 0) {
      dropped.malformed++;
    } else if (outer.version === 0 || outer.protocol !== Protocol.UDP) {
      dropped['not-udp']++;
    } else {
      const room = outer.end - outer.payload;
      const length = room < udpHeaderBytes ? 0 : u16(this.#data, outer.payload + 4);
      if (length >= udpHeaderBytes && length <= room) return outer.payload + udpHeaderBytes;
      // Also what a capture has cut off.
      dropped.malformed++;
    }
    return -1;
  }

  #forward(session: UdpSession, start: number, end: number): void {
    const { dropped } = this.#stats;
    const sessions = this.#sessions;
    sessions.revive(session);
    sessions.touch(session, this.#nowMs);
    session.tier1 = this.#tier1;
    if (this.#pending >= limits.backendPending) {
      dropped['too-many-pending']++;
      return;
    }
    // The frame's bytes are gone when the system takes them later.
    const datagram = Buffer.allocUnsafe(end - start);
    copyBytes.call(this.#data, datagram, 0, start, end);
    try {
      session.socket.send(datagram, this.#sent);
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
    if (this.#sessions.size >= this.#maxSockets) {
      const session = this.#sessions.leastNeeded();
      if (session !== undefined) this.#close(session);
      this.#counts.evicted++;
    }
    const { address, family, port } = this.#options.backend;
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      // The address is literal here, so that a socket is ready when connect() returns.
      lookup: (host, _options, found) => found(null, host, family),
    });
    const session = new UdpSession(hi, lo, this.#row.slice(), socket, this.#tier1, this.#nowMs);
    this.#sessions.add(session);
    this.#counts.opened++;
    socket.on('message', (datagram) => this.#onAnswer(session, datagram));
    socket.on('error', (error) => this.#onError(session, error));
    connect(socket, port, address);
    return session.isClosed ? undefined : session;
  }

  #onAnswer(session: UdpSession, datagram: Uint8Array): void {
    if (session.isClosed) return;
    const nowMs = this.#options.clock.monotonicMs();
    this.#counts.answers++;
    if (session.isAwaiting) this.#latency.add(nowMs - session.askedAtMs);
    this.#sessions.touch(session, nowMs);
    this.#answered(session);
    this.#returns.add(session.tier1, session.row, datagram, nowMs);
  }

  /** A connected socket is told when the backend's system refuses datagrams. Everything else is the end of the socket. */
  #onError(session: UdpSession, error: Error): void {
    if (!isUnreachable(error)) {
      this.#fail(session, error);
      return;
    }
    this.#counts.unreachable++;
    this.#answered(session);
    this.#complain(`it cannot be reached (${(error as NodeJS.ErrnoException).code})`);
  }

  #fail(session: UdpSession, error: unknown): void {
    if (session.isClosed) return;
    this.#counts.failed++;
    const isFull = (error as NodeJS.ErrnoException).code === 'EMFILE';
    this.#complain(
      `a socket failed (${reasonOf(error)})${isFull ? ': raise the limit of open files (ulimit -n)' : ''}`,
    );
    this.#close(session);
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

function connect(socket: Socket, port: number, address: string): void {
  try {
    socket.connect(port, address);
  } catch (error) {
    socket.emit('error', error);
  }
}

/** As `answerRow` in shared/messages/answers.ts, without making anything. */
function writeRow(row: Uint8Array, data: Uint8Array, layer: IpLayer): void {
  const bytes = layer.version === 4 ? 4 : 16;
  row[0] = layer.version;
  copyBytes.call(data, row, 4, layer.payload, layer.payload + 4);
  if (bytes === 4) row.fill(0, 8);
  copyBytes.call(data, row, 8, layer.source, layer.source + bytes);
  copyBytes.call(data, row, 24, layer.target, layer.target + bytes);
}

function isUnreachable(error: Error): boolean {
  return unreachableCodes.includes((error as NodeJS.ErrnoException).code ?? '');
}

function occurred(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
