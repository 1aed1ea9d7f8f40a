// Which answers of a backend are not passed to clients: they are counted by cause, and said with what can be done about it. Each
// cause has its line once in a while, since a backend that does so once does so with every answer.

import type { RemoteInfo } from 'node:dgram';
import type { HandlerLog } from '../handlers/handler.ts';
import type { UdpSession } from './sessions.ts';

/**
 * Why an answer is not passed on: it came from another port of the backend than the one that was asked (TFTP), or from another
 * address; its client has been silent for longer than sessions last (CoAP observe); no datagram to the client may be so long.
 */
const refusals = ['other-port', 'other-address', 'session-over', 'too-large'] as const;
type Refusal = (typeof refusals)[number];

export interface AnswerRules {
  /** How lines name the backend. */
  readonly backend: string;
  /** Answers may come from any port of its address. */
  readonly anyPort: boolean;
  /** How long a session outlives its client's last packet. */
  readonly sessionMs: number;
}

/** The longest payload over IPv4, whose header counts as well. */
const ipv4PayloadBytes = 65_507;
const logIntervalMs = 10_000;

export class RefusedAnswers {
  readonly counts = Object.fromEntries(refusals.map((cause) => [cause, 0])) as Record<Refusal, number>;
  readonly #rules: AnswerRules;
  readonly #log: HandlerLog;
  readonly #loggedAtMs = new Map<string, number>();
  #lost = 0;

  constructor(rules: AnswerRules, log: HandlerLog) {
    this.#rules = rules;
    this.#log = log;
  }

  /** Whether an answer of so many bytes may not be passed to the session's client; counts it then. */
  refuses(session: UdpSession, bytes: number, from: RemoteInfo, nowMs: number): boolean {
    const cause = this.#causeOf(session, bytes, from, nowMs);
    if (cause === undefined) return false;
    this.counts[cause]++;
    if (this.#isTime(cause, nowMs)) {
      this.#say(this.#wordsFor(cause, session, bytes, from, nowMs), { answers: this.counts[cause] });
    }
    return true;
  }

  /** The counts of answers that were lost between here and tier 1, to be shown now and then. */
  noteLost(counts: Readonly<Record<string, number>>, nowMs: number): void {
    const lost = Object.values(counts).reduce((sum, count) => sum + count, 0);
    if (lost === this.#lost || !this.#isTime('lost', nowMs)) return;
    this.#lost = lost;
    this.#say('answers could not go back by their tier 1', { ...counts });
  }

  #causeOf(session: UdpSession, bytes: number, { address, port }: RemoteInfo, nowMs: number): Refusal | undefined {
    const { anyPort, sessionMs } = this.#rules;
    const { socket, row } = session;
    if (address !== socket.peer) return 'other-address';
    if (port !== socket.port && !anyPort) return 'other-port';
    if (session.isOver || nowMs - session.usedAtMs >= sessionMs) return 'session-over';
    return row[0] === 4 && bytes > ipv4PayloadBytes ? 'too-large' : undefined;
  }

  #wordsFor(cause: Refusal, session: UdpSession, bytes: number, from: RemoteInfo, nowMs: number): string {
    switch (cause) {
      case 'other-address':
        return `a datagram from ${from.address} port ${from.port} is not the backend's, and is not passed on`;
      case 'other-port':
        return `an answer from port ${from.port} instead of ${session.socket.port} is not passed on; --answers any-port passes such answers`;
      case 'session-over':
        return `an answer ${Math.round((nowMs - session.usedAtMs) / 1_000)} s after its client's last packet is not passed on; sessions last for --session-seconds ${this.#rules.sessionMs / 1_000}`;
      case 'too-large':
        return `an answer of ${bytes} bytes is not passed on: over IPv4 a client gets at most ${ipv4PayloadBytes}`;
    }
  }

  #isTime(what: string, nowMs: number): boolean {
    if (nowMs - (this.#loggedAtMs.get(what) ?? Number.NEGATIVE_INFINITY) < logIntervalMs) return false;
    this.#loggedAtMs.set(what, nowMs);
    return true;
  }

  #say(words: string, fields: Record<string, unknown>): void {
    this.#log.warn(`backend ${this.#rules.backend}: ${words}`, fields);
  }
}
