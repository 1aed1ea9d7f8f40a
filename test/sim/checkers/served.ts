// A packet is accepted by nobody only for a listed cause. What is in the log of its group is everybody's: it is accepted by its owner, or
// its owner was not there to do so, or the group says that it is nobody's, and why. What is in no log was kept out of it by something that
// really happened. And once nothing goes wrong any more, every new flow is served: no black holes.
//
// The listed causes, of a packet that is in a log:
//   group gone      the same of all its members
//   owner gone      its owner was dead, left, removed, or had lost its place in the log, so that its replica never came to the entry, or it died
//                   while it was at work on the packet
//   lost entry      the log's server was started again without it, before its owner had read it
//   broken flow     the group says that it is nobody's: a connection in its middle whose start nobody took, or whose server has gone, or that
//                   was silent for nearly as long as it is remembered, or had ended; or it comes to another group than before
//   no room         the table was full, where the cluster is one with a small table
//   no taker        no member took new flows at that entry
//   fragment        a later fragment whose first one is not in the log near it
//
// And of one that is in none:
//   dead tier 1     it died with it in hand
//   no way in       its tier 1, its node, or the log itself could not store anything, or the store had no view of a group
//   no line         it was stored before a line of the log began, or after one whose donor had died, or its tier 1 had not heard of the line yet
//
// A dead owner is no excuse where what it had not handled is replayed (flows have backups, by Fig. 7) and the log keeps long enough: the owner was
// removed, had not passed over the packet before with state that it had fetched, everybody who took flows then did so a second before the packet came, and is there still some seconds later, and nothing else befell
// the group from some seconds before the packet until some seconds after the removal.
//
// Pauses, slow messages, lost gossip, wrong clocks of processes and logs, and whatever else operators do explain nothing.

import { type Verdict, verdicts } from '../../../services/dssl/replica/verdict.ts';
import { hasStandbys, standbysOf, takesFlows } from '../../../shared/membership/standbys.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';
import type { Trouble } from '../faults.ts';
import type { Fate, FlowRecord, PacketRecord, ServerLife } from '../ledger.ts';
import type { ViewChange } from '../reference/judgement.ts';
import type { World } from '../world.ts';
import {
  closingMs,
  deaths,
  type Finding,
  isDiverted,
  isMember,
  lingeredMs,
  movedAwayMs,
  replays,
  seconds,
  viewAt,
} from './finding.ts';

/** Frames that cannot get into the log are given up after this, and a little more until that shows. */
const givenUpMs = 16_000;
/** After a trouble everything must be right again within this. */
const recoveryMs = 4_000;
/** A flow that starts so long after the last trouble must be served, whatever its cause would be. */
const calmAfterMs = 14_000;
/** A gap is passed over for ten seconds of the log's time, which begin when the log is back. */
const gapMs = 17_000;
/** A server drains for twelve seconds, or until its flows have ended. */
const drainedMs = 11_000;
/** A log that keeps less trims what a replay needs. */
const usualLogBytes = 1_000_000_000;
/** Later fragments wait for their first one for a second. */
const fragmentMs = 900;

/** Troubles that keep packets out of a log. */
const closing: ReadonlySet<Trouble['kind']> = new Set([
  'disconnect',
  'partition',
  'bus-restart',
  'no-leader',
  'log-restart',
  'log-tail',
  'log-emptied',
  'slow-log',
  'late-store',
  'lost-answers',
  'overrun',
]);
/** Troubles that keep a tier 1 from knowing a group's view. */
const blinding: ReadonlySet<Trouble['kind']> = new Set(['slow-store', 'failing-store', 'store-emptied', 'partition']);

export function served(world: World): Finding | undefined {
  const { ledger } = world;
  for (const flow of ledger.flows) {
    for (const id of flow.packets) {
      const packet = ledger.packets[id];
      if (packet.acceptedBy.length > 0 || isExplained(world, flow, packet)) continue;
      const where =
        packet.fate === undefined
          ? 'is in no log'
          : `is at position ${packet.fate.position} of ${packet.fate.group} (${verdicts[packet.fate.verdict]})`;
      const what = `packet ${id} (${packet.kind}) of flow ${flow.id} (${flow.tuple}), sent at ${seconds(packet.sentMs)} through ${packet.tier1}, ${where} and was accepted by nobody`;
      return { checker: 'served', what, flow: flow.id, packet: id };
    }
  }
  return undefined;
}

