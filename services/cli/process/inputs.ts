// Where a tier 1 gets its packets from: what users write after `--input`. There are two kinds. Captures are files or
// standard input: they are read one after the other, and end. Live inputs bring packets for as long as the process runs;
// all of them bring packets at the same time, also while captures are read. A new kind of live input is an entry in
// `liveKinds`.

import type { Logger } from 'pino';
import type { Clock } from '../../../shared/base/clock.ts';
import { parseUdpUrl, udpScheme } from '../../../shared/base/udpAddress.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import type { Tier1Actor } from '../../tier1/actor.ts';
import { checkCapture } from '../../tier1/ingress/capture.ts';
import { SubjectIngress } from '../../tier1/ingress/subject.ts';
import { UdpIngress } from '../../tier1/ingress/udp.ts';

/** What a live input works with. */
export interface InputContext {
  readonly tier1: Tier1Actor;
  readonly subjects: Subjects;
  /** Connection for packets, and the one for everything else. */
  readonly bus: Bus;
  readonly controlBus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
}

/** An input that has begun to bring packets. */
export interface LiveInput {
  /** Brings no more. */
  stop(): Promise<void>;
  /** What it counted, for the report; called after `stop`. */
  report(): Record<string, unknown>;
}

interface LiveKind {
  /** Its name in the report. */
  readonly name: string;
  /** Who sends, for the log. */
  readonly senders: string;
  takes(source: string): boolean;
  /**
   * All sources of this kind, read at once so that mistakes are said before anything is connected. Throws FlowherdError
   * bad-config.
   */
  read(sources: readonly string[]): LiveSources;
}

interface LiveSources {
  /** Rejects with a FlowherdError when they cannot be had, as far as that shows before anything is connected. */
  check(): Promise<void>;
  /** Rejects with a FlowherdError, and leaves nothing open. */
  open(context: InputContext): Promise<LiveInput>;
}

const liveKinds: readonly LiveKind[] = [
  {
    name: 'bus',
    senders: 'the bus',
    takes: (source) => source === 'bus',
    read: () => ({ check: async () => undefined, open: (context) => SubjectIngress.open(context) }),
  },
  {
    name: 'udp',
    senders: 'UDP clients',
    takes: (source) => source.startsWith(udpScheme),
    read: (sources) => {
      const urls = sources.map((source) => parseUdpUrl(source, 0));
      return { check: () => UdpIngress.check(urls), open: (context) => UdpIngress.open(urls, context) };
    },
  },
];

export class Inputs {
  /** Files, or '-' for standard input, in the order given. */
  readonly captures: readonly string[];
  readonly #kinds: { readonly name: string; readonly senders: string; readonly sources: LiveSources }[] = [];
  readonly #live: { readonly name: string; readonly input: LiveInput }[] = [];

  /** Throws FlowherdError bad-config for what is no input. */
  constructor(sources: readonly string[]) {
    for (const kind of liveKinds) {
      const mine = sources.filter((source) => kind.takes(source));
      if (mine.length > 0) this.#kinds.push({ name: kind.name, senders: kind.senders, sources: kind.read(mine) });
    }
    this.captures = sources.filter((source) => !liveKinds.some((kind) => kind.takes(source)));
  }

  /** True when packets come in until somebody ends it. */
  get isLive(): boolean {
    return this.#kinds.length > 0;
  }

  /** Who sends to the live inputs, for people. */
  get senders(): string {
    return this.#kinds.map(({ senders }) => senders).join(' and ');
  }

  /** Looks for all of them, before anything is connected. Rejects with a FlowherdError when one cannot be had. */
  async check(): Promise<void> {
    for (const file of this.captures) await checkCapture(file);
    for (const { sources } of this.#kinds) await sources.check();
  }

  /** Opens the live inputs: from here on they feed tier 1. Rejects with a FlowherdError when one cannot be had. */
  async open(context: InputContext): Promise<void> {
    for (const { name, sources } of this.#kinds) this.#live.push({ name, input: await sources.open(context) });
  }

  /** Ends the live inputs. */
  async stop(): Promise<void> {
    await Promise.all(this.#live.map(({ input }) => input.stop()));
  }

  /** What the live inputs counted, by kind. */
  report(): Record<string, unknown> {
    return Object.fromEntries(this.#live.map(({ name, input }) => [name, input.report()]));
  }
}
