// The cluster in a bottle: tier 1s and actors as they run in production, on a simulated bus and store, under one virtual
// clock, driven by simulated clients, befallen by faults. Everything follows from the seed.

import type { DecisionAudit } from '../../services/dssl/replica/rows.ts';
import { Tier1Actor, type Tier1Log } from '../../services/tier1/actor.ts';
import { VirtualClock } from '../../shared/base/clock.ts';
import { Prng } from '../../shared/base/prng.ts';
import { mapKey, type Subjects, subjectsOf, viewKey } from '../../shared/bus/subjects.ts';
import { type ClusterMap, encodeMap } from '../../shared/config/map.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { FlowKeyer } from '../../shared/flow/keyer.ts';
import { decodeView, type View } from '../../shared/membership/view.ts';
import { befall } from './befall.ts';
import { Clients, type Gate } from './clients.ts';
import { drawFaults, type Fault } from './faults.ts';
import { Ledger } from './ledger.ts';
import { SimNetwork } from './network.ts';
import { calmMs, type Plan } from './plan.ts';
import { SimProcess } from './process.ts';
import { SimServer } from './server.ts';
import { SimStore } from './store.ts';
import { Weather } from './weather.ts';

/** A place for a server: what runs in it now, under a name that its successors share. */
export interface Slot {
  readonly name: string;
  readonly group: string;
  running: SimServer | undefined;
  /** False when an operator has told it to leave. When it dies before it has left, it is started again, and told again. */
  isWanted: boolean;
  hasLeft: boolean;
}

export interface RunningTier1 extends Gate {
  readonly process: SimProcess;
  readonly actor: Tier1Actor;
  isRouted: boolean;
  /** Packets that the router gave it, and those of them that it was dead for. */
  offered: number;
  lost: number;
}

/** A time in which a tier 1 sent the flows of a group to others, because the group was silent or had no server. */
export interface Diversion {
  readonly tier1: string;
  readonly group: string;
  readonly isSilent: boolean;
  readonly fromMs: number;
  untilMs: number;
}

export interface WorldHooks {
  /** Sees every decision of a server, when somebody wants the whole story. */
  readonly auditOf?: (server: string) => DecisionAudit;
  /** A line about what happens. */
  readonly log?: (line: string) => void;
}

/** After this the router sends nothing to a dead tier 1 any more. */
export const routerNoticesMs = 700;
const wallStartMs = 1_700_000_000_000;
/** Drains last at most so long. */
const drainMs = 12_000;

export class World {
  readonly clock = new VirtualClock(wallStartMs);
  readonly plan: Plan;
  readonly faults: readonly Fault[];
  readonly ledger = new Ledger();
  readonly weather: Weather;
  readonly store: SimStore;
  readonly clients: Clients;
  readonly map: ClusterMap;
  /** Every tier 1 and every server there ever was. */
  readonly tier1s: RunningTier1[] = [];
  readonly servers: SimServer[] = [];
  readonly slots: Slot[] = [];
  readonly diversions: Diversion[] = [];
  readonly network: SimNetwork;
  readonly #prng: Prng;
  readonly #subjects: Subjects;
  readonly #hooks: WorldHooks;
  #incarnations = 0;
  #names = 0;

  /** `faults`: those of the seed's that shall happen; default all. */
  constructor(seed: number, plan: Plan, hooks: WorldHooks = {}, keep?: readonly number[]) {
    const prng = new Prng(seed);
    this.plan = plan;
    this.#prng = prng.fork('world');
    this.#hooks = hooks;
    const drawn = drawFaults(prng.fork('faults'), {
      faults: plan.faults,
      changes: plan.changes,
      ...(plan.kinds === undefined ? {} : { kinds: plan.kinds }),
      fromMs: 5_000,
      untilMs: Math.max(5_001, plan.durationMs - calmMs),
    });
    this.faults = keep === undefined ? drawn : drawn.filter(({ index }) => keep.includes(index));
    this.weather = new Weather(this.clock, prng.fork('weather'), plan.nodes);
    this.store = new SimStore(this.weather);
    this.network = new SimNetwork(this.clock, prng.fork('network'), this.store, this.weather, plan);
    this.#subjects = subjectsOf('sim');
    this.map = {
      version: 1,
      cluster: 'sim',
      groupSelection: 'hash',
      groups: Array.from({ length: plan.groups }, (_, index) => ({
        id: `g${index + 1}`,
        weight: 100,
        serves: 'both' as const,
        vlan: 0,
      })),
      keys: {
        flow: 'five-tuple',
        group: 'address-pair',
        symmetric: true,
        tunnel: 'outer',
        subscriberNetworks: [],
        secretFingerprint: '',
      },
      placement: plan.placement,
      rules: plan.rules,
      seed: seed >>> 0,
      settings: defaultSettings,
    };
    this.clients = new Clients(this.clock, prng.fork('clients'), this.ledger, () => this.tier1s, {
      flows: plan.flows,
      packetsPerSecond: plan.packetsPerSecond,
      clients: plan.clients,
      impatience: plan.impatience,
    });
  }

