// The demo's traffic: a recorded town and generated flows at the same time, into one tier 1, at an even pace.
//
// Generated flows are short, so that a drained server is seen to run empty: a TCP connection lasts about a second. What
// marks no end (UDP) lasts as long as the cluster remembers it. Falling behind is not made up for later by a burst: the
// rate that is shown is the rate that was sent.

import type { Clock } from '../../../shared/base/clock.ts';
import { TrafficGenerator } from '../../loadgen/generator/generator.ts';
import type { FlowClass } from '../../loadgen/generator/mixes.ts';
import type { Tier1Actor } from '../../tier1/actor.ts';
import type { Distributor } from '../../tier1/distribute.ts';
import type { HeldCapture } from './capture.ts';

/** Shares of flows and packets are alike, so a flow of n packets lasts n times `secondsPerPacket`, whatever the rate. */
const secondsPerPacket = 0.06;
const uniform = (min: number, max: number) => ({ kind: 'uniform', min, max }) as const;
const classes: readonly FlowClass[] = [
  {
    name: 'web',
    protocol: 'tcp',
    targetPort: 443,
    flowShare: 10,
    packetShare: 10,
    packetsPerFlow: uniform(6, 24),
    packetBytes: uniform(60, 700),
    burst: 2,
    order: 'in-turn',
    resetPercent: 3,
  },
  {
    name: 'signalling',
    protocol: 'sctp',
    targetPort: 2_905,
    flowShare: 1,
    packetShare: 1,
    packetsPerFlow: uniform(9, 24),
    packetBytes: uniform(100, 300),
    order: 'in-turn',
  },
  {
    name: 'quic',
    protocol: 'udp',
    targetPort: 443,
    flowShare: 4,
    packetShare: 4,
    packetsPerFlow: uniform(20, 120),
    packetBytes: uniform(75, 700),
    burst: 2,
    order: 'in-turn',
  },
  {
    name: 'voice',
    protocol: 'udp',
    targetPort: 16_384,
    flowShare: 2,
    packetShare: 2,
    packetsPerFlow: uniform(100, 400),
    packetBytes: uniform(214, 214),
    order: 'in-turn',
  },
  {
    name: 'names',
    protocol: 'udp',
    targetPort: 53,
    flowShare: 1,
    packetShare: 1,
    packetsPerFlow: uniform(2, 4),
    packetBytes: uniform(70, 120),
    order: 'in-turn',
  },
];

const ethernet = 1;
/** Packets of one turn, after which deliveries and the display have theirs. */
const packetsPerTurn = 512;
const turnMs = 2;
/** A backlog beyond this much is given up. */
const patienceMs = 250;

/** What the traffic needs of a tier 1. */
export interface TrafficTarget extends Pick<Tier1Actor, 'isReady' | 'ready' | 'fed'> {
  readonly distributor: Pick<Distributor, 'packet'>;
}

export interface TrafficOptions {
  readonly tier1: TrafficTarget;
  readonly clock: Clock;
  readonly capture: HeldCapture;
  /** Generated packets a second. */
  readonly ratePps: number;
  /** How long the show is meant to last: the capture is sped up, never slowed down, to fit in once. */
  readonly seconds: number;
  /** Called after each turn. */
  readonly onTurn: () => void;
}

export class Traffic {
  /** Packets taken from each source so far, and how often the capture was begun. */
  readonly sent = { capture: 0, generated: 0, passes: 0 };
  readonly #options: TrafficOptions;
  readonly #generator: TrafficGenerator;
  readonly #buffer: Uint8Array;
  readonly #captureSpeed: number;
  #startedAtMs = 0;
  #generatorFromMs = 0;
  #generatorBase = 0;
  #position = 0;
  #passAtMs = 0;
  #stopped = false;

  constructor(options: TrafficOptions) {
    const { ratePps, seconds, capture } = options;
    this.#options = options;
    this.#generator = new TrafficGenerator({
      seed: 'demo',
      flows: Math.max(18, Math.round(ratePps * secondsPerPacket)),
      mix: classes,
      ratePps,
      replies: true,
      targets: 16,
    });
    this.#buffer = new Uint8Array(this.#generator.maxPacketBytes);
    this.#captureSpeed = Math.max(1, capture.durationMs / (seconds * 1_000));
  }

  /** Feeds tier 1 until `stop()`. */
  async run(): Promise<void> {
    const { clock, tier1, onTurn } = this.#options;
    this.#startedAtMs = this.#generatorFromMs = this.#passAtMs = clock.monotonicMs();
    this.sent.passes = 1;
    while (!this.#stopped) {
      const behind = this.#feedGenerated() || this.#feedCaptured();
      tier1.fed();
      onTurn();
      if (!tier1.isReady) await Promise.race([tier1.ready(), pause(clock, patienceMs)]);
      else if (behind) await new Promise<void>((resolve) => clock.defer(resolve));
      else await pause(clock, turnMs);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Milliseconds since run(). */
  get elapsedMs(): number {
    return this.#startedAtMs === 0 ? 0 : this.#options.clock.monotonicMs() - this.#startedAtMs;
  }

  /** Sends what is due; true when more is due than one turn takes. */
  #feedGenerated(): boolean {
    const { clock, tier1, ratePps } = this.#options;
    const now = clock.monotonicMs();
    const wallMs = clock.nowMs();
    const dueMs = now - this.#generatorFromMs;
    let due = Math.floor((dueMs * ratePps) / 1_000) - (this.sent.generated - this.#generatorBase);
    if (due > (patienceMs * ratePps) / 1_000) {
      this.#generatorFromMs = now;
      this.#generatorBase = this.sent.generated;
      due = packetsPerTurn;
    }
    const turn = Math.min(due, packetsPerTurn);
    for (let sent = 0; sent < turn; sent++) {
      const length = this.#generator.next(this.#buffer, 0);
      tier1.distributor.packet(this.#buffer, 0, length, ethernet, 0, wallMs);
      this.sent.generated++;
    }
    return due > turn;
  }

  #feedCaptured(): boolean {
    const { clock, tier1, capture } = this.#options;
    const { packets, bytes } = capture;
    const wallMs = clock.nowMs();
    const atMs = (clock.monotonicMs() - this.#passAtMs) * this.#captureSpeed;
    for (let turn = 0; turn < packetsPerTurn; turn++) {
      if (this.#position === packets.length) {
        this.#position = 0;
        this.#passAtMs = clock.monotonicMs();
        this.sent.passes++;
        return false;
      }
      const packet = packets[this.#position];
      if (packet.atMs > atMs) return false;
      // Link 0 is the generator's.
      tier1.distributor.packet(
        bytes,
        packet.offset,
        packet.offset + packet.length,
        packet.linkType,
        packet.link + 1,
        wallMs,
      );
      this.#position++;
      this.sent.capture++;
    }
    return true;
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(ms, resolve));
}
