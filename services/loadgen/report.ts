// What a run of the traffic generator amounts to: the numbers, whether they add up, and what must not be.

import { agreeing, counted } from '../ops/numbers.ts';
import { sumOf } from '../ops/report.ts';
import { accountFor } from './accounts.ts';
import type { Drive, EarlyEnd } from './drive.ts';
import type { GapSummary } from './gaps.ts';
import type { Run } from './run.ts';
import type { Tier1State } from './tier1s.ts';

export interface TrafficServer {
  readonly id: string;
  readonly group: string;
  /** `gone`: it has fallen silent without leaving. */
  readonly state: 'there' | 'left' | 'gone';
  /** Packets and flows that it got first, and its part of its group's packets, 0 to 1. */
  readonly packets: number;
  readonly flows: number;
  readonly share: number;
  readonly flowsNow: number;
  /** Entries of the log that it has passed over. */
  readonly skippedEntries: number;
  readonly lostReceipts: number;
}

export interface TrafficReport {
  readonly run: string;
  readonly bus: string;
  readonly cluster: string;
  readonly seed: number;
  /** SYNs of a flood among the packets sent. */
  readonly floodPackets: number;
  /** sent = acceptedOnce + repeats + double + the sum of nobody + lost. */
  readonly sent: number;
  readonly acceptedOnce: number;
  /** Packets that no server got, by cause. */
  readonly nobody: Readonly<Record<string, number>>;
  /** Packets accepted by more than one server, and those that one server accepted more than once. */
  readonly double: number;
  readonly repeats: number;
  readonly lost: number;
  /** Flows of which packets were sent; those that went on at another server although theirs lived, or because it did not. */
  readonly flows: number;
  readonly movedFlows: number;
  readonly failedOver: number;
  /** How long each of those had waited for a server; null when there was none. */
  readonly gapMs: GapSummary | null;
  /** Packets that heirs of dead servers have handed out; some of them are `repeats`. */
  readonly replayed: number;
  /** Without the warm-up: its length, and packets accepted a second. */
  readonly seconds: number;
  readonly packetsPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  /** How far the run fell behind its schedule at the worst, and packets that were due and not sent. */
  readonly behind: { readonly mostMs: number; readonly packets: number };
  readonly groups: readonly {
    readonly id: string;
    readonly servers: number;
    readonly packets: number;
    readonly flows: number;
    readonly share: number;
  }[];
  readonly servers: readonly TrafficServer[];
  readonly tier1s: readonly { readonly id: string; readonly state: Tier1State; readonly packets: number }[];
  /** Messages of receipts; of those that should have come, how many did not; rows too late or without sense; garbage. */
  readonly receipts: {
    readonly messages: number;
    readonly lost: number;
    readonly late: number;
    readonly strange: number;
    readonly bad: number;
  };
  readonly interrupted: boolean;
  /** What does not add up or must not be; empty when all is well. */
  readonly problems: readonly string[];
}

export interface ReportContext {
  readonly bus: string;
  readonly cluster: string;
  readonly seed: number;
  readonly floodPackets: number;
  readonly nowMs: number;
}

const earlyEndWords: Partial<Record<EarlyEnd, string>> = {
  noTier1: 'the run ended early: no tier 1 takes packets any more',
  noReceipts: 'no server answers: start the servers with "flowherd dssl --receipts"',
  closed: 'the run ended early: the connection to the bus was closed',
};

