// A group of production actors on one in-process hub under a virtual clock, and a tier 1 that appends frames made by hand. For tests of what members
// do with the log and each other; the simulation does the same with everything that may go wrong.

import { DsslActor } from '../../services/dssl/actor.ts';
import type { Egress } from '../../services/dssl/egress/egress.ts';
import type { Effects } from '../../services/dssl/replica/effects.ts';
import type { Replica } from '../../services/dssl/replica/replica.ts';
import { VirtualClock } from '../../shared/base/clock.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import { MemoryHub } from '../../shared/bus/memory.ts';
import { subjectsOf } from '../../shared/bus/subjects.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { FrameFlags, ProtocolClass, protocolClassShift } from '../../shared/flow/frameFlags.ts';
import type { GroupLog, LogSettings } from '../../shared/log/log.ts';
import { FrameBuilder } from '../../shared/log/records/frame.ts';
import { defaultRules, type GroupBirth } from '../../shared/membership/view.ts';
import { GatedBus } from './gatedBus.ts';

export const wallStartMs = 1_700_000_000_000;

export interface Actor {
  readonly actor: DsslActor;
  readonly server: string;
  /** Packets that its server got, by their first four bytes, in order. */
  readonly got: number[];
  /** Those that a dead one may have had before, in order; they are not among the others. */
  readonly replayed: number[];
  /** Flows that the server was told of, and what became of them. */
  readonly flows: Map<string, 'started' | string>;
  readonly lines: string[];
  /** Its connection, which the test may hold back. */
  readonly gate: GatedBus;
  /** Where it appends by itself. */
  readonly bus: Bus;
  isStopped: boolean;
  stop(): void;
}

export interface Packet {
  readonly id: number;
  readonly flow: number;
  readonly start?: boolean;
  /** A flow of type 2, whose packets all look alike. */
  readonly isUdp?: boolean;
  readonly end?: boolean;
  /** It is from the other end. */
  readonly isBack?: boolean;
}

export class GroupOfActors {
  readonly clock = new VirtualClock(wallStartMs);
  readonly hub = new MemoryHub({ clock: this.clock });
  readonly subjects = subjectsOf('test');
  readonly actors: Actor[] = [];
  readonly birth: GroupBirth;
  readonly logSettings: LogSettings;
  /** Sees what an actor makes of an entry, and what it writes in its log for people. */
  onApplied: (server: string, replica: Replica, effects: Effects) => void = () => undefined;
  onLine: (server: string, message: string) => void = () => undefined;
  onFlow: (server: string, what: string, hi: number, lo: number) => void = () => undefined;
  /** What a server does with its packets besides writing them down. */
  serverOf: (server: string) => Egress | undefined = () => undefined;
  readonly #builder = new FrameBuilder();
  #log: GroupLog | undefined;
  #number = 0;
  #lives = 1;
  #epoch: string | undefined;
  #incarnations = 100;

  constructor(
    rules: Partial<GroupBirth['rules']> = {},
    retention: Partial<LogSettings['retention']> = {},
    placement: GroupBirth['placement'] = 'rendezvous',
  ) {
    this.birth = {
      group: 'g1',
      placement,
      seed: 7,
      rules: { ...defaultRules, maxFlows: 10_000, ...rules },
    };
    this.logSettings = {
      retention: { ageMs: 10_000, bytes: 16 * 1024 * 1024, ...retention },
      storage: 'memory',
      replicas: 1,
    };
  }

