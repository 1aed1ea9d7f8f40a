// A whole cluster in one process: one tier 1, groups of DSSL actors with their servers, on the embedded bus or on a NATS
// server. It is made of the same actors that run as processes of their own; only the wiring differs. An auditor sees
// every entry that a replica applies.

import { randomBytes, randomInt } from 'node:crypto';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import { errorCodes, FlowherdError, isFlowherdError } from '../../shared/base/errors.ts';
import type { Bus, KeyValue } from '../../shared/bus/bus.ts';
import { MemoryHub } from '../../shared/bus/memory.ts';
import type { NatsOptions } from '../../shared/bus/nats/nats.ts';
import { embeddedUrl, openBus } from '../../shared/bus/open.ts';
import { type Subjects, subjectsOf } from '../../shared/bus/subjects.ts';
import { birthOf, type ClusterMap, tunnelsOf } from '../../shared/config/map.ts';
import { settleMap } from '../../shared/config/store.ts';
import type { FlowKeyer } from '../../shared/flow/keyer.ts';
import type { GroupLog } from '../../shared/log/log.ts';
import { hasStandbys } from '../../shared/membership/standbys.ts';
import { busOptionsOf } from '../cli/process/environment.ts';
import { handlerLog } from '../cli/process/log.ts';
import { handlerPatienceMs, within } from '../cli/process/patience.ts';
import { receiptsOver } from '../cli/process/receipts.ts';
import { type ActorLog, DsslActor } from '../dssl/actor.ts';
import { loadHandler } from '../dssl/egress/handlers/load.ts';
import { LocalEgress } from '../dssl/egress/local.ts';
import type { ReceiptEgress } from '../dssl/egress/remote/receipts.ts';
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
  /** Beside them, where backups are standbys: with `active-passive` one for each of so many servers, with `n-plus-m` for all. Default none. */
  readonly standbysPerGroup?: number;
  /** Name of a shipped handler, or a module; see `loadHandler`. */
  readonly handler: string;
  readonly handlerOptions: Readonly<Record<string, string>>;
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

/** A server that is no member any more although nobody asked it to leave. */
export interface FallenServer {
  readonly server: string;
  readonly reason: string;
}

