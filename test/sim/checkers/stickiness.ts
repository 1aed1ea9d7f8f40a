// A flow never changes its server while that server lives and is a member, and its group is not mapped out meanwhile. A server that has moved to another
// group leaves its former one when its flows have ended, and not before. One
// that was silent for nearly as long as flows are remembered may have been forgotten: what comes later is a new flow. And a
// start is taken for a repeated one for ten seconds, also when it is of another connection on the same ports: then its time may
// run out between two starts. A packet that comes so late that its ports have been used again goes to whom the next connection
// is at. And one that sleeps while its log loses its end, reads on later as if nothing had happened, up to where the others began another line:
// what it took in between, none of them can know.

import type { FlowRecord, Ledger, PacketRecord, ServerLife } from '../ledger.ts';
import type { World } from '../world.ts';
import { closingMs, type Finding, isDiverted, isMember, lingeredMs, movedAwayMs, seconds } from './finding.ts';

/** A repeated start goes to the first one's server for ten seconds; clocks may differ. */
const repeatedStartMs = 4_500;

export function stickiness(world: World): Finding | undefined {
  // A small table lets flows go that began a moment ago.
  if (world.hasSmallTables) return undefined;
  const { ledger } = world;
  const isReused = reuses(ledger);
  const isOvertaken = overtakes(ledger);
  for (const flow of ledger.flows) {
    if (hasOneHome(ledger, flow)) continue;
    let home = -1;
    let firstStartMs = Number.POSITIVE_INFINITY;
    let lastAcceptedMs = Number.POSITIVE_INFINITY;
    let hasEnded = false;
    let isReset = false;
    let homeEpoch: string | undefined;
    for (const { fate, repeatedBy, id, kind, sentMs, acceptedBy, atMs } of inLogOrder(world, flow)) {
      if (kind === 'start') firstStartMs = Math.min(firstStartMs, atMs);
      // A start that comes late, behind the end of its own connection, is another one.
      const isStartAnew: boolean =
        kind === 'start' && (hasEnded || isReset || atMs - firstStartMs > repeatedStartMs || isReused(flow.id));
      const quietSinceMs = hasEnded ? lastAcceptedMs : Number.POSITIVE_INFINITY;
      const isForgotten = hasEnded && atMs - lastAcceptedMs > closingMs;
      if (isForgotten || isStartAnew) home = -1;
      hasEnded = (hasEnded && !isStartAnew) || kind === 'end';
      // By Fig. 6 its server alone learns from the data behind it that a reset was none.
      isReset = kind === 'reset' || (isReset && world.isPrivate && !isStartAnew);
      if (acceptedBy.length === 0) continue;
      lastAcceptedMs = atMs;
      // What the heir of a dead server got in its place was that one's, and says nothing of where the flow goes on.
      const taker = repeatedBy.includes(acceptedBy[0]) ? (fate?.owner ?? -1) : acceptedBy[0];
      if (taker === -1) continue;
      if (home !== -1 && home !== taker) {
        if (isOvertaken(flow, atMs)) continue;
        if (fate?.epoch !== homeEpoch && isOthersLine(world, flow, homeEpoch, taker)) {
          home = taker;
          homeEpoch = fate?.epoch;
          continue;
        }
        const life = ledger.lives[home];
        const isElsewhere = life.group !== ledger.lives[taker].group;
        if (isElsewhere && isDiverted(world, flow, ledger.packets[flow.packets[0]].sentMs, atMs)) {
          home = taker;
          continue;
        }
        if ((life.endedMs > atMs && isMember(world, life, atMs)) || movedTooEarly(world, life, quietSinceMs)) {
          const what = `flow ${flow.id} (${flow.tuple}) was at ${life.name}, and its packet ${id}, sent at ${seconds(sentMs)}, went to ${ledger.lives[taker].name}`;
          return { checker: 'stickiness', what, flow: flow.id, packet: id };
        }
      }
      home = taker;
      homeEpoch = fate?.epoch;
    }
  }
  return undefined;
}

/** A server that moves stays in its group until its flows have ended. */
function movedTooEarly(world: World, life: ServerLife, quietSinceMs: number): boolean {
  const movedMs = movedAwayMs(world, life);
  return movedMs !== undefined && movedMs - quietSinceMs <= lingeredMs;
}

/** Whether this life has applied no packet of the flow in this epoch: it went on with a line that began without them. */
function isOthersLine({ ledger }: World, flow: FlowRecord, epoch: string | undefined, taker: number): boolean {
  const seen = ({ fate }: PacketRecord) => fate?.epoch === epoch && fate?.appliedBy.includes(taker);
  return !flow.packets.some((id) => seen(ledger.packets[id]));
}

/** Most flows were at one server all their life. */
function hasOneHome({ packets }: Ledger, flow: FlowRecord): boolean {
  return flow.packets.every((id) => packets[id].acceptedBy.every((life) => life === flow.home));
}

interface LoggedPacket extends PacketRecord {
  /** When it was stored. */
  readonly atMs: number;
}

/** The packets of a flow that are in a log, as they came into it; without those that it has lost, of which the group cannot know. */
function inLogOrder({ ledger }: World, flow: FlowRecord): LoggedPacket[] {
  const packets: LoggedPacket[] = [];
  for (const id of flow.packets) {
    const packet = ledger.packets[id];
    if (packet.fate?.isLost === false) packets.push({ ...packet, atMs: packet.fate.atMs });
  }
  return packets.sort((one, other) => one.atMs - other.atMs || one.id - other.id);
}

/** Whether another connection had these ports shortly before. */
function reuses({ flows, packets }: Ledger): (flow: number) => boolean {
  const reused = new Set<number>();
  const lastMs = new Map<string, number>();
  for (const flow of flows) {
    if (!flow.type1) continue;
    const first = packets[flow.packets[0]]?.sentMs ?? 0;
    if (first - (lastMs.get(flow.tuple) ?? Number.NEGATIVE_INFINITY) < reusedMs) reused.add(flow.id);
    lastMs.set(flow.tuple, packets[flow.packets[flow.packets.length - 1]]?.sentMs ?? first);
  }
  return (flow) => reused.has(flow);
}

const reusedMs = 16_000;

/** Whether another connection on the same ports had begun by then. */
function overtakes({ flows, packets }: Ledger): (flow: FlowRecord, atMs: number) => boolean {
  const onTuple = Map.groupBy(flows, ({ tuple }) => tuple);
  const hasBegun = (flow: FlowRecord, atMs: number) => (packets[flow.packets[0]]?.sentMs ?? atMs) < atMs;
  return (flow, atMs) =>
    flow.type1 && onTuple.get(flow.tuple)?.some((other) => other.id > flow.id && hasBegun(other, atMs)) === true;
}
