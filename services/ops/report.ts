// What a run of a local cluster amounts to: the numbers, whether they add up, and the same in plain words.

import type { TunnelReport } from '../../shared/flow/tunnelCounts.ts';
import type { DsslActor } from '../dssl/actor.ts';
import { countsByName, verdicts } from '../dssl/replica/verdict.ts';
import { type NobodyCause, nobodyCauses } from '../local/auditor.ts';
import type { LocalCluster } from '../local/localCluster.ts';
import { agreeing, count, counted } from './numbers.ts';

export interface ServerReport {
  readonly id: string;
  readonly group: string;
  readonly state: string;
  readonly packets: number;
  readonly bytes: number;
  /** Flows that were this server's at any time, and those it holds now. */
  readonly flows: number;
  readonly flowsNow: number;
  /** Of those that have not ended: how many there are, and behind how many of them nobody stands. Where flows have backups. */
  readonly protection?: { readonly flows: number; readonly unprotected: number; readonly promoted: number };
  /** Calls of the handler that failed, packets that this cost, and the first of the faults. */
  readonly handlerErrors: number;
  readonly packetsLost: number;
  readonly firstError?: string;
  readonly handler: Record<string, unknown>;
}

export interface ClusterReport {
  readonly bus: string;
  readonly packets: { readonly read: number; readonly distributed: number; readonly dropped: Record<string, number> };
  /** Packets keyed inside tunnels, and tunnel packets keyed by the header around; both empty unless tunnels are entered. */
  readonly tunnels: TunnelReport;
  readonly exactlyOnce: {
    readonly accepted: number;
    readonly nobody: Partial<Record<NobodyCause, number>>;
    readonly double: number;
  };
  readonly verdicts: Record<string, number>;
  readonly flows: { readonly seen: number; readonly type1: number; readonly type2: number };
  readonly stickinessViolations: number;
  /** Datagrams whose fragments were accepted by different servers. */
  readonly tornDatagrams: number;
  readonly servers: readonly ServerReport[];
  readonly groups: readonly {
    readonly id: string;
    readonly packets: number;
    readonly bytes: number;
    readonly frames: number;
    readonly servers: number;
    readonly view: number;
  }[];
  /** Replicas that read a packet from the log, on average: the price of multicast. */
  readonly copiesPerPacket: number;
  /** Frames that the logs stored; entries that replicas passed over without applying them. */
  readonly frames: { readonly stored: number; readonly skippedEntries: number };
  readonly seconds: number;
  readonly packetsPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  /** What does not add up or must not be; empty when all is well. */
  readonly problems: readonly string[];
}

/** Reads the cluster's counters. To be called when everything is settled. */
export function reportOn(cluster: LocalCluster, groupIds: readonly string[], seconds: number): ClusterReport {
  const { distributor } = cluster.tier1;
  const { auditor } = cluster;
  const { dropped } = distributor;
  const nobody: Partial<Record<NobodyCause, number>> = {};
  for (const cause of nobodyCauses) if (auditor.nobody[cause] > 0) nobody[cause] = auditor.nobody[cause];
  const decided: Record<string, number> = Object.fromEntries(verdicts.map((name) => [name, 0]));
  const frames = { stored: 0, skippedEntries: 0 };
  let copies = 0;
  for (const { actor } of cluster.servers) {
    frames.skippedEntries += actor.recovery.counters.skippedEntries;
    if (actor.replica === undefined) continue;
    for (const [name, count] of Object.entries(countsByName(actor.replica.counts))) {
      decided[name] += count;
      copies += count;
    }
  }
  const servers = cluster.servers.map(({ name, group, actor, egress }) => {
    // A handler may fail at this too, which counts.
    const handler = egress.report();
    const { handlerErrors, packetsLost, firstError } = egress.stats;
    return {
      id: name,
      group: groupIds[group],
      state: actor.phase,
      packets: egress.stats.packets,
      bytes: egress.stats.bytes,
      flows: egress.stats.flowsStarted,
      flowsNow: actor.ownFlows,
      ...protectionOf(actor),
      handlerErrors,
      packetsLost,
      ...(firstError === undefined ? {} : { firstError }),
      handler,
    };
  });
  const groups = groupIds.map((id, group) => {
    const sent = distributor.sentTo(group);
    frames.stored += sent.frames;
    // Not membersOf(): a report is read when the cluster has stopped, and those it still had then count.
    const ever = cluster.servers.filter((server) => server.group === group);
    const view = Math.max(0, ...ever.map(({ actor }) => actor.view.number));
    return { id, ...sent, servers: ever.filter(({ actor }) => actor.phase !== 'left').length, view };
  });
  const report = {
    bus: cluster.busKind,
    packets: { read: distributor.received, distributed: distributor.distributed, dropped },
    tunnels: distributor.tunnels,
    exactlyOnce: { accepted: auditor.accepted, nobody, double: auditor.double },
    verdicts: decided,
    flows: { seen: auditor.flows.seen, type1: auditor.flows.type1, type2: auditor.flows.type2 },
    stickinessViolations: auditor.flows.moved,
    tornDatagrams: auditor.datagrams.torn,
    servers,
    groups,
    copiesPerPacket: distributor.distributed === 0 ? 0 : round(copies / distributor.distributed, 3),
    frames,
    seconds: round(seconds, 3),
    packetsPerSecond: Math.round(distributor.distributed / Math.max(seconds, 1e-9)),
    latencyMs: { p50: round(auditor.latencyMs.percentile(0.5), 3), p99: round(auditor.latencyMs.percentile(0.99), 3) },
  };
  return { ...report, problems: [...problemsOf(report, cluster), ...auditor.flows.stories] };
}