export function noBlackHole(world: World): Finding | undefined {
  if (world.hasSmallTables) return undefined;
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
  const { fate } = packet;
  if (fate === undefined) return isWithoutLine(world, packet) || isDeadTier1(world, packet) || hasNoWay(world, packet);
  if (fate.owner !== -1) {
    const owner = world.ledger.lives[fate.owner];
    const isGone = isOwnerGone(world, owner, fate) || diedAtWork(world, owner, fate) || isFenced(world, owner, fate);
    // By Fig. 6 a server has a table of its own, which may be full.
    const isFull = world.hasSmallTables && world.isPrivate && fate.appliedBy.includes(owner.index);
    return isFull || (isGone && !mustBeReplayed(world, owner, fate));
  }
  if (fate.isLost || isGroupDead(world, fate)) return true;
  return isNobodys(world, flow, packet, fate);
}

/** The owner's replica never came to the entry. */
function isOwnerGone(world: World, owner: ServerLife, fate: Fate): boolean {
  if (fate.appliedBy.includes(owner.index)) return world.hasSmallTables && world.isPrivate;
  if (fate.isLost || owner.endedMs !== Number.POSITIVE_INFINITY) return true;
  if (fate.passedOverBy.includes(owner.index)) return true;
  return !isMember(world, owner, world.nowMs) || world.hasSkipped(owner, fate);
}

/** It was removed behind the packet, and did not hand it out when it woke up. */
function isFenced(world: World, { removedMs }: ServerLife, { atMs }: Fate): boolean {
  return replays(world) && removedMs !== Number.POSITIVE_INFINITY && removedMs >= atMs;
}

function diedAtWork({ plan }: World, owner: ServerLife, { appliedBy }: Fate): boolean {
  return plan.workMs > 0 && appliedBy.includes(owner.index) && owner.endedMs !== Number.POSITIVE_INFINITY;
}

/** See the header. */
function mustBeReplayed(world: World, owner: ServerLife, fate: Fate): boolean {
  const { group, epoch, atMs, dueAt, isLost } = fate;
  if (!replays(world) || isLost || world.plan.logBytes < usualLogBytes) return false;
  // It lived, and went on with state from behind the packet.
  if (!fate.appliedBy.includes(owner.index) && world.hasSkipped(owner, fate)) return false;
  const death = deaths(world, group).find((each) => each.life === owner.index && each.epoch === epoch);
  if (death === undefined || death.position < dueAt) return false;
  const fromMs = atMs - recoveryMs;
  const untilMs = death.atMs + recoveryMs;
  if (untilMs - atMs > world.plan.logAgeMs || untilMs > world.nowMs) return false;
  const isActiveIn = (view: View | undefined, life: Life) =>
    view?.members.some((member) => isLifeOf(member, life) && member.state === 'active') === true;
  const heirs = viewAt(world, group, death.atMs)?.members ?? [];
  const [before, after] = [viewAt(world, group, atMs - 1_000), viewAt(world, group, untilMs)];
  if (!heirs.every((heir) => isActiveIn(before, heir) && isActiveIn(after, heir))) return false;
  const servers = viewAt(world, group, atMs)?.members.map(({ server }) => server) ?? [];
  const concerns = ({ process }: Trouble) => process === '*' || process === group || servers.includes(process);
  return !world.weather.troubles.some(
    (trouble) =>
      trouble.fromMs < untilMs && trouble.untilMs > fromMs && trouble.process !== owner.name && concerns(trouble),
  );
}

/** No member's replica came to the entry: nobody was left who could say why it is nobody's. */
function isGroupDead(world: World, fate: Fate): boolean {
  const members = viewAt(world, fate.group, fate.atMs)?.members ?? [];
  const lives = members.map(({ server, incarnation }) => world.ledger.lives[world.ledger.lifeOf(server, incarnation)]);
  return lives.every((life) => isOwnerGone(world, life, fate));
}

