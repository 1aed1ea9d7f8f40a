// The cluster in a bottle: tier 1s and actors as they run in production, on a simulated bus and store, under one virtual
// clock, driven by simulated clients, befallen by faults. Everything follows from the seed.

import type { DecisionAudit } from '../../services/dssl/replica/effects.ts';
import { VirtualClock } from '../../shared/base/clock.ts';
import { Prng } from '../../shared/base/prng.ts';
import { mapKey, type Subjects, subjectsOf } from '../../shared/bus/subjects.ts';
import { type ClusterMap, encodeMap } from '../../shared/config/map.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { type Command, encodeCommand } from '../../shared/log/records/command.ts';
import { hasStandbys } from '../../shared/membership/standbys.ts';
import type { View } from '../../shared/membership/view.ts';
import { befall } from './befall.ts';
import { Clients } from './clients.ts';
import { drawFaults, drawMoves, type Fault } from './faults.ts';
import { type Fate, Ledger, type ServerLife } from './ledger.ts';
import { Moves } from './moves.ts';
import { type SimBus, SimNetwork } from './network.ts';
import { calmMs, type Plan } from './plan.ts';
import { SimProcess } from './process.ts';
import { Reference } from './reference/reference.ts';
import { SimServer } from './server.ts';
import { hasAnother, Slot } from './slot.ts';
import { SimStore } from './store.ts';
import { type Diversion, SimTier1 } from './tier1.ts';
import { Weather } from './weather.ts';

export interface WorldHooks {
  /** Sees every decision of a server, when somebody wants the whole story. */
  readonly auditOf?: (server: string, group: string) => DecisionAudit;
  /** A line about what happens. */
  readonly log?: (line: string) => void;
}

