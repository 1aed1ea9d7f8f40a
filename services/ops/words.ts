// A report in plain words, for people at a terminal.

import { notEnteredInWords } from '../../shared/flow/tunnelCounts.ts';
import type { ReplayReport } from '../cli/run/replay.ts';
import { agreeing, count, counted } from './numbers.ts';
import { type ClusterReport, sumOf } from './report.ts';

/** What follows one packet, and several. */
const causeWords: Readonly<Record<string, readonly [one: string, several: string]>> = {
  midFlow: [
    'belonged to a connection whose start was not seen: it was earlier, or between other addresses (SCTP)',
    'belonged to connections whose start was not seen: it was earlier, or between other addresses (SCTP)',
  ],
  ended: ['belonged to a connection that had ended before', 'belonged to connections that had ended before'],
  otherTenant: [
    'belonged to a connection that a packet of another VLAN or network had ended (--within tells them apart)',
    'belonged to connections that packets of another VLAN or network had ended (--within tells them apart)',
  ],
  idle: [
    'belonged to a flow that had been silent for longer than its idle limit (--idle)',
    'belonged to flows that had been silent for longer than their idle limit (--idle)',
  ],
  forgotten: [
    'belonged to a flow that had given way in a full table, or whose server had gone',
    'belonged to flows that had given way in a full table, or whose server had gone',
  ],
  fragment: [
    'was a later fragment whose first fragment never came',
    'were later fragments whose first fragment never came',
  ],
  tableFull: ['found the flow table full', 'found the flow table full'],
  noServer: ['found no server that takes new flows', 'found no server that takes new flows'],
  skipped: [
    'was in an entry of the log that a server passed over',
    'were in entries of the log that a server passed over',
  ],
  unexplained: ['was accepted by nobody for no known cause', 'were accepted by nobody for no known cause'],
};

export function reportInWords(report: ClusterReport & Partial<ReplayReport>): string {
  const lines: string[] = [];
  for (const { file, packets, format, problem } of report.files ?? []) {
    lines.push(
      `${file}: ${counted(packets, 'packet')}, ${format}${problem === undefined ? '' : `; stopped early: ${problem}`}`,
    );
  }
  lines.push(...(report.notes ?? []));
  const { packets, tunnels, exactlyOnce, flows } = report;
  lines.push(
    '',
    `${counted(packets.read, 'packet')} read, ${count(packets.distributed)} distributed to ${counted(report.groups.length, 'group')} with ${counted(report.servers.length, 'server')} (bus: ${report.bus}).`,
  );
  for (const [cause, number] of Object.entries(packets.dropped))
    lines.push(`  ${count(number)} dropped at tier 1: ${cause}`);
  const entered = Object.entries(tunnels.entered).map(([kind, number]) => `${kind} ${count(number)}`);
  if (entered.length > 0) lines.push(`  keyed inside tunnels: ${entered.join(', ')}`);
  for (const words of notEnteredInWords(tunnels)) lines.push(`  tunnels not entered: ${words}`);
  lines.push(
    `${count(exactlyOnce.accepted)} ${agreeing(exactlyOnce.accepted, 'was', 'were')} accepted by exactly one server, ${count(exactlyOnce.double)} by more than one.`,
  );
  for (const [cause, number = 0] of Object.entries(exactlyOnce.nobody)) {
    const [one, several] = causeWords[cause];
    lines.push(`  ${count(number)} ${agreeing(number, one, several)}`);
  }
  if ((exactlyOnce.nobody.midFlow ?? 0) > packets.distributed / 10)
    lines.push('  (captures often begin in the middle of connections: --mid-flow adopt gives those a server too)');
  lines.push(
    `${counted(flows.seen, 'flow')} (${count(flows.type1)} with a visible start, ${count(flows.type2)} without); ${counted(report.stickinessViolations, 'packet')} strayed from their flow's server.`,
    `${report.seconds} s, ${count(report.packetsPerSecond)} packets/s, ${report.copiesPerPacket} copies a packet, latency p50 ${report.latencyMs.p50} ms, p99 ${report.latencyMs.p99} ms.`,
    '',
    ...table(
      ['server', 'group', 'state', 'packets', 'bytes', 'flows'],
      report.servers.map((each) => [
        each.id,
        each.group,
        each.state,
        count(each.packets),
        count(each.bytes),
        count(each.flows),
      ]),
    ),
  );
  lines.push(...protectionInWords(report));
  for (const { server, flowsLeft } of report.draining ?? []) {
    lines.push('', `${server} is still draining: ${counted(flowsLeft, 'flow')} had not ended when the traffic did.`);
  }
  lines.push('', verdictOf(report));
  return `${lines.join('\n').trimStart()}\n`;
}

/** Where flows have backups: how many of those that had not ended at the end were without one. */
function protectionInWords({ servers }: ClusterReport): string[] {
  const said = servers.flatMap(({ protection }) => protection ?? []);
  if (said.length === 0) return [];
  const sum = (name: 'flows' | 'unprotected') => said.reduce((total, each) => total + each[name], 0);
  return ['', `${counted(sum('flows'), 'flow')} had not ended, ${count(sum('unprotected'))} of them without a backup.`];
}

function verdictOf(report: ClusterReport): string {
  if (report.problems.length > 0)
    return ['This run failed:', ...report.problems.map((problem) => `  ${problem}`)].join('\n');
  if (report.packets.read === 0) return 'Nothing was read.';
  const nobody = sumOf(report.exactlyOnce.nobody);
  return nobody === 0
    ? 'It adds up: every distributed packet was accepted by exactly one server.'
    : 'It adds up: every distributed packet was accepted by exactly one server or by none for a stated cause.';
}

/** Columns, the first three to the left and the rest to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => (column < 3 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd(),
  );
}
