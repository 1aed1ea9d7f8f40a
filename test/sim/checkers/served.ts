// A packet is accepted by nobody only for a listed cause, and only with a cause in the log of what went wrong. And once
// nothing goes wrong any more, every new flow is served: no black holes.
//
// The listed causes:
//   broken flow    its server died or left, or its start (type 1) was never taken for a reason of its own; or its server
//                  ended while its tier 1 was paused with the packet, which was then sent by a view that still had the server;
//                  so may the first packet of a flow be placed
//   dead server    a server of its group is dead and its successor not yet a member
//   lost           something broke or lost messages on its way: the sender's tier 1, a member of its group, the bus; or
//                  a member had missed frames and asked its peers, of which one was paused or not heard: in doubt, nobody takes it
//   told to some   it began while messages were lost, and a member that knew of it was removed meanwhile, although it
//                  lived: it may have told one peer and not another, until tables have been compared
//   idle           the flow was silent for nearly as long as flows are remembered that have one packet
//   forgotten end  its end had come long ago, if not to its server, and all repeats since were lost before its group
//   no view        the store did not answer for so long that views could not be had
//   no server      its group has no member that takes flows: an operator has told the last one to leave, while another one had
//                  been removed although it lives, which comes back
//
// Pauses, slow messages, wrong clocks, doubled control messages, stale reads, and everything else that operators do explain
// nothing.

import type { Trouble } from '../faults.ts';
import type { FlowRecord, PacketRecord, ServerLife } from '../ledger.ts';
import type { World } from '../world.ts';
import { type Finding, idleMs, isDiverted, isMember, removals, seconds, viewAt } from './finding.ts';

/** A packet sent this long before a trouble may still have been on its way. */
const underWayMs = 800;
/** A tier 1 puts packets into a frame for so long at most. */
const inHandMs = 50;
/** After a trouble everything must be right again within this. */
export const recoveryMs = 4_000;
/** Tables that differ are alike again within this. */
const comparedMs = 45_000;
/** A flow that starts so long after the last trouble must be served, whatever its cause would be. */
const calmAfterMs = 12_000;
/** A flow whose end the group has seen is remembered for so long after its last packet. */
const endedMs = 10_000;

const losing: ReadonlySet<Trouble['kind']> = new Set([
  'crash',
  'die',
  'die-writing',
  'one-way',
  'bus-restart',
  'disconnect',
  'loss',
  'partition',
  'overrun',
  'end-tier1',
  'slow-store',
  'failing-store',
]);

export function served(world: World): Finding | undefined {
  const { ledger } = world;
  for (const flow of ledger.flows) {
    for (const id of flow.packets) {
      const packet = ledger.packets[id];
      if (packet.acceptedBy.length > 0 || isExplained(world, flow, packet)) continue;
      const what = `packet ${id} (${packet.kind}) of flow ${flow.id} (${flow.tuple}), sent at ${seconds(packet.sentMs)} through ${packet.tier1}, was accepted by nobody, and nothing explains it`;
      return { checker: 'served', what, flow: flow.id, packet: id };
    }
  }
  return undefined;
}

export function noBlackHole(world: World): Finding | undefined {
  const { ledger } = world;
  const calmMs = calmAfterMs + Math.max(0, ...world.weather.troubles.map(({ untilMs }) => untilMs));
  for (const flow of ledger.flows) {
    const first = ledger.packets[flow.packets[0]];
    if (
      first === undefined ||
      first.sentMs < calmMs ||
      flow.packets.some((id) => ledger.packets[id].acceptedBy.length > 0)
    )
      continue;
    const what = `flow ${flow.id} (${flow.tuple}) began at ${seconds(first.sentMs)}, when all troubles had been over for long, and was never served`;
    return { checker: 'no-black-hole', what, flow: flow.id, packet: first.id };
  }
  return undefined;
}

function isExplained(world: World, flow: FlowRecord, packet: PacketRecord): boolean {
  return (
    isBroken(world, flow, packet) ||
    isForgottenEnd(world, flow, packet) ||
    hasNoServer(world, flow, packet) ||
    world.weather.troubles.some((trouble) => explains(world, trouble, flow, packet))
  );
}