/** One that has left may have done so before others were told whose its flows are. */
function protectionOf({ failover, phase }: DsslActor): Pick<ServerReport, 'protection'> {
  const said = phase === 'left' ? undefined : failover.protection();
  if (said === undefined) return {};
  const { flows, unprotected, promoted } = said;
  return { protection: { flows, unprotected, promoted } };
}

function problemsOf(report: Omit<ClusterReport, 'problems'>, { auditor, fallen }: LocalCluster): string[] {
  const { unsettled, disagreements, appendedUnheard } = auditor;
  const { packets, exactlyOnce, servers } = report;
  const problems: string[] = [];
  const droppedSum = sumOf(packets.dropped);
  if (packets.read !== packets.distributed + droppedSum) {
    problems.push(`read ${packets.read} is not distributed ${packets.distributed} + dropped ${droppedSum}`);
  }
  const nobodySum = sumOf(exactlyOnce.nobody);
  const outcome = exactlyOnce.accepted + nobodySum + exactlyOnce.double;
  if (packets.distributed + appendedUnheard !== outcome) {
    problems.push(
      `distributed ${packets.distributed + appendedUnheard} is not accepted ${exactlyOnce.accepted} + nobody ${nobodySum} + double ${exactlyOnce.double}`,
    );
  }
  if (unsettled > 0)
    problems.push(`${counted(unsettled, 'packet')} ${were(unsettled)} still undecided when the run ended`);
  if (exactlyOnce.double > 0)
    problems.push(
      `${counted(exactlyOnce.double, 'packet')} ${were(exactlyOnce.double)} accepted by more than one server`,
    );
  const { unexplained = 0 } = exactlyOnce.nobody;
  if (unexplained > 0)
    problems.push(`${counted(unexplained, 'packet')} ${were(unexplained)} accepted by nobody, for no known cause`);
  if (report.stickinessViolations > 0)
    problems.push(`${counted(report.stickinessViolations, 'packet')} went to another server than their flow's`);
  if (report.tornDatagrams > 0)
    problems.push(`fragments of ${counted(report.tornDatagrams, 'datagram')} were accepted by different servers`);
  if (disagreements > 0) problems.push(`replicas disagreed on the owners of ${counted(disagreements, 'packet')}`);
  for (const { server, reason } of fallen) problems.push(`server ${server} fell out of its group: ${reason}`);
  const handed = servers.reduce((sum, server) => sum + server.packets, 0);
  if (exactlyOnce.double === 0 && handed !== exactlyOnce.accepted) {
    problems.push(
      `servers were handed ${counted(handed, 'packet')}, but ${count(exactlyOnce.accepted)} ${were(exactlyOnce.accepted)} accepted`,
    );
  }
  if (packets.read > 0 && exactlyOnce.accepted + exactlyOnce.double === 0) {
    const parts = [
      ...(droppedSum > 0
        ? [`${count(droppedSum)} ${were(droppedSum)} dropped at tier 1${causesOf(packets.dropped)}`]
        : []),
      ...(nobodySum > 0 ? [`${count(nobodySum)} found no server${causesOf(exactlyOnce.nobody)}`] : []),
    ];
    problems.push(`nothing was accepted: of ${counted(packets.read, 'packet')} ${parts.join(', ')}`);
  }
  return [...problems, ...handlerProblems(servers)];
}

/** Whoever writes a handler looks for the first fault; the others mostly follow from it. */
function handlerProblems(servers: readonly ServerReport[]): string[] {
  const failed = servers.filter(({ handlerErrors }) => handlerErrors > 0);
  if (failed.length === 0) return [];
  const errors = failed.reduce((sum, { handlerErrors }) => sum + handlerErrors, 0);
  const packets = failed.reduce((sum, { packetsLost }) => sum + packetsLost, 0);
  const [{ id, firstError }] = failed;
  return [
    `handlers failed ${counted(errors, 'time')} at ${counted(failed.length, 'server')}, which cost ${counted(packets, 'packet')}; first at ${id}: ${firstError}`,
  ];
}

function were(value: number): string {
  return agreeing(value, 'was', 'were');
}

/** ` (no-group 3, malformed 1)`; nothing for none. */
function causesOf(counts: Readonly<Record<string, number | undefined>>): string {
  const causes = Object.entries(counts).map(([cause, number = 0]) => `${cause} ${count(number)}`);
  return causes.length === 0 ? '' : ` (${causes.join(', ')})`;
}

export function sumOf(counts: Record<string, number | undefined>): number {
  return Object.values(counts).reduce<number>((sum, count) => sum + (count ?? 0), 0);
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
