// A whole cluster in one process: one tier 1, groups of DSSL actors with their servers, on the embedded bus or on a NATS
// server. It is made of the same actors that run as processes of their own; only the wiring differs. An auditor listens
// to every decision.

import { randomBytes, randomInt } from 'node:crypto';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import type { Bus, KeyValue } from '../../shared/bus/bus.ts';
import { MemoryHub } from '../../shared/bus/memory.ts';
import type { NatsOptions } from '../../shared/bus/nats/nats.ts';
import { embeddedUrl, openBus } from '../../shared/bus/open.ts';
import { type Subjects, subjectsOf } from '../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import { settleMap } from '../../shared/config/store.ts';
import type { FlowKeyer } from '../../shared/flow/keyer.ts';
import { busOptionsOf } from '../cli/process/environment.ts';
import { handlerLog } from '../cli/process/log.ts';
import { handlerPatienceMs, within } from '../cli/process/patience.ts';
import { receiptsOver } from '../cli/process/receipts.ts';
import { type ActorLog, DsslActor } from '../dssl/actor.ts';
import { loadHandler } from '../dssl/egress/handlers/load.ts';
import { LocalEgress } from '../dssl/egress/local.ts';
import { bothAudits, type ReceiptEgress } from '../dssl/egress/remote/receipts.ts';
import type { DsslCore } from '../dssl/old/core.ts';
import { Tier1Actor } from '../tier1/actor.ts';
import { SubjectIngress } from '../tier1/ingress/subject.ts';
import { Auditor } from './auditor.ts';

export interface LocalClusterOptions {
  /** `embedded`, or the address of a NATS server. */
  readonly busUrl: string;
  /** How to log in at a NATS server. */
  readonly auth?: NatsOptions['auth'];
  readonly tls?: NatsOptions['tls'];
  readonly map: ClusterMap;
  readonly keyer: FlowKeyer;
  readonly serversPerGroup: number;
  /** Name of a shipped handler, or a module; see `loadHandler`. */
  readonly handler: string;
  readonly handlerOptions: Readonly<Record<string, string>>;
  readonly maxFlows: number;
  readonly packetTime: 'live' | 'capture';
  readonly log: ActorLog;
  readonly clock?: Clock;
  /** Tier 1 takes packets from the bus too, and servers answer those who sent them (`flowherd traffic`). */
  readonly overBus?: boolean;
}

export interface LocalServer {
  readonly name: string;
  /** Index of the group in the cluster map. */
  readonly group: number;
  readonly actor: DsslActor;
  readonly egress: LocalEgress;
  readonly receipts: ReceiptEgress | undefined;
  readonly bus: Bus;
  running: boolean;
}

/** How long servers may take to learn and join before that is taken for a failure. */
const joinTimeoutMs = 10_000;

export class LocalCluster {
  readonly auditor: Auditor;
  readonly tier1: Tier1Actor;
  /** Every server there ever was, in the order they were added. */
  readonly servers: LocalServer[] = [];
  readonly busKind: Bus['kind'];
  readonly subjects: Subjects;
  #ingress: SubjectIngress | undefined;
  readonly #options: LocalClusterOptions;
  readonly #clock: Clock;
  readonly #hub: MemoryHub | undefined;
  readonly #tier1Bus: Bus;
  readonly #controlBus: Bus;
  /** Servers named so far, by group. */
  readonly #named: number[];
  #store: KeyValue | undefined;

  private constructor(
    options: LocalClusterOptions,
    subjects: Subjects,
    hub: MemoryHub | undefined,
    tier1Bus: Bus,
    controlBus: Bus,
  ) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.subjects = subjects;
    this.#hub = hub;
    this.#tier1Bus = tier1Bus;
    this.#controlBus = controlBus;
    this.#named = options.map.groups.map(() => 0);
    this.busKind = tier1Bus.kind;
    this.auditor = new Auditor(options.map.groups.length, () => this.#clock.monotonicMs());
    this.tier1 = new Tier1Actor({
      tier1Id: `local-${randomBytes(4).toString('hex')}`,
      map: options.map,
      keyer: options.keyer,
      subjects,
      dataBus: tier1Bus,
      controlBus,
      clock: this.#clock,
      packetTime: options.packetTime,
      onSend: (group, sequence, packets) => this.auditor.onSend(group, sequence, packets),
    });
  }