/**
 * The server did not get the end, for a reason of its own, and the client repeats it. The group forgets a flow some time
 * after its end was seen, every member at the same packet. It cannot know that somebody still repeats the end while no repeat
 * gets as far as the group, because the tier 1 of the sender is in trouble. What is forgotten once stays forgotten.
 */
function isForgottenEnd(world: World, flow: FlowRecord, packet: PacketRecord): boolean {
  if (!flow.type1 || packet.kind !== 'end') return false;
  const earlier = flow.packets.filter((id) => id < packet.id).map((id) => world.ledger.packets[id]);
  const isLate = ({ sentMs }: PacketRecord) => packet.sentMs - sentMs < endedMs;
  const neverLeft = (repeat: PacketRecord) =>
    world.weather.troubles.some(
      (trouble) =>
        (trouble.process === tier1Of(repeat) || trouble.kind === 'bus-restart') &&
        explains(world, trouble, flow, repeat),
    );
  const keepsNothing = (repeat: PacketRecord) =>
    repeat.acceptedBy.length === 0 && (neverLeft(repeat) || isForgottenEnd(world, flow, repeat));
  return earlier.some((each) => each.kind === 'end' && !isLate(each)) && earlier.filter(isLate).every(keepsNothing);
}

/** The process whose life a packet was sent through. */
function tier1Of({ tier1 }: PacketRecord): string {
  return tier1.replace(/-\d+$/, '');
}

function hasNoServer(world: World, flow: FlowRecord, packet: PacketRecord): boolean {
  const untilMs = packet.takenMs;
  return removals(world).some(({ group, life, atMs }) => {
    if (flow.group !== '' && flow.group !== group) return false;
    const takesFlows = (thenMs: number) =>
      viewAt(world, group, thenMs)?.members.some(({ state }) => state === 'active');
    // Tier 1s hear of the next one a little later.
    if (takesFlows(untilMs) && takesFlows(untilMs - underWayMs)) return false;
    return life.endedMs > atMs && atMs < untilMs && atMs > untilMs - recoveryMs;
  });
}

function isBroken(world: World, flow: FlowRecord, packet: PacketRecord): boolean {
  const { ledger } = world;
  const earlier = flow.packets.filter((id) => id < packet.id).map((id) => ledger.packets[id]);
  const times = [...earlier.map(({ sentMs }) => sentMs), packet.sentMs];
  if (flow.type1 && times.some((sentMs, index) => index > 0 && sentMs - times[index - 1] > idleMs)) return true;
  // The client repeats a start until it is taken, and sends nothing else before.
  if (
    flow.type1 &&
    packet.kind !== 'start' &&
    !earlier.some(({ kind, acceptedBy }) => kind === 'start' && acceptedBy.length > 0)
  )
    return true;
  const homes = earlier.flatMap(({ acceptedBy }) => acceptedBy.slice(0, 1));
  const home = homes.length === 0 ? undefined : ledger.lives[homes[homes.length - 1]];
  if (home === undefined) return placedAtEnded(world, flow, packet);
  // Its packets go to a group that does not know it, or back to one that does.
  if (flow.type1 && isDiverted(world, flow, earlier[0].sentMs, packet.takenMs + underWayMs)) return true;
  if (endedMeanwhile(world, home, packet)) return true;
  const untilMs = packet.takenMs + underWayMs;
  if (home.endedMs > untilMs && isMember(world, home, untilMs)) return false;
  // Other servers take over datagram flows when theirs has gone.
  return flow.type1;
}

function explains(world: World, trouble: Trouble, flow: FlowRecord, packet: PacketRecord): boolean {
  if (!losing.has(trouble.kind)) return false;
  if (goneOutMs(world, packet) < trouble.fromMs - underWayMs) return false;
  const laterMs = Math.max(unansweredThen(world, trouble, flow), untoldThen(world, trouble, flow));
  const isOver = packet.sentMs > trouble.untilMs + laterMs + recoveryMs;
  const isDeadMember = trouble.kind === 'die' && isStillMember(world, trouble.process, packet.sentMs - recoveryMs);
  if (isOver && !isDeadMember) return false;
  if (trouble.process === '*' || trouble.process === tier1Of(packet)) return true;
  const slot = world.slots.find(({ name }) => name === trouble.process);
  // Everybody has missed what another tier 1 lost, and asks the peers.
  if (slot === undefined) return unansweredThen(world, trouble, flow) > 0;
  if (flow.group === '' || slot.group === flow.group) return true;
  // It is served by another group by now, because its own was mapped out; or goes to its own again.
  return isDiverted(world, flow, world.ledger.packets[flow.packets[0]].sentMs, Number.POSITIVE_INFINITY);
}