/** How long servers may take to join, and to fetch the group's state, before that is taken for a failure. */
const joinTimeoutMs = 10_000;
const removalPatienceMs = 5_000;

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
  /** The log of each group, as this object opened it. */
  #logs: readonly GroupLog[] = [];
  /** Servers that fell out of their groups. */
  readonly fallen: FallenServer[] = [];

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
    this.auditor = new Auditor(options.map.groups.length, () => this.#clock.monotonicMs(), tunnelsOf(options.map.keys));
    this.tier1 = new Tier1Actor({
      tier1Id: `local-${randomBytes(4).toString('hex')}`,
      map: options.map,
      keyer: options.keyer,
      subjects,
      dataBus: tier1Bus,
      controlBus,
      clock: this.#clock,
      packetTime: options.packetTime,
      onSend: (group, frame) => this.auditor.onSend(group, frame),
      onLost: (group, frame, isUncertain) => this.auditor.onLost(group, frame, isUncertain),
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
      await cluster.#makeLogs();
      for (let index = 0; index < options.serversPerGroup; index++) {
        for (let group = 0; group < options.map.groups.length; group++) await cluster.addServer(group);
      }
      for (let group = 0; group < options.map.groups.length; group++) await cluster.#addStandbys(group);
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

  /** Servers of a group that run, whatever their state. */
  membersOf(group: number): LocalServer[] {
    return this.servers.filter((server) => server.running && server.group === group);
  }

  async #addStandbys(group: number): Promise<void> {
    const { map, standbysPerGroup = 0 } = this.#options;
    const { id } = map.groups[group];
    const { availability } = birthOf(map, id).rules;
    if (!hasStandbys(availability)) return;
    const servers = this.membersOf(group).slice(0, standbysPerGroup);
    for (const [index, { name }] of servers.entries())
      await this.#add(group, `${id}-b${index + 1}`, availability === 'active-passive' ? [name] : []);
  }

  /** Adds a server to a group: resolves when new flows may be placed at it. */
  addServer(group: number): Promise<LocalServer> {
    return this.#add(group, `${this.#options.map.groups[group].id}-s${++this.#named[group]}`);
  }

  async #add(group: number, name: string, standsFor?: readonly string[]): Promise<LocalServer> {
    const bus = await open(this.#options, this.#hub, `${name} data`);
    try {
      const server = await this.#startServer(name, group, bus, standsFor);
      this.servers.push(server);
      await server.actor.whenActive(joinTimeoutMs);
      return server;
    } catch (error) {
      // Its actor, where there is one, goes with the cluster.
      await bus.close();
      throw error;
    }
  }

  /** Drains a server: resolves when its flows have ended and it has left, at the latest after `deadlineMs`. */
  async drainServer(server: LocalServer, deadlineMs: number): Promise<void> {
    await server.actor.drain(deadlineMs);
    server.receipts?.leave();
    await this.#stopServer(server);
  }

  /**
   * Sends what is open and waits until the logs have it, or tier 1 has counted it as dropped, which it does in bounded time; then
   * until every replica has applied it, as long as that makes progress within `timeoutMs`.
   */
  async settle(timeoutMs: number): Promise<void> {
    const { distributor } = this.tier1;
    distributor.flush();
    let progressAtMs = this.#clock.monotonicMs();
    for (let before = Number.NaN; distributor.underWay > 0 || this.#unread > 0; ) {
      await new Promise<void>((resolve) => this.#clock.setTimer(5, resolve));
      const unread = this.#unread;
      const now = this.#clock.monotonicMs();
      if (distributor.underWay > 0 || unread !== before) progressAtMs = now;
      else if (now - progressAtMs > timeoutMs) break;
      before = unread;
    }
    this.audit();
  }

  /** Tells the auditor how far all replicas are. Cheap; to be called now and then while packets flow. */
  audit(): void {
    for (let group = 0; group < this.#options.map.groups.length; group++) {
      const positions = this.#followersOf(group).map(({ actor }) => actor.replica?.position ?? 0);
      this.auditor.settle(group, Math.min(...positions));
    }
  }

  /** No more packets will come: what still waits is given up and counted. */
  finish(): void {
    this.audit();
    this.auditor.finish();
  }

  /** Ends the cluster: handlers are stopped, connections closed, and what was kept for this run alone is removed. */
  async stop(): Promise<void> {
    // Whatever fails: a connection that stays open would keep the process alive.
    const ended = await Promise.allSettled([this.#endTier1()]);
    for (const server of this.servers) {
      if (server.running) await this.#stopServer(server);
    }
    const removed = await Promise.allSettled([...this.#logs, this.#store].map((kept) => this.#remove(kept)));
    await Promise.all([this.#tier1Bus.close(), this.#controlBus.close()]);
    const failed = [...ended, ...removed].find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Removes what was kept for this run alone. A connection that is down at the moment may be back in time. */
  async #remove(kept: Pick<KeyValue | GroupLog, 'destroy'> | undefined): Promise<void> {
    const giveUpAtMs = this.#clock.monotonicMs() + removalPatienceMs;
    for (;;) {
      try {
        await kept?.destroy();
        return;
      } catch (error) {
        const isOver = this.#clock.monotonicMs() >= giveUpAtMs;
        if (isOver || !isFlowherdError(error, errorCodes.busDisconnected)) throw error;
      }
      await new Promise<void>((resolve) => this.#clock.setTimer(50, resolve));
    }
  }

  async #endTier1(): Promise<void> {
    await this.#ingress?.stop();
    await this.tier1.stop();
  }

  /** Frames that the logs have stored and some replica has not applied, of all replicas together. */
  get #unread(): number {
    let unread = 0;
    for (let group = 0; group < this.#options.map.groups.length; group++) {
      for (const { actor } of this.#followersOf(group)) {
        unread += Math.max(0, this.tier1.storedAt(group) - (actor.replica?.position ?? 0));
      }
    }
    return unread;
  }

  /** Servers whose actors follow the log of a group, or will again. */
  #followersOf(group: number): LocalServer[] {
    return this.membersOf(group).filter(({ actor }) => actor.lostBecause === undefined);
  }

  async #makeLogs(): Promise<void> {
    const { map } = this.#options;
    const open = map.groups.map(({ id }) => this.#controlBus.openLog(this.subjects.cluster, id, map.log));
    this.#logs = await Promise.all(open);
    await Promise.all(this.#logs.map((log) => log.make()));
  }

  async #takePackets(): Promise<void> {
    const { tier1, subjects } = this;
    const controlBus = this.#controlBus;
    this.#ingress = await SubjectIngress.open({ tier1, subjects, bus: this.#tier1Bus, controlBus, clock: this.#clock });
  }

  async #startServer(
    name: string,
    group: number,
    bus: Bus,
    standsFor: readonly string[] | undefined,
  ): Promise<LocalServer> {
    const { map, handler, handlerOptions, log } = this.#options;
    const { id } = map.groups[group];
    const tunnels = tunnelsOf(map.keys);
    const context = { server: name, group: id, log: handlerLog(log), tunnels, options: handlerOptions };
    const egress = new LocalEgress({
      handler: await loadHandler(handler, process.cwd(), context),
      makeShadow:
        map.rules.availability === 'none'
          ? undefined
          : () => loadHandler(handler, process.cwd(), { ...context, isShadow: true }),
      name: handler,
      log: context.log,
      nowMs: () => this.#clock.monotonicMs(),
    });
    await egress.start();
    const incarnation = randomInt(2 ** 47);
    let actor: DsslActor | undefined;
    const receipts = this.#options.overBus
      ? receiptsOver({
          inner: egress,
          server: name,
          group: id,
          incarnation,
          clock: this.#clock,
          bus,
          subjects: this.subjects,
          actor: () => actor,
        })
      : undefined;
    actor = new DsslActor({
      birth: birthOf(map, id),
      candidate: { server: name, incarnation, weight: 100, standsFor },
      subjects: this.subjects,
      dataBus: bus,
      controlBus: this.#controlBus,
      gossipBus: this.#controlBus,
      logSettings: map.log,
      settings: map.settings,
      egress: receipts ?? egress,
      clock: this.#clock,
      log,
      onApplied: this.auditor.observer(group, name),
      ...(receipts === undefined ? {} : { audit: receipts.audit }),
    });
    const server: LocalServer = { name, group, actor, egress, receipts, bus, running: true };
    try {
      if (!(await within(joinTimeoutMs, actor.start()))) {
        throw new FlowherdError(
          errorCodes.busTimeout,
          `server ${name} is not in group ${id} after ${joinTimeoutMs} ms`,
        );
      }
    } catch (error) {
      await this.#stopServer(server);
      throw error;
    }
    void this.#noteEnd(name, actor);
    return server;
  }

  async #noteEnd(server: string, actor: DsslActor): Promise<void> {
    await actor.whenRemoved();
    if (actor.lostBecause !== undefined) this.fallen.push({ server, reason: actor.lostBecause });
    else if (!actor.standing.wantsToLeave) this.fallen.push({ server, reason: 'the others removed it' });
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
