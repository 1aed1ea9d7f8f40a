// A run's report in plain words, for people at a terminal, and the line that shows how it goes.

import { agreeing, count, counted } from '../ops/numbers.ts';
import { table } from '../ops/words.ts';
import type { TrafficReport } from './report.ts';

const causeWords: Readonly<Record<string, string>> = {
  midFlow: 'in the middle of a flow whose start no server got',
  expired: 'in a flow that had been silent for so long that its server may forget it',
  evicted: 'in a flow that its server forgot for want of room',
  serverGone: 'for a server that has fallen silent without leaving',
  serverLeft: 'in a flow that was open when its server left',
  skipped: 'in entries of the log that a server passed over: they were trimmed, or lay before a state that it fetched',
  absent: 'in a flow of a slice that its server was fetching',
  tableFull: 'no room in the flow table',
  noServer: 'no server in the group takes new flows',
  noGroup: 'no group serves flows of this type',
  fragment: 'a later fragment whose first one never came',
  logDown: 'dropped at tier 1: the log of the group did not take them in time',
  logFull: 'dropped at tier 1: too many packets waited for the log of the group',
  overload: 'dropped at tier 1, which got more than the logs took',
  unexplained: 'for no known cause',
};

export function trafficInWords(report: TrafficReport): string {
  const { sent, acceptedOnce, repeats, double, nobody, lost, flows, movedFlows, failedOver, behind } = report;
  const lines: string[] = [];
  lines.push(
    `${counted(sent, 'packet')} of ${counted(flows, 'flow')}, sent through ${tier1Words(report)} (${report.bus}).`,
    '',
  );
  const outcomes: [number, string][] = [
    [acceptedOnce, 'accepted by exactly one server'],
    [double, 'accepted by more than one server'],
    ...(repeats > 0
      ? [[repeats, 'accepted again: by the same server, or by the heir of one that died'] as [number, string]]
      : []),
    ...Object.entries(nobody).map(([cause, packets]): [number, string] => [
      packets,
      `by nobody: ${causeWords[cause] ?? `dropped at tier 1, ${cause}`}`,
    ]),
    ...(lost > 0 ? [[lost, 'lost on the way, or the receipts for them were'] as [number, string]] : []),
  ];
  const width = Math.max(...outcomes.map(([packets]) => count(packets).length));
  for (const [packets, words] of outcomes) lines.push(`${count(packets).padStart(width)} ${words}`);
  lines.push('', `${counted(movedFlows, 'flow')} moved to another server.`);
  if (failedOver > 0)
    lines.push(`${counted(failedOver, 'flow')} went on at another server when theirs had left or died.`);
  if (report.gapMs !== null) {
    const { p50, p99, max } = report.gapMs;
    lines.push(`They waited for it p50 ${count(p50)} ms, p99 ${count(p99)} ms, at most ${count(max)} ms.`);
  }
  if (report.replayed > 0)
    lines.push(`${counted(report.replayed, 'packet')} that dead servers had not handled were replayed.`);
  lines.push(
    `${count(report.packetsPerSecond)} packets/s in ${report.seconds} s, latency p50 ${report.latencyMs.p50} ms, p99 ${report.latencyMs.p99} ms.`,
  );
  if (behind.packets > 0 || behind.mostMs >= slowMs) {
    const unsent =
      behind.packets > 0
        ? `; ${counted(behind.packets, 'packet')} that ${agreeing(behind.packets, 'was', 'were')} due ${agreeing(behind.packets, 'was', 'were')} not sent`
        : '';
    lines.push(`The run fell behind its schedule, by ${count(behind.mostMs)} ms at the worst${unsent}.`);
  }
  if (report.groups.length > 1) {
    const rows = report.groups.map(({ id, servers, packets, flows: held, share }) => [
      id,
      count(servers),
      '',
      count(packets),
      count(held),
      percent(share),
    ]);
    lines.push('', ...table(['group', 'servers', '', 'packets', 'flows', 'share of all'], rows));
  }
  if (report.servers.length > 0) {
    const rows = report.servers.map(({ id, group, state, packets, flows: held, share }) => [
      id,
      group,
      state,
      count(packets),
      count(held),
      percent(share),
    ]);
    lines.push('', ...table(['server', 'group', 'state', 'packets', 'flows', 'share of group'], rows));
  }
  lines.push('', verdictOf(report));
  return `${lines.join('\n')}\n`;
}

/** A lag that is worth a word; below it, timers and the clock are at work. */
const slowMs = 250;

function tier1Words({ tier1s }: TrafficReport): string {
  const used = tier1s.filter(({ packets }) => packets > 0);
  if (used.length === 0) return 'no tier 1';
  if (used.length > 3) return `${used.length} tier 1s`;
  return used
    .map(({ id, state }) => `${id}${state === 'silent' ? ' (fell silent)' : state === 'ended' ? ' (ended)' : ''}`)
    .join(', ');
}

function verdictOf({ problems, acceptedOnce, sent, interrupted }: TrafficReport): string {
  if (problems.length > 0) return ['It does not add up:', ...problems.map((problem) => `  ${problem}`)].join('\n');
  if (sent === 0) return 'Nothing was sent.';
  const early = interrupted ? ' The run was interrupted; this is what was sent until then.' : '';
  return acceptedOnce === sent
    ? `It adds up: every packet was accepted by exactly one server, and no flow moved.${early}`
    : `It adds up: every packet was accepted by exactly one server or is accounted for, and no flow moved.${early}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export interface Progress {
  readonly elapsedMs: number;
  readonly wholeMs: number;
  readonly sent: number;
  readonly underWay: number;
  readonly packetsPerSecond: number;
  readonly double: number;
  readonly moved: number;
  /** What it is waiting for; empty when it goes on. */
  readonly waiting: string;
}

/** One line of at most `columns` characters. */
export function progressLine(progress: Progress, columns: number): string {
  const { elapsedMs, wholeMs, sent, underWay, packetsPerSecond, double, moved, waiting } = progress;
  if (waiting !== '') return waiting.slice(0, columns);
  const part = Math.min(1, elapsedMs / Math.max(1, wholeMs));
  const width = columns >= 100 ? 30 : columns >= 60 ? 12 : 6;
  const full = Math.round(width * part);
  const parts = [
    `[${'#'.repeat(full)}${'-'.repeat(width - full)}] ${(Math.min(elapsedMs, wholeMs) / 1_000).toFixed(1)} of ${wholeMs / 1_000} s`,
    `${count(sent)} sent`,
    `double ${count(double)}`,
    `moved ${count(moved)}`,
    `${count(packetsPerSecond)}/s`,
    `${count(underWay)} under way`,
  ];
  // What does not fit is left out, from the end.
  let line = parts[0];
  for (const one of parts.slice(1)) {
    if (line.length + 2 + one.length > columns) break;
    line += `  ${one}`;
  }
  return line.slice(0, columns);
}