/** To be called when the drive is over. */
export function trafficReport(run: Run, drive: Drive, { nowMs, ...context }: ReportContext): TrafficReport {
  const { ledger, servers, tier1s } = run;
  const { nobody, lost } = accountFor({ ledger, servers, tier1s, disconnected: run.wasDown, nowMs });
  const seconds = Math.max(0, drive.sentAtMs - drive.measuredFromMs) / 1_000;
  const records = servers.all.filter((record) => record !== undefined);
  const groupIds = [...new Set(records.map(({ group }) => group))].sort();
  const groups = groupIds.map((id) => {
    const members = records.filter(({ group }) => group === id);
    const packets = members.reduce((sum, { number }) => sum + ledger.packetsOf[number], 0);
    const flows = members.reduce((sum, { number }) => sum + ledger.flowsOf[number], 0);
    const all = records.reduce((sum, { number }) => sum + ledger.packetsOf[number], 0);
    return { id, servers: members.length, packets, flows, share: shareOf(packets, all) };
  });
  const packetsOfGroup = new Map(groups.map(({ id, packets }) => [id, packets]));
  const report = {
    run: run.name,
    ...context,
    sent: ledger.sent,
    acceptedOnce: ledger.acceptedOnce,
    nobody,
    double: ledger.double,
    repeats: ledger.repeats,
    lost,
    flows: ledger.flows.begun,
    movedFlows: servers.movedFlows,
    failedOver: servers.failedOver,
    gapMs: gapsOf(servers.gaps.summary()),
    replayed: run.replayed,
    seconds: round(seconds, 3),
    packetsPerSecond: seconds === 0 ? 0 : Math.round(run.measured / seconds),
    latencyMs: { p50: round(run.latencyMs.percentile(0.5), 3), p99: round(run.latencyMs.percentile(0.99), 3) },
    behind: { mostMs: Math.round(drive.mostBehindMs), packets: drive.packetsBehind },
    groups,
    servers: records
      .map((record) => ({
        id: record.id,
        group: record.group,
        state: record.hasLeft ? ('left' as const) : servers.isGone(record.number, nowMs) ? ('gone' as const) : there,
        packets: ledger.packetsOf[record.number],
        flows: ledger.flowsOf[record.number],
        share: shareOf(ledger.packetsOf[record.number], packetsOfGroup.get(record.group) ?? 0),
        flowsNow: record.flowsNow,
        skippedEntries: record.skippedEntries,
        lostReceipts: record.lostReceipts,
      }))
      .sort((a, b) => (`${a.group}/${a.id}` < `${b.group}/${b.id}` ? -1 : 1)),
    tier1s: tier1s.all
      .filter(({ sent, state }) => sent > 0 || state === 'ready')
      .map(({ name, state, sent }) => ({ id: name, state, packets: sent })),
    receipts: {
      messages: run.receiptMessages,
      lost: records.reduce((sum, { lostReceipts }) => sum + lostReceipts, 0),
      late: ledger.late,
      strange: ledger.strange,
      bad: run.badMessages + servers.ignored,
    },
    interrupted: drive.earlyEnd === 'interrupted',
  };
  return { ...report, problems: problemsOf(report, drive.earlyEnd) };
}

const there = 'there' as const;

function problemsOf(report: Omit<TrafficReport, 'problems'>, earlyEnd: EarlyEnd | undefined): string[] {
  const { sent, acceptedOnce, repeats, double, nobody, lost, movedFlows } = report;
  const problems: string[] = [];
  const nobodySum = sumOf(nobody);
  if (sent !== acceptedOnce + repeats + double + nobodySum + lost) {
    problems.push(
      `sent ${sent} is not accepted once ${acceptedOnce} + repeats ${repeats} + double ${double} + nobody ${nobodySum} + lost ${lost}`,
    );
  }
  const early = earlyEnd && earlyEndWords[earlyEnd];
  if (early !== undefined) problems.push(early);
  else if (sent > 0 && acceptedOnce + repeats + double === 0) {
    problems.push(`nothing was accepted: of ${counted(sent, 'packet')} none reached a server`);
  }
  if (double > 0)
    problems.push(`${counted(double, 'packet')} ${agreeing(double, 'was', 'were')} accepted by more than one server`);
  if (movedFlows > 0) problems.push(`${counted(movedFlows, 'flow')} went on at another server although theirs lived`);
  const { unexplained = 0 } = nobody;
  if (unexplained > 0 && earlyEnd !== 'noReceipts') {
    problems.push(
      `${counted(unexplained, 'packet')} ${agreeing(unexplained, 'was', 'were')} accepted by nobody, for no known cause`,
    );
  }
  return problems;
}

function gapsOf(gaps: GapSummary | undefined): GapSummary | null {
  return gaps === undefined ? null : { p50: round(gaps.p50, 1), p99: round(gaps.p99, 1), max: round(gaps.max, 1) };
}

function shareOf(part: number, whole: number): number {
  return whole === 0 ? 0 : round(part / whole, 4);
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