function isNobodys(world: World, flow: FlowRecord, packet: PacketRecord, fate: Fate): boolean {
  const verdict = verdicts[fate.verdict] as Verdict | undefined;
  switch (verdict) {
    case 'dropTableFull':
    case 'ignorePlacedElsewhere':
      return world.hasSmallTables;
    case 'dropNoOwner':
      return viewAt(world, fate.group, fate.atMs)?.members.some(takesFlows) !== true;
    case 'dropFragment':
      return isWithoutFirst(world, flow, packet, fate);
    default:
      return flow.type1 && packet.kind !== 'start' && isBroken(world, flow, packet, fate);
  }
}

/** Fragments are sent in pairs, one packet behind the other. */
function isWithoutFirst(world: World, flow: FlowRecord, packet: PacketRecord, fate: Fate): boolean {
  const isPartner = (id: number) => Math.abs(id - packet.id) === 1 && world.ledger.packets[id].kind === 'middle';
  const partner = flow.packets.find(isPartner);
  const other = partner === undefined ? undefined : world.ledger.packets[partner].fate;
  return other === undefined || other.group !== fate.group || Math.abs(other.atMs - fate.atMs) > fragmentMs;
}

/** A connection in its middle that the group does not know, or no longer. */
function isBroken(world: World, flow: FlowRecord, packet: PacketRecord, fate: Fate): boolean {
  const { ledger } = world;
  const earlier = flow.packets.map((id) => ledger.packets[id]).filter((each) => isBefore(each, packet, fate));
  // What nobody has applied is not on the line that the group goes on with.
  const isKnown = ({ acceptedBy, fate: its }: PacketRecord) =>
    acceptedBy.length > 0 || (its !== undefined && its.owner !== -1 && its.appliedBy.length > 0);
  const last = earlier.findLast((each) => each.fate?.group === fate.group && isKnown(each));
  const first = earlier.find(({ kind, acceptedBy }) => kind === 'start' && acceptedBy.length > 0);
  // The client repeats a start until it is taken, and sends nothing else before.
  if (first === undefined || last?.fate === undefined) return true;
  if (earlier.some(({ kind }) => kind === 'end') && fate.atMs - last.fate.atMs > closingMs) return true;
  if (isDiverted(world, flow, first.sentMs, fate.atMs + recoveryMs)) return true;
  // What the heir of a dead server got in its place was that one's.
  const homeOf = ({ acceptedBy, repeatedBy, fate: its }: PacketRecord) =>
    acceptedBy
      .slice(0, 1)
      .map((taker) => (repeatedBy.includes(taker) ? (its?.owner ?? taker) : taker))
      .filter((life) => life !== -1);
  const homes = earlier.flatMap(homeOf);
  const home = ledger.lives[homes[homes.length - 1]];
  // The line began with the state of somebody who had not come to its start, and its server had not either: an heir had it.
  if (first.fate?.epoch !== fate.epoch && first.fate?.appliedBy.includes(home.index) === false) return true;
  if (world.hasSmallTables || earlier.some((each) => each.fate?.isLost === true)) return true;
  const movedMs = movedAwayMs(world, home);
  if (movedMs !== undefined) return earlier.some(({ kind }) => kind === 'end') && movedMs - last.fate.atMs > lingeredMs;
  if (!isMember(world, home, fate.atMs)) return !leftEarly(world, home) && !hasBackup(world, home, last.fate, fate);
  // By Fig. 6 its server alone knows that it is its own, and who stands behind it, if anybody does any more.
  const isGone = isOwnerGone(world, home, fate) || diedAtWork(world, home, fate) || isFenced(world, home, fate);
  return world.isPrivate && isGone;
}

/**
 * Where flows have backups, one stands behind this one at its last packet, and goes on: all of the other members that took flows then are there
 * still. By Fig. 6 it may have come too late for that.
 */
function hasBackup(world: World, home: ServerLife, last: Fate, { group, atMs, epoch }: Fate): boolean {
  if (world.plan.rules.availability === 'none' || world.isPrivate || last.epoch !== epoch) return false;
  const before = viewAt(world, group, last.atMs);
  if (before === undefined || !mayBeBackedUp(before, home)) return false;
  const others = before.members.filter(({ state, server }) => state === 'active' && server !== home.name);
  const present = viewAt(world, group, atMs)?.members ?? [];
  return others.length > 0 && others.every((other) => present.some((member) => isLifeOf(member, other)));
}

/** Whether a standby stands for it, where backups are standbys. */
function mayBeBackedUp(view: View, { name, incarnation }: ServerLife): boolean {
  const member = view.members.find((each) => each.server === name && each.incarnation === incarnation);
  return !hasStandbys(view.rules.availability) || (member !== undefined && standbysOf(view).has(member.number));
}

