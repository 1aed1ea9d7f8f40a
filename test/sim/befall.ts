// How each fault comes over the world: what it does to processes, connections, clocks, the bus and the store, and what is
// noted for the checkers.

import { Prng } from '../../shared/base/prng.ts';
import { type Command, operatorAuthor } from '../../shared/log/records/command.ts';
import { placementNames } from '../../shared/membership/view.ts';
import { befallLog } from './befallLog.ts';
import type { Fault } from './faults.ts';
import { sendServer } from './moves.ts';
import type { SimProcess } from './process.ts';
import { routerNoticesMs, type World } from './world.ts';

export function befall(world: World, fault: Fault): void {
  const { weather, clock } = world;
  const { kind, lastsMs, pick, amount } = fault;
  const servers = world.slots.filter(({ running }) => running !== undefined);
  const tier1s = world.tier1s.filter(({ process }) => process.isAlive);
  const processes = [
    ...servers.map(({ running }) => running?.options.process as SimProcess),
    ...tier1s.map(({ process }) => process),
  ];
  const process = processes[pick % processes.length];
  const slot = servers[pick % Math.max(1, servers.length)];
  world.say(`fault #${fault.index}: ${kind}`);
  switch (kind) {
    case 'pause':
      if (process === undefined || process.isPaused) return;
      weather.note('pause', process.name, lastsMs, `${process.name} is paused`);
      process.pause();
      clock.setTimer(lastsMs, () => process.resume());
      return;
    case 'crash':
      if (pick % 5 === 0 && tier1s.length > 1) {
        const tier1 = tier1s[pick % tier1s.length];
        weather.note('crash', tier1.process.name, routerNoticesMs + 1_000, `${tier1.name} crashes`);
        world.endTier1(tier1);
        clock.setTimer(lastsMs, () => world.startTier1(tier1.process.name));
      } else if (slot?.running !== undefined) {
        {
          const { process: dying } = slot.running.options;
          const trouble = weather.note('crash', slot.name, lastsMs, `${slot.name} crashes`);
          // What had reached it while it was paused dies with it.
          if (dying.isPaused) trouble.fromMs = dying.pausedAtMs;
        }
        world.endServer(slot, slot.running);
        clock.setTimer(lastsMs, () => world.restart(slot));
      }
      return;
    case 'disconnect':
      if (process !== undefined)
        disconnect(world, process, connections[Math.floor(amount * connections.length)], lastsMs);
      return;
    case 'slow-network':
      if (process !== undefined) {
        const channel = ['', 'data', 'control', 'gossip'][pick % 4];
        weather.slowNetwork(process, channel, 20 + Math.floor(amount * 250), lastsMs);
      }
      return;
    case 'partition':
      weather.cut(pick % world.plan.nodes, lastsMs);
      return;
    case 'slow-store':
      weather.slowStore(Math.floor(50 + amount * 1_500), lastsMs);
      return;
    case 'failing-store':
      weather.failStore(Math.floor(20 + amount * 80), lastsMs);
      return;
    case 'stale-store':
      weather.lagStore(Math.floor(100 + amount * 3_000), lastsMs);
      return;
    case 'clock-jump': {
      if (process === undefined) return;
      // Never further from true time than this, however often it jumps: nothing can be held to idle limits otherwise.
      const jumpMs = Math.round((amount - 0.5) * 7_000) - process.skewMs;
      weather.note('clock-jump', process.name, 0, `the clock of ${process.name} jumps by ${jumpMs} ms`);
      process.skewMs += jumpMs;
      return;
    }
    case 'repeat-control':
      if (slot?.running !== undefined) weather.repeat(slot.running.options.process, lastsMs);
      return;
    case 'gossip-loss':
      if (slot?.running !== undefined)
        weather.loseGossip(slot.running.options.process, 20 + Math.floor(amount * 81), lastsMs);
      return;
    case 'one-way':
      if (slot?.running !== undefined)
        weather.oneWay(slot.running.options.process, pick % 2 === 0 ? 'mute' : 'deaf', lastsMs);
      if (slot?.running !== undefined && amount < 0.3)
        disconnect(world, slot.running.options.process, ['data'], lastsMs);
      return;
    case 'deaf-to-one': {
      const listeners = servers.filter((other) => other !== slot && other.group === slot.group);
      const listener = listeners[pick % Math.max(1, listeners.length)];
      if (slot?.running === undefined || listener?.running === undefined) return;
      weather.deafTo(slot.running.options.process, listener.running.options.process, lastsMs);
      return;
    }
    case 'bus-restart':
      weather.note('bus-restart', '*', lastsMs + busReturnsMs, 'NATS is started again');
      restartBus(world, fault);
      return;
    case 'die':
      if (slot !== undefined) world.kill(slot, lastsMs);
      return;
    case 'die-appending':
      world.killNextAuthor(amount < 0.5 ? 'before' : 'after', lastsMs);
      return;
    case 'store-emptied':
      weather.note('store-emptied', '*', operatorWritesMs, 'the key-value store is emptied');
      world.network.emptyStore();
      clock.setTimer(operatorWritesMs * amount, () => world.writeMap());
      return;
    case 'slow-log':
      if (process !== undefined) weather.slowAppends(process, Math.floor(20 + amount * 1_500), lastsMs);
      return;
    case 'late-store':
      if (process !== undefined) weather.slowAppends(process, Math.floor(2_100 + amount * 2_000), lastsMs);
      return;
    case 'lost-answers':
      if (process !== undefined) weather.loseAnswers(process, Math.floor(20 + amount * 81), lastsMs);
      return;
    case 'slow-reader':
      if (process !== undefined) weather.slowReader(process, Math.floor(20 + amount ** 2 * 4_000), lastsMs);
      return;
    case 'two-ways':
      weather.note('two-ways', '*', lastsMs, 'the router sends packets of one flow through several tier 1s');
      world.clients.spread(lastsMs);
      return;
    case 'rush': {
      const { id } = world.map.groups[pick % world.plan.groups];
      const present = servers.filter(({ group }) => group === id);
      if (servers.length < world.plan.groups * 6) for (let each = 0; each < 2; each++) world.addSlot(id);
      for (const leaver of present.slice(0, 1 + (pick % 2))) world.drain(leaver);
      return;
    }
    case 'add-server':
      if (servers.length < world.plan.groups * 6) world.addSlot(world.map.groups[pick % world.plan.groups].id);
      return;
    case 'drain-server':
      if (slot?.running !== undefined) world.drain(slot);
      return;
    case 'reweigh':
      reweigh(world, world.map.groups[pick % world.plan.groups].id, fault);
      return;
    case 'move-server':
      sendServer(world, fault);
      return;
    case 'add-tier1':
      if (tier1s.length < 4) world.startTier1(`t${world.tier1s.length + 1}`);
      return;
    case 'end-tier1':
      if (tier1s.length < 2) return;
      weather.note('end-tier1', tier1s[pick % tier1s.length].process.name, routerNoticesMs, 'a tier 1 is ended');
      world.endTier1(tier1s[pick % tier1s.length]);
      return;
    default:
      befallLog(world, fault);
      return;
  }
}