/** After this the router sends nothing to a dead tier 1 any more. */
export const routerNoticesMs = 700;
const wallStartMs = 1_700_000_000_000;
/** Fewer flows than this may not find room. */
const smallTable = 50_000;
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
  readonly tier1s: SimTier1[] = [];
  readonly servers: SimServer[] = [];
  readonly slots: Slot[] = [];
  readonly diversions: Diversion[] = [];
  readonly network: SimNetwork;
  readonly #prng: Prng;
  readonly #subjects: Subjects;
  readonly #hooks: WorldHooks;
  readonly #references = new Map<string, Reference>();
  readonly #moves = new Moves(this);
  #incarnations = 0;
  #names = 0;

  /** `faults`: those of the seed's that shall happen; default all. */
  constructor(seed: number, plan: Plan, hooks: WorldHooks = {}, keep?: readonly number[]) {
    const prng = new Prng(seed);
    this.plan = plan;
    this.#prng = prng.fork('world');
    this.#hooks = hooks;
    const options = {
      faults: plan.faults,
      changes: plan.changes,
      ...(plan.kinds === undefined ? {} : { kinds: plan.kinds }),
      fromMs: 5_000,
      untilMs: Math.max(5_001, plan.durationMs - calmMs),
    };
    const others = drawFaults(prng.fork('faults'), options);
    const drawn = plan.groups < 2 ? others : drawMoves(prng.fork('moves'), others, options);
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
      rules: { ...plan.rules, maxFlows: plan.maxFlows },
      seed: seed >>> 0,
      log: {
        retention: { ageMs: plan.logAgeMs, bytes: plan.logBytes },
        storage: 'file',
        replicas: plan.nodes,
      },
      settings: defaultSettings,
    };
    for (const { id: group } of this.map.groups) {
      const { placement, seed: birthSeed, rules } = this.map;
      const birth = { group, placement, seed: birthSeed, rules };
      const log = this.network.logOf(group);
      this.#references.set(group, new Reference(log, this.ledger, birth, () => this.nowMs));
    }
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
    this.writeMap();
    for (let index = 0; index < plan.serversPerGroup; index++) {
      for (const { id } of this.map.groups) this.addSlot(id);
    }
    // A standby that came before its server would take that one's place.
    clock.setTimer(1_000, () => {
      for (const { id } of this.map.groups) this.#addStandbys(id);
    });
    for (let index = 0; index < plan.tier1s; index++) this.startTier1(`t${index + 1}`);
    for (const fault of this.faults) clock.setTimer(fault.atMs, () => befall(this, fault));
    clock.setTimer(2_000, () => this.clients.start());
    clock.setTimer(plan.durationMs, () => this.clients.stop());
    await this.#runUntil(wallStartMs + plan.durationMs + 4_000);
    for (const { process, actor } of this.tier1s) if (process.isAlive) actor.distributor.flush();
    await this.#runUntil(wallStartMs + plan.durationMs + 6_000);
  }

  get nowMs(): number {
    return this.clock.monotonicMs();
  }

  referenceOf(group: string): Reference {
    return this.#references.get(group) as Reference;
  }

  get hasSmallTables(): boolean {
    return this.plan.maxFlows < smallTable;
  }

  /** Whether connections are known to their own server alone. */
  get isPrivate(): boolean {
    return this.plan.rules.typeOneMethod === 'fig-6';
  }

  /** Whether that life's replica went on behind a position without having come to it. */
  hasSkipped({ index }: ServerLife, { epoch, position }: Fate): boolean {
    return this.servers.find(({ life }) => life.index === index)?.hasSkipped(epoch, position) === true;
  }

  /** The view of a group, as its log has it. */
  viewOf(group: string): View {
    return this.referenceOf(group).view;
  }

  writeMap(): void {
    this.store.write(mapKey, encodeMap(this.map), 0, 'operator', this.nowMs);
  }

  appendAsOperator(group: string, command: Command): void {
    const log = this.network.logOf(group);
    if (log.exists && log.hasLeader) log.store('command', encodeCommand(command), 'operator');
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

  /** With `active-passive` each stands for a server of its own. */
  #addStandbys(group: string): void {
    const { standbysPerGroup, rules } = this.plan;
    if (!hasStandbys(rules.availability)) return;
    const servers = this.slots.filter((slot) => slot.group === group);
    for (const { name } of servers.slice(0, standbysPerGroup))
      this.addSlot(group, rules.availability === 'active-passive' ? [name] : []);
  }

  addSlot(group: string, standsFor?: readonly string[]): void {
    const name = `s${++this.#names}`;
    const slot = new Slot(name, group, standsFor);
    this.slots.push(slot);
    this.#startServer(slot);
  }

  #startServer(slot: Slot): void {
    const process = this.#process(slot.name);
    const node = this.#prng.below(this.plan.nodes);
    const [dataBus] = ['data', 'control', 'gossip'].map((channel) => this.network.connect(process, channel, node));
    process.onOverrun = () => {
      this.weather.note('overrun', slot.name, 0, `${slot.name} was paused for too long and cut off`);
      dataBus.disconnect();
      this.clock.setTimer(500, () => dataBus.reconnect());
    };
    this.startSeat(slot, process, slot.group, undefined);
  }

  /** The process becomes a member of a group: the first one, or another one to which its server moves. */
  startSeat(slot: Slot, process: SimProcess, group: string, cameFrom: string | undefined): void {
    const { name } = slot;
    const incarnation = ++this.#incarnations;
    const busOf = (channel: string) =>
      this.network.buses.findLast((bus) => bus.process === process && bus.channel === channel) as SimBus;
    const who = cameFrom === undefined ? name : `${name} in ${group}`;
    const server = new SimServer({
      ...{ name, group, cameFrom, incarnation, process, weight: 100, map: this.map, subjects: this.#subjects },
      standsFor: cameFrom === undefined ? slot.standsFor : undefined,
      reference: this.referenceOf(group),
      dataBus: busOf('data'),
      controlBus: busOf('control'),
      gossipBus: busOf('gossip'),
      life: this.ledger.beginLife(name, group, incarnation, this.nowMs),
      ledger: this.ledger,
      nowMs: () => this.nowMs,
      workMs: this.plan.workMs,
      audit: this.#hooks.auditOf?.(name, group),
      log: {
        info: (fields, message) => this.say(`${who}: ${message} ${JSON.stringify(fields)}`),
        warn: (fields, message) => this.say(`${who}: ${message} ${JSON.stringify(fields)}`),
      },
      onMoving: () => this.#moves.begin(slot, process),
    });
    this.servers.push(server);
    slot.seats.push(server);
    this.network.unsettled = true;
    this.say(`${name}: starts in ${group}`);
    server.actor.start().catch((error) => {
      this.say(`${name}: could not start in ${group}: ${error.message}`);
      if (this.#moves.refuse(slot, server)) return;
      this.endServer(slot, server);
      this.clock.setTimer(1_000, () => this.restart(slot));
    });
    // No member any more, by mistake or because it has lost what it knew: it begins a new life.
    void server.actor.whenRemoved().then(() => {
      if (server.isLeaving || !process.isAlive || this.#moves.hasLeft(slot, server)) return;
      this.say(`${name}: was removed from ${group}`);
      server.finish();
      this.endServer(slot, server);
      this.clock.setTimer(1_000, () => this.restart(slot));
    });
  }

  restart(slot: Slot): void {
    if (slot.running !== undefined || slot.hasLeft) return;
    this.#startServer(slot);
    if (!slot.isWanted) this.clock.setTimer(1_000, () => this.#leave(slot));
  }

  /** The process ends, with all its seats. */
  endServer(slot: Slot, { options: { process } }: SimServer): void {
    if (!process.isAlive) return;
    this.say(`${slot.name}: ends`);
    slot.noteActive();
    process.crash();
    for (const bus of this.network.buses.filter((each) => each.process === process)) {
      bus.disconnect();
      void bus.close();
    }
    for (const { actor, life } of slot.seats.splice(0)) {
      actor.stop();
      life.endedMs = this.nowMs;
    }
  }

  /** One seat ends, and its process goes on with the others. */
  endSeat(slot: Slot, seat: SimServer, why: string): void {
    this.say(`${slot.name} in ${seat.options.group}: ${why}`);
    slot.noteActive();
    seat.finish();
    seat.actor.stop();
    seat.toldMs = this.nowMs;
    seat.life.endedMs = this.nowMs;
    slot.giveUp(seat);
  }

  /** The server dies for good, unless no other one of its group takes flows. */
  kill(slot: Slot, lastsMs: number): void {
    const server = slot.running;
    if (server === undefined || !hasAnother(this, slot)) return;
    const { process } = server.options;
    const trouble = this.weather.note('die', slot.name, lastsMs, `${slot.name} dies, and stays dead`);
    // What had reached it while it was paused dies with it.
    if (process.isPaused) trouble.fromMs = process.pausedAtMs;
    slot.isWanted = false;
    slot.hasLeft = true;
    this.endServer(slot, server);
  }

  /** Whoever is the next server that appends a command dies while it does so, and is started again. */
  killNextAuthor(when: 'before' | 'after', lastsMs: number): void {
    this.weather.killsAuthor = (process) => {
      const slot = this.slots.find(({ running }) => running?.options.process === process);
      if (slot === undefined) return 'no';
      this.weather.killsAuthor = () => 'no';
      this.weather.note('die-appending', slot.name, lastsMs, `${slot.name} dies ${when} a command of it is stored`);
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
    const tier1 = new SimTier1({
      name: `${name}-${++this.#incarnations}`,
      map: this.map,
      subjects: this.#subjects,
      process,
      dataBus: this.network.connect(process, 'data', node),
      controlBus: this.network.connect(process, 'control', node),
      nowMs: () => this.nowMs,
      say: (line) => this.say(line),
      onDiversion: (diversion) => this.diversions.push(diversion),
    });
    this.tier1s.push(tier1);
    this.say(`${tier1.name}: starts`);
    tier1.start().catch(() => {
      this.endTier1(tier1);
      this.clock.setTimer(1_000, () => this.startTier1(name));
    });
  }

  endTier1(tier1: SimTier1): void {
    this.say(`${tier1.name}: ends`);
    tier1.end();
    for (const bus of this.network.buses) if (bus.process === tier1.process) bus.disconnect();
    this.clock.setTimer(routerNoticesMs, () => {
      tier1.isRouted = false;
    });
  }

  /** One that moves goes on with that. */
  drain(slot: Slot): void {
    if (!slot.isWanted || slot.seats.length > 1 || !hasAnother(this, slot)) return;
    this.say(`${slot.name}: is told to drain`);
    slot.isWanted = false;
    this.#leave(slot);
  }

  #leave(slot: Slot): void {
    const server = slot.running;
    if (server === undefined) return;
    server.toldMs = this.nowMs;
    server.options.process.enter(() => {
      this.network.unsettled = true;
      void server.actor.drain(drainMs).then(() => {
        slot.hasLeft = true;
        server.finish();
        this.endServer(slot, server);
      });
    });
  }
}