  /** The whole run: begin, traffic with faults, calm, end. */
  async run(): Promise<void> {
    const { plan, clock } = this;
    this.store.write(mapKey, encodeMap(this.map), 0, 'operator', 0);
    for (let index = 0; index < plan.serversPerGroup; index++) {
      for (const { id } of this.map.groups) this.addSlot(id);
    }
    for (let index = 0; index < plan.tier1s; index++) this.startTier1(`t${index + 1}`);
    for (const fault of this.faults) clock.setTimer(fault.atMs, () => befall(this, fault));
    clock.setTimer(2_000, () => this.clients.start());
    clock.setTimer(plan.durationMs, () => this.clients.stop());
    await this.#runUntil(wallStartMs + plan.durationMs + 4_000);
    for (const { process, actor } of this.tier1s) if (process.isAlive) actor.distributor.flush();
    await this.#runUntil(wallStartMs + plan.durationMs + 6_000);
    for (const server of this.servers) if (server.options.process.isAlive) server.actor.core.finish();
  }

  get nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** The newest view of a group, as the store has it. */
  viewOf(group: string): View | undefined {
    const entry = this.store.get(viewKey(group));
    return entry && decodeView(entry.value);
  }

  async #runUntil(untilMs: number): Promise<void> {
    const { clock } = this;
    const network = this.network;
    let settledAtMs = 0;
    do {
      // Promises that no network settles (an actor's own) are few and in no hurry.
      if (!network.unsettled && clock.monotonicMs() - settledAtMs < 50) continue;
      network.unsettled = false;
      settledAtMs = clock.monotonicMs();
      // Whatever awaits something goes on before the next event.
      await new Promise<void>((resolve) => void setImmediate(resolve));
    } while (clock.step(untilMs));
    clock.advance(untilMs - clock.nowMs());
  }

  say(line: string): void {
    this.#hooks.log?.(`${(this.nowMs / 1_000).toFixed(3)} s ${line}`);
  }

  #process(name: string): SimProcess {
    this.network.unsettled = true;
    const skewMs = Math.round((this.#prng.fraction() * 2 - 1) * this.plan.skewMs);
    return new SimProcess(name, this.clock, skewMs);
  }

  addSlot(group: string): void {
    const slot: Slot = { name: `s${++this.#names}`, group, running: undefined, isWanted: true, hasLeft: false };
    this.slots.push(slot);
    this.#startServer(slot);
  }

  #startServer(slot: Slot): void {
    const process = this.#process(slot.name);
    const node = this.#prng.below(this.plan.nodes);
    const dataBus = this.network.connect(process, 'data', node);
    const controlBus = this.network.connect(process, 'control', node);
    const gossipBus = this.network.connect(process, 'gossip', node);
    const incarnation = ++this.#incarnations;
    const server = new SimServer({
      name: slot.name,
      group: slot.group,
      incarnation,
      weight: 100,
      map: this.map,
      maxFlows: this.plan.maxFlows,
      subjects: this.#subjects,
      process,
      dataBus,
      controlBus,
      gossipBus,
      life: this.ledger.beginLife(slot.name, slot.group, incarnation, this.nowMs),
      ledger: this.ledger,
      nowMs: () => this.nowMs,
      audit: this.#hooks.auditOf?.(slot.name),
      log: {
        info: (fields, message) => this.say(`${slot.name}: ${message} ${JSON.stringify(fields)}`),
        warn: (fields, message) => this.say(`${slot.name}: ${message} ${JSON.stringify(fields)}`),
      },
    });
    process.onOverrun = () => {
      this.weather.note('overrun', slot.name, 0, `${slot.name} was paused for too long and cut off`);
      dataBus.disconnect();
      this.clock.setTimer(500, () => dataBus.reconnect());
    };
    this.servers.push(server);
    slot.running = server;
    this.say(`${slot.name}: starts in ${slot.group}`);
    server.actor.start().catch((error) => {
      this.say(`${slot.name}: could not start: ${error.message}`);
      this.endServer(slot, server);
      this.clock.setTimer(1_000, () => this.restart(slot));
    });
    // Removed by mistake: it decides what is still its own, then begins a new life.
    void server.actor.whenReleased().then(() => {
      if (server.isDraining || !process.isAlive) return;
      this.say(`${slot.name}: was removed`);
      this.endServer(slot, server);
      this.clock.setTimer(1_000, () => this.restart(slot));
    });
  }

  restart(slot: Slot): void {
    if (slot.running !== undefined || slot.hasLeft) return;
    this.#startServer(slot);
    if (!slot.isWanted) this.clock.setTimer(1_000, () => this.#leave(slot));
  }

  endServer(slot: Slot, server: SimServer): void {
    const { process, dataBus, controlBus, gossipBus } = server.options;
    if (!process.isAlive) return;
    this.say(`${slot.name}: ends`);
    process.crash();
    for (const bus of [dataBus, controlBus, gossipBus]) {
      bus.disconnect();
      void bus.close();
    }
    server.actor.stop();
    server.life.endedMs = this.nowMs;
    if (slot.running === server) slot.running = undefined;
  }

  /** The server dies for good, unless no other one of its group takes flows. */
  kill(slot: Slot, lastsMs: number): void {
    const server = slot.running;
    if (server === undefined || !this.#hasAnother(slot)) return;
    const { process } = server.options;
    const trouble = this.weather.note('die', slot.name, lastsMs, `${slot.name} dies, and stays dead`);
    // What had reached it while it was paused dies with it.
    if (process.isPaused) trouble.fromMs = process.pausedAtMs;
    slot.isWanted = false;
    slot.hasLeft = true;
    this.endServer(slot, server);
  }

  /** Whoever is the next server that changes a view dies while it does so, and is started again. */
  killNextWriter(when: 'before' | 'after', lastsMs: number): void {
    this.store.killsWriter = (process) => {
      const slot = this.slots.find(({ running }) => running?.options.process === process);
      if (slot === undefined) return 'no';
      this.store.killsWriter = () => 'no';
      this.weather.note('die-writing', slot.name, lastsMs, `${slot.name} dies ${when} its write of a view`);
      this.clock.setTimer(0, () => {
        if (slot.running?.options.process === process) this.endServer(slot, slot.running);
        this.clock.setTimer(lastsMs, () => this.restart(slot));
      });
      return when;
    };
  }

  startTier1(name: string): void {
    const process = this.#process(name);
    const node = this.#prng.below(this.plan.nodes);
    const dataBus = this.network.connect(process, 'data', node);
    const life = `${name}-${++this.#incarnations}`;
    const actor = new Tier1Actor({
      tier1Id: life,
      map: this.map,
      keyer: new FlowKeyer({ secret: 'sim', flowKey: 'five-tuple', groupKey: 'address-pair', symmetric: true }),
      subjects: this.#subjects,
      dataBus,
      controlBus: this.network.connect(process, 'control', node),
      clock: process.clock,
      packetTime: 'live',
      log: this.#diversionsOf(life),
    });
    const tier1: RunningTier1 = {
      name: life,
      process,
      actor,
      isRouted: false,
      offered: 0,
      lost: 0,
      take: (packet, taken) => {
        tier1.offered++;
        if (!process.isAlive) tier1.lost++;
        process.enter(() => {
          taken();
          actor.distributor.packet(packet, 0, packet.length, 1, 0, process.clock.nowMs());
          actor.fed();
        });
      },
    };
    this.tier1s.push(tier1);
    this.say(`${life}: starts`);
    actor
      .start()
      .then(() => actor.whenServed())
      .then(() => {
        tier1.isRouted = process.isAlive;
      })
      .catch(() => {
        this.endTier1(tier1);
        this.clock.setTimer(1_000, () => this.startTier1(name));
      });
  }

  #diversionsOf(tier1: string): Tier1Log {
    const tell = (fields: object, message: string) => this.say(`${tier1}: ${message} ${JSON.stringify(fields)}`);
    return {
      warn: (fields, message) => {
        tell(fields, message);
        const { group, silentMs } = fields as { readonly group: string; readonly silentMs?: number };
        const isSilent = silentMs !== undefined;
        this.diversions.push({ tier1, group, isSilent, fromMs: this.nowMs, untilMs: Number.POSITIVE_INFINITY });
      },
      info: (fields, message) => {
        tell(fields, message);
        const { group } = fields as { readonly group: string };
        const open = this.diversions.findLast((each) => each.tier1 === tier1 && each.group === group);
        if (open !== undefined) open.untilMs = this.nowMs;
      },
    };
  }

  endTier1(tier1: RunningTier1): void {
    this.say(`${tier1.name}: ends`);
    tier1.process.crash();
    for (const bus of this.network.buses) if (bus.process === tier1.process) bus.disconnect();
    this.clock.setTimer(routerNoticesMs, () => {
      tier1.isRouted = false;
    });
  }

  drain(slot: Slot): void {
    if (!slot.isWanted || !this.#hasAnother(slot)) return;
    this.say(`${slot.name}: is told to drain`);
    slot.isWanted = false;
    this.#leave(slot);
  }

  /** Nobody drains or kills the last server that takes flows. */
  #hasAnother({ group, name: mine }: Slot): boolean {
    const isWanted = (server: string) => this.slots.find(({ name }) => name === server)?.isWanted === true;
    const members = this.viewOf(group)?.members ?? [];
    return members.some(({ server, state }) => server !== mine && state === 'active' && isWanted(server));
  }

  #leave(slot: Slot): void {
    const server = slot.running;
    if (server === undefined) return;
    server.isDraining = true;
    server.options.process.enter(() => {
      this.network.unsettled = true;
      void server.actor.drain(drainMs).then(() => {
        slot.hasLeft = true;
        this.endServer(slot, server);
      });
    });
  }
}