/**
 * Whether a server ended while the packet was with a tier 1 that was paused. It had left, and waited for the tier 1s that
 * stamp older views, but not for one that says nothing for seconds. That one sends the packet before it hears of the newer
 * view, and by the older one the packet is that server's and nobody else's.
 */
function endedMeanwhile(world: World, { endedMs }: ServerLife, packet: PacketRecord): boolean {
  return pausesWith(world, packet).some(
    ({ fromMs }) => endedMs > fromMs && endedMs < goneOutMs(world, packet) + underWayMs,
  );
}

/**
 * The same of a flow that is at no server yet: which one it was placed at by the older view is not known here, so any will do
 * that was a member when the tier 1 was paused.
 */
function placedAtEnded(world: World, flow: FlowRecord, packet: PacketRecord): boolean {
  return world.ledger.lives.some(
    (life) =>
      (flow.group === '' || life.group === flow.group) &&
      pausesWith(world, packet).some(({ fromMs }) => isMember(world, life, fromMs)) &&
      endedMeanwhile(world, life, packet),
  );
}

/** Pauses of its tier 1 that it was with. */
function pausesWith({ weather }: World, packet: PacketRecord): Trouble[] {
  return weather.troubles.filter(
    ({ kind, process, fromMs, untilMs }) =>
      kind === 'pause' && process === tier1Of(packet) && fromMs < packet.takenMs + inHandMs && untilMs > packet.sentMs,
  );
}

/** A server that died has not been removed yet: others wait for its answers, and flows are placed there. */
function isStillMember(world: World, name: string, atMs: number): boolean {
  const life = world.ledger.lives.findLast((each) => each.name === name);
  return life !== undefined && isMember(world, life, atMs);
}

/** When a packet left its tier 1 at the latest: one that was paused with packets in hand sends them when it resumes. */
function goneOutMs(world: World, packet: PacketRecord): number {
  const tier1 = tier1Of(packet);
  const isHeldBy = (pause: Trouble) =>
    pause.kind === 'pause' &&
    pause.process === tier1 &&
    pause.fromMs >= packet.takenMs &&
    pause.fromMs < packet.takenMs + inHandMs;
  const pauses = world.weather.troubles.filter(isHeldBy);
  return Math.max(packet.takenMs, ...pauses.map(({ untilMs }) => untilMs));
}

/** What a member that was removed had told some, and not all, is mended when tables are compared. */
function untoldThen(world: World, { fromMs, untilMs }: Trouble, flow: FlowRecord): number {
  const isThen = (atMs: number) => atMs > fromMs - underWayMs && atMs < untilMs + recoveryMs;
  const first = world.ledger.packets[flow.packets[0]];
  if (!isThen(first.sentMs)) return 0;
  const isLeftBehind = removals(world).some(
    ({ group, life, atMs }) => (flow.group === '' || group === flow.group) && life.endedMs > atMs && isThen(atMs),
  );
  return isLeftBehind ? comparedMs : 0;
}

/** Whoever missed frames asks all its peers; one that is paused, or not heard, answers when that is over. */
function unansweredThen(world: World, { untilMs }: Trouble, flow: FlowRecord): number {
  let longest = 0;
  for (const { kind, process, fromMs, untilMs: overMs } of world.weather.troubles) {
    const keepsSilent = kind === 'pause' || kind === 'deaf-to-one' || kind === 'one-way';
    if (!keepsSilent || fromMs > untilMs + recoveryMs || overMs < untilMs) continue;
    const slot = world.slots.find(({ name }) => name === process);
    if (slot !== undefined && (flow.group === '' || slot.group === flow.group))
      longest = Math.max(longest, overMs - untilMs);
  }
  return longest;
}