function disconnect({ weather, network, clock }: World, process: SimProcess, which: string[], lastsMs: number): void {
  weather.note('disconnect', process.name, lastsMs, `${process.name} loses its ${which.join(' and ')} connection`);
  const buses = network.buses.filter((bus) => bus.process === process && which.includes(bus.channel));
  for (const bus of buses) bus.disconnect();
  clock.setTimer(lastsMs, () => {
    if (process.isAlive) for (const bus of buses) bus.reconnect();
  });
}

/** All connections break, and come back one after the other. The logs of a single server are away meanwhile. */
export function restartBus({ network, clock, plan }: World, { pick, lastsMs }: Fault): void {
  const chance = new Prng(pick);
  if (plan.nodes === 1) for (const log of network.logs.values()) log.restart(lastsMs);
  for (const bus of network.buses) {
    if (!bus.process.isAlive || !bus.isConnected) continue;
    bus.disconnect();
    clock.setTimer(lastsMs + chance.below(busReturnsMs), () => {
      if (bus.process.isAlive) bus.reconnect();
    });
  }
}

/** An operator has written the map again after this. */
const operatorWritesMs = 1_500;
/** Clients of NATS try again after at most this. */
export const busReturnsMs = 750;
const connections = [['data'], ['control'], ['gossip'], ['data', 'control'], ['data', 'control', 'gossip']];

/** What an operator's tool does: commands that give members other weights, the group another placement, or other rules. */
function reweigh(world: World, group: string, { pick, amount }: Fault): void {
  const { epoch, view } = world.referenceOf(group);
  if (epoch === undefined) return;
  const prng = new Prng(pick);
  const common = { author: operatorAuthor, epoch: epoch.id };
  const changed = view.members.filter(() => prng.chance(2, 3));
  const commands: Command[] = changed.map(({ server, incarnation }) => {
    const weight = prng.chance(1, 6) ? 0 : prng.between(1, 300);
    return { ...common, kind: 'configure', life: { server, incarnation }, weight };
  });
  if (amount < 0.3) commands.push({ ...common, kind: 'rules', placement: prng.pick(placementNames), rules: {} });
  else if (amount < 0.4)
    commands.push({ ...common, kind: 'rules', placement: undefined, rules: { tableFirst: prng.chance(1, 2) } });
  for (const command of commands) world.appendAsOperator(group, command);
  world.say(`operator: weights of ${group}`);
}