/** A server that was told to leave stays until its flows have ended, or for as long as it was told to. */
function leftEarly(world: World, life: ServerLife): boolean {
  const server = world.servers.find((each) => each.life === life);
  const isIts = ({ command }: ViewChange) =>
    command?.kind === 'leave' && command.life.server === life.name && command.life.incarnation === life.incarnation;
  const left = world.referenceOf(life.group).views.find(isIts);
  return server?.toldMs !== undefined && left !== undefined && left.atMs < server.toldMs + drainedMs;
}

/** Whether a packet was in the group's log before another one of its flow; one that is in none was not. */
function isBefore(earlier: PacketRecord, { id }: PacketRecord, { position, group }: Fate): boolean {
  const { fate } = earlier;
  if (fate === undefined || fate.group !== group) return earlier.id < id;
  return fate.isLost || fate.position === position ? earlier.id < id : fate.position < position;
}

function isDeadTier1(world: World, { tier1, sentMs }: PacketRecord): boolean {
  const gate = world.tier1s.find(({ name }) => name === tier1);
  return gate === undefined || (!gate.process.isAlive && gate.endedMs < sentMs + givenUpMs);
}

/** The process whose life a packet was sent through. */
function tier1Of({ tier1 }: PacketRecord): string {
  return tier1.replace(/-\d+$/, '');
}

function hasNoWay(world: World, packet: PacketRecord): boolean {
  const { takenMs, sentMs } = packet;
  const isIts = ({ process }: Trouble) =>
    process === tier1Of(packet) || process === '*' || world.map.groups.some(({ id }) => id === process);
  return (
    world.weather.troubles.some((trouble) => {
      if (trouble.fromMs > takenMs + givenUpMs || trouble.untilMs < sentMs - recoveryMs) return false;
      return isIts(trouble) && (closing.has(trouble.kind) || blinding.has(trouble.kind));
    }) ||
    hadNoServer(world, takenMs) ||
    world.map.groups.some(({ id }) => isLineless(world, id, takenMs))
  );
}

/**
 * It is stored, and there was no line then; or the line has a gap before it, because it began with the state of a donor that had not come so far,
 * until its tier 1 learns of the new line.
 */
function isWithoutLine(world: World, { passedOverMs }: PacketRecord): boolean {
  if (passedOverMs === undefined) return false;
  const isBlind = ({ kind, fromMs, untilMs }: Trouble) =>
    blinding.has(kind) && fromMs < passedOverMs && untilMs > passedOverMs - recoveryMs;
  return world.map.groups.some(({ id }) => {
    const begunMs = world.referenceOf(id).begunMs.findLast((atMs) => atMs <= passedOverMs);
    if (begunMs === undefined || passedOverMs - begunMs < recoveryMs || isLineless(world, id, passedOverMs))
      return true;
    // Frames were stored and answered, and then lost: those behind them count when nothing has filled the gap for long.
    const isAfterLoss = ({ fromMs }: { readonly fromMs: number }) =>
      fromMs < passedOverMs && passedOverMs - fromMs < gapMs && fromMs > begunMs;
    if (world.referenceOf(id).lineless.some(isAfterLoss)) return true;
    return passedOverMs - begunMs < givenUpMs && world.weather.troubles.some(isBlind);
  });
}

/** Nobody followed the log, and so nobody kept the group's view in the store. */
function isLineless(world: World, group: string, atMs: number): boolean {
  return world.referenceOf(group).lineless.some(({ fromMs, untilMs }) => fromMs <= atMs && untilMs + recoveryMs > atMs);
}

/** Some group had nobody who takes packets: its tier 1s drop what is for it, and learn of the next server a little later. */
function hadNoServer(world: World, atMs: number): boolean {
  const serves = (view: View | undefined) => view?.members.some(({ state }) => state !== 'joining') === true;
  return world.map.groups.some(({ id }) => {
    if (!serves(viewAt(world, id, atMs - recoveryMs))) return true;
    const isLately = (thenMs: number) => thenMs <= atMs && thenMs > atMs - recoveryMs;
    return world.referenceOf(id).views.some(({ atMs: thenMs, view }) => isLately(thenMs) && !serves(view));
  });
}