  /** Starts the cluster: resolves when every group has its servers and tier 1 may be fed. Rejects with a FlowherdError. */
  static async start(options: LocalClusterOptions): Promise<LocalCluster> {
    // A cluster of its own on a shared NATS server: nothing of an earlier run is met.
    const subjects = subjectsOf(`local-${randomBytes(6).toString('hex')}`);
    const hub = options.busUrl === embeddedUrl ? new MemoryHub({ clock: options.clock ?? systemClock }) : undefined;
    const [tier1Bus, controlBus] = await Promise.all([
      open(options, hub, 'tier 1 data'),
      open(options, hub, 'control'),
    ]);
    const cluster = new LocalCluster(options, subjects, hub, tier1Bus, controlBus);
    try {
      cluster.#store = await controlBus.openKeyValue(subjects.bucket);
      await settleMap(cluster.#store, options.map);
      for (let index = 0; index < options.serversPerGroup; index++) {
        for (let group = 0; group < options.map.groups.length; group++) await cluster.addServer(group);
      }
      await cluster.tier1.start();
      await cluster.tier1.whenServed();
      if (options.overBus) await cluster.#takePackets();
    } catch (error) {
      // Open connections would keep the process alive. What failed first is what people must hear of.
      await cluster.stop().catch(() => undefined);
      throw error;
    }
    return cluster;
  }

  get clock(): Clock {
    return this.#clock;
  }

  /** A connection of its own to the cluster's bus; the caller closes it. */
  connect(name: string): Promise<Bus> {
    return open(this.#options, this.#hub, name);
  }

  /** Servers that are members of a group, whatever their state. */
  membersOf(group: number): LocalServer[] {
    return this.servers.filter((server) => server.running && server.group === group);
  }

  /** Adds a server to a group: resolves when new flows may be placed at it. */
  async addServer(group: number): Promise<LocalServer> {
    const { id } = this.#options.map.groups[group];
    const name = `${id}-s${++this.#named[group]}`;
    const bus = await open(this.#options, this.#hub, `${name} data`);
    try {
      const server = await this.#startServer(name, group, bus);
      this.auditor.onListening(group);
      this.servers.push(server);
      await server.actor.whenActive(joinTimeoutMs);
      return server;
    } catch (error) {
      await bus.close();
      throw error;
    }
  }

  /** Drains a server: resolves when its flows have ended and it has left, at the latest after `deadlineMs`. */
  async drainServer(server: LocalServer, deadlineMs: number): Promise<void> {
    await server.actor.drain(deadlineMs);
    server.receipts?.leave();
    this.auditor.onLeave(server.group, server.name);
    await this.#stopServer(server);
  }

  /** Publishes what is open and waits until every server has decided it; gives up after `timeoutMs` without progress. */
  async settle(timeoutMs: number): Promise<void> {
    this.tier1.distributor.flush();
    let progressAtMs = this.#clock.monotonicMs();
    let before = -1;
    while (!this.#isSettled()) {
      await new Promise<void>((resolve) => this.#clock.setTimer(5, resolve));
      const decided = this.#decidedFrames();
      const now = this.#clock.monotonicMs();
      if (decided !== before) progressAtMs = now;
      else if (now - progressAtMs > timeoutMs) return;
      before = decided;
    }
  }

  /** Tells the auditor which frames all members have decided. Cheap; to be called now and then while packets flow. */
  audit(): void {
    for (let group = 0; group < this.#options.map.groups.length; group++) {
      this.auditor.settle(group, this.#decidedBy(this.membersOf(group), group));
    }
  }

  /** No more packets will come: what still waits is given up and counted. */
  finish(): void {
    for (const server of this.servers) {
      if (server.running) server.actor.core.finish();
    }
    this.audit();
  }

  /** Ends the cluster: handlers are stopped, connections closed, and what was kept for this run alone is removed. */
  async stop(): Promise<void> {
    try {
      await this.#ingress?.stop();
      await this.tier1.stop();
    } finally {
      // Whatever failed: a connection that stays open would keep the process alive.
      for (const server of this.servers) {
        if (server.running) await this.#stopServer(server);
      }
      await this.#store?.destroy();
      await Promise.all([this.#tier1Bus.close(), this.#controlBus.close()]);
    }
  }

  async #takePackets(): Promise<void> {
    const { tier1, subjects } = this;
    const controlBus = this.#controlBus;
    this.#ingress = await SubjectIngress.open({ tier1, subjects, bus: this.#tier1Bus, controlBus, clock: this.#clock });
  }

  async #startServer(name: string, group: number, bus: Bus): Promise<LocalServer> {
    const { map, handler, handlerOptions, maxFlows, log } = this.#options;
    const { id } = map.groups[group];
    const context = { server: name, group: id, log: handlerLog(log), options: handlerOptions };
    const egress = new LocalEgress({
      handler: await loadHandler(handler, process.cwd(), context),
      name: handler,
      log: context.log,
      nowMs: () => this.#clock.monotonicMs(),
    });
    await egress.start();
    const incarnation = randomInt(2 ** 47);
    const audit = this.auditor.module(group, name);
    let core: DsslCore | undefined;
    const receipts = this.#options.overBus
      ? receiptsOver({
          inner: egress,
          server: name,
          group: id,
          incarnation,
          clock: this.#clock,
          bus,
          subjects: this.subjects,
          core: () => core,
        })
      : undefined;
    const actor = new DsslActor({
      birth: { group: id, cluster: map.cluster, placement: map.placement, seed: map.seed, rules: map.rules },
      candidate: { server: name, incarnation, weight: 100 },
      maxFlows,
      subjects: this.subjects,
      dataBus: bus,
      controlBus: this.#controlBus,
      gossipBus: this.#controlBus,
      settings: map.settings,
      egress: receipts ?? egress,
      clock: this.#clock,
      log,
      audit: receipts === undefined ? audit : bothAudits(audit, receipts.audit),
    });
    core = actor.core;
    await actor.start();
    return { name, group, actor, egress, receipts, bus, running: true };
  }

  async #stopServer(server: LocalServer): Promise<void> {
    server.running = false;
    server.actor.stop();
    server.receipts?.stop();
    if (!(await within(handlerPatienceMs, server.egress.stop()))) {
      this.#options.log.warn({ server: server.name }, 'the handler did not stop in time; it is left behind');
    }
    await server.bus.close();
  }

  #isSettled(): boolean {
    return this.#options.map.groups.every(
      (_, group) => this.#decidedBy(this.membersOf(group), group) >= this.tier1.distributor.sentTo(group).frames,
    );
  }

  /** Highest frame of tier 1 to a group that all these members have decided. */
  #decidedBy(members: readonly LocalServer[], group: number): number {
    const sent = this.tier1.distributor.sentTo(group).frames;
    let least = sent;
    for (const { actor } of members) least = Math.min(least, actor.core.streams.get(this.tier1.id)?.decided ?? 0);
    return least;
  }

  #decidedFrames(): number {
    let sum = 0;
    for (const { actor, running } of this.servers) {
      if (running) sum += actor.core.streams.get(this.tier1.id)?.decided ?? 0;
    }
    return sum;
  }
}

async function open(options: LocalClusterOptions, hub: MemoryHub | undefined, name: string): Promise<Bus> {
  const { busUrl, auth, tls } = options;
  // All roles at once, and the bucket is made and removed: that takes a login which may everything.
  return openBus(busUrl, {
    name: `flowherd ${name}`,
    storage: 'memory',
    ...busOptionsOf({ auth, tls }, 'admin'),
    ...(hub === undefined ? {} : { hub }),
  });
}
