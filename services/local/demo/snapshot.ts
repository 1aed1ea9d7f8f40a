// The state of a running cluster as plain data, for whoever shows it: read a few times a second, never per packet.

import { sliceCount } from '../../dssl/replica/flows/directory.ts';
import { FlowState, ownerOf, stateOf } from '../../dssl/replica/flows/entry.ts';
import { sumOf } from '../../ops/report.ts';
import { nobodyCauses } from '../auditor.ts';
import type { LocalCluster, LocalServer } from '../localCluster.ts';

export interface ServerState {
  readonly name: string;
  readonly state: string;
  readonly packets: number;
  /** Packets a second, and the part of its group's packets, over the last second. */
  readonly packetsPerSecond: number;
  readonly share: number;
  readonly openFlows: number;
  /** Flows whose end was seen, remembered for a few seconds so that their last packets find home. */
  readonly endedFlows: number;
}

export interface GroupState {
  readonly id: string;
  readonly view: number;
  readonly packetsPerSecond: number;
  readonly servers: readonly ServerState[];
}

export interface Snapshot {
  readonly seconds: number;
  readonly groups: readonly GroupState[];
  readonly packets: number;
  readonly packetsPerSecond: number;
  readonly accepted: number;
  readonly double: number;
  /** By cause, without the zeros. */
  readonly nobody: Readonly<Record<string, number>>;
  /** In frames on their way to the log, or not yet decided by all members of the group. */
  readonly underWay: number;
  readonly droppedAtTier1: number;
  readonly flows: number;
  readonly moved: number;
  readonly copiesPerPacket: number;
}

interface Reading {
  readonly atMs: number;
  readonly packets: number;
  readonly servers: ReadonlyMap<string, number>;
}

/** Rates are taken over about this long. */
const windowMs = 1_000;

export class Observer {
  readonly #cluster: LocalCluster;
  readonly #groupIds: readonly string[];
  readonly #readings: Reading[] = [];

  constructor(cluster: LocalCluster, groupIds: readonly string[]) {
    this.#cluster = cluster;
    this.#groupIds = groupIds;
  }

  /** The state now, `elapsedMs` after the traffic began. */
  read(elapsedMs: number): Snapshot {
    const { auditor, tier1, servers } = this.#cluster;
    const { distributor } = tier1;
    const now: Reading = {
      atMs: elapsedMs,
      packets: distributor.distributed,
      servers: new Map(servers.map(({ name, egress }) => [name, egress.stats.packets])),
    };
    this.#readings.push(now);
    while (this.#readings.length > 2 && elapsedMs - this.#readings[1].atMs >= windowMs) this.#readings.shift();
    const before = this.#readings[0];
    const span = Math.max(1, now.atMs - before.atMs) / 1_000;
    let copies = 0;
    for (const { actor } of servers) for (const count of actor.replica?.counts ?? []) copies += count;
    const nobodySum = sumOf(auditor.nobody);
    return {
      seconds: elapsedMs / 1_000,
      groups: this.#groupIds.map((id, index) => this.#group(id, index, now, before, span)),
      packets: now.packets,
      packetsPerSecond: (now.packets - before.packets) / span,
      accepted: auditor.accepted,
      double: auditor.double,
      nobody: Object.fromEntries(
        nobodyCauses.map((cause) => [cause, auditor.nobody[cause]]).filter(([, count]) => count !== 0),
      ),
      underWay: Math.max(0, now.packets + distributor.underWay - auditor.accepted - auditor.double - nobodySum),
      droppedAtTier1: distributor.droppedPackets,
      flows: auditor.flows.seen,
      moved: auditor.flows.moved,
      copiesPerPacket: now.packets === 0 ? 0 : copies / now.packets,
    };
  }

  #group(id: string, index: number, now: Reading, before: Reading, span: number): GroupState {
    const members = this.#cluster.servers.filter(({ group }) => group === index);
    const counted = members.map((server) => {
      const packets = now.servers.get(server.name) ?? 0;
      return { server, packets, packetsPerSecond: (packets - (before.servers.get(server.name) ?? 0)) / span };
    });
    const sum = counted.reduce((total, { packetsPerSecond }) => total + packetsPerSecond, 0);
    return {
      id,
      view: viewOf(members),
      packetsPerSecond: sum,
      servers: counted.map(({ server, packets, packetsPerSecond }) => {
        const state = server.actor.phase;
        const flows = state === 'left' ? noFlows : flowsOf(server);
        const share = sum === 0 ? 0 : packetsPerSecond / sum;
        return {
          name: server.name,
          state,
          packets,
          packetsPerSecond,
          share,
          openFlows: flows.open,
          endedFlows: flows.ended,
        };
      }),
    };
  }
}

const noFlows = { open: 0, ended: 0 };

/** Newest view that any of these servers has. */
export function viewOf(servers: readonly LocalServer[]): number {
  return Math.max(0, ...servers.map(({ actor }) => actor.view.number));
}

/** Flows a server holds: those that go on, and those that have ended and are remembered a little longer. */
export function flowsOf({ actor }: LocalServer): { readonly open: number; readonly ended: number } {
  const { replica, ownFlows } = actor;
  let ended = 0;
  const note = (_hi: number, _lo: number, _lastSeen: number, info: number) => {
    if (ownerOf(info) === replica?.selfNumber && stateOf(info) === FlowState.closing) ended++;
  };
  for (let slice = 0; slice < sliceCount; slice++) {
    replica?.table.scanSlice(slice, note);
    replica?.ownTable?.scanSlice(slice, note);
  }
  return { open: Math.max(0, ownFlows - ended), ended: Math.min(ended, ownFlows) };
}