  /** Starts an actor; it takes its place by itself. */
  start(server: string, weight = 100, standsFor?: readonly string[]): Actor {
    const gate = new GatedBus(this.hub.connect(server), this.clock);
    const { bus } = gate;
    const got: number[] = [];
    const replayed: number[] = [];
    let isRepeat = false;
    const flows = new Map<string, string>();
    const lines: string[] = [];
    let data: Uint8Array = new Uint8Array(0);
    const inner = this.serverOf(server);
    const egress: Egress = {
      begin: (...run) => {
        data = run[0];
        isRepeat = run[3] === true;
        inner?.begin(...run);
      },
      add: (...packet) => {
        (isRepeat ? replayed : got).push(new DataView(data.buffer, data.byteOffset).getUint32(packet[0]));
        inner?.add(...packet);
      },
      end: () => inner?.end(),
      flowStarted: (hi, lo, timestampMs, origin) => {
        this.onFlow(server, `${origin ?? 'new'}`, hi, lo);
        flows.set(`${hi} ${lo}`, 'started');
        inner?.flowStarted(hi, lo, timestampMs, origin);
      },
      flowEnded: (hi, lo, reason, timestampMs) => {
        this.onFlow(server, reason, hi, lo);
        flows.set(`${hi} ${lo}`, reason);
        inner?.flowEnded(hi, lo, reason, timestampMs);
      },
      handled: (position) => inner?.handled?.(position) ?? position,
      get kept() {
        return inner?.kept;
      },
    };
    const tell = (fields: object, message: string) => {
      lines.push(`${message} ${JSON.stringify(fields)}`);
      this.onLine(server, message);
    };
    const actor = new DsslActor({
      birth: this.birth,
      candidate: {
        server,
        incarnation: ++this.#incarnations,
        weight,
        standsFor,
      },
      subjects: this.subjects,
      dataBus: bus,
      controlBus: bus,
      gossipBus: bus,
      logSettings: this.logSettings,
      settings: defaultSettings,
      egress,
      clock: this.clock,
      log: { info: tell, warn: tell },
      onApplied: (replica, effects) => this.onApplied(server, replica, effects),
    });
    const started: Actor = {
      ...{ actor, server, got, replayed, flows, lines, gate, bus, isStopped: false },
      stop: () => {
        started.isStopped = true;
        actor.stop();
      },
    };
    this.actors.push(started);
    actor.start().catch((error) => lines.push(`start failed: ${error}`));
    return started;
  }

  /** Lets virtual time pass; promises go on in between. */
  async run(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs() + ms;
    do await new Promise<void>((resolve) => void setImmediate(resolve));
    while (this.clock.step(untilMs));
    this.clock.advance(untilMs - this.clock.nowMs());
  }

  /** Runs until the condition holds, at most so long; whether it does. */
  async until(holds: () => boolean, mostMs = 30_000): Promise<boolean> {
    for (let spent = 0; spent < mostMs && !holds(); spent += 20) await this.run(20);
    return holds();
  }

  /** One frame of a tier 1 with these packets. */
  async send(...packets: readonly Packet[]): Promise<void> {
    this.#log ??= await this.#open();
    this.#log.append('frame', this.frame(...packets));
  }

  /** The bytes of the next frame. */
  frame(...packets: readonly Packet[]): Uint8Array {
    this.#followEpoch();
    const number = ++this.#number;
    for (const { id, flow, start, end, isBack, isUdp } of packets) {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setUint32(0, id);
      const tcp = FrameFlags.TYPE1 | (ProtocolClass.TCP << protocolClassShift);
      const usual = isUdp ? ProtocolClass.UDP << protocolClassShift : tcp;
      const ends = (end ? FrameFlags.END : 0) | (isBack ? FrameFlags.SIDE : 0);
      const flags = usual | (start ? FrameFlags.START : 0) | ends;
      this.#builder.add(bytes, 0, bytes.length, hashOf(flow, 1), hashOf(flow, 2), flags);
    }
    const header = {
      tier1Id: `t1.${this.#lives}`,
      number,
      follows: number - 1,
      mapVersion: 1,
      timestampMs: this.clock.nowMs(),
    };
    return this.#builder.finish(header);
  }

  /** The log as an operator would have it. */
  async openLog(): Promise<GroupLog> {
    this.#log ??= await this.#open();
    return this.#log;
  }

  stop(): void {
    for (const { actor } of this.actors) actor.stop();
  }

  /** Where the group has begun another line tier 1 begins another life: nobody may know the one before. */
  #followEpoch(): void {
    const replica = this.actors.find(({ actor, isStopped }) => !isStopped && actor.recovery.isWhole)?.actor.replica;
    if (replica === undefined || replica.epoch?.id === this.#epoch) return;
    if (this.#epoch !== undefined) this.#lives++;
    this.#epoch = replica.epoch?.id;
    this.#number = 0;
  }

  async #open(): Promise<GroupLog> {
    const opened = this.hub.connect('tier 1').openLog('test', 'g1');
    await this.run(1);
    return opened;
  }
}

/** A hash half of a flow: spread over all slices. */
export function hashOf(flow: number, salt: number): number {
  let h = Math.imul(flow + 1, 0x9e37_79b1) ^ Math.imul(salt, 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b_3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a_2d39);
  return (h ^ (h >>> 15)) | 0;
}
