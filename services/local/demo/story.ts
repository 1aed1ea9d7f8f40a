// What the demo has shown, told to somebody who sees this for the first time, with the numbers of this very run.

import { agreeing, count, counted } from '../../ops/numbers.ts';
import { type ClusterReport, sumOf } from '../../ops/report.ts';
import { reportInWords } from '../../ops/words.ts';
import type { DemoEvent, Drained, Joined } from './changes.ts';
import { wrap } from './screen.ts';

export interface DemoReport extends ClusterReport {
  readonly demo: {
    /** What the bus was, in words, and why. */
    readonly bus: string;
    readonly capture: { readonly file: string; readonly packets: number; readonly passes: number };
    readonly generatedPackets: number;
    readonly joined?: Joined;
    readonly drained?: Drained;
    readonly events: readonly DemoEvent[];
    /** Ended by Ctrl-C or a signal, before its time. */
    readonly interrupted: boolean;
  };
}

/** The whole report, in lines of at most `columns` characters where they are sentences. */
export function demoInWords(report: DemoReport, columns: number): string {
  const paragraphs = [whatRan(report), joinedWords(report), drainedWords(report), sumWords(report)];
  const told = paragraphs.filter((text) => text !== '').flatMap((text) => [...wrap(text, columns), '']);
  // By name, so that a group's servers stand together.
  const servers = report.servers.toSorted((one, other) => one.id.localeCompare(other.id, 'en', { numeric: true }));
  const numbers = reportInWords({ ...report, servers })
    .split('\n')
    .flatMap((line) => (line.length > columns ? wrap(line, columns) : [line]));
  return ['What you saw', '', ...told, 'The numbers', '', ...numbers, 'What to try next', '', ...next, ''].join('\n');
}

const next = [
  '  npx flowherd replay YOUR.pcap',
  '      your own capture through a cluster, with every packet accounted for',
  '  npx flowherd replay YOUR.pcap --handler ./mine.ts',
  '      with servers that do what you write; see deploy/examples',
  '  npx flowherd demo --seconds 60 --rate 20000',
  '      this again, longer and faster',
  '  npx flowherd --help',
  '      everything else',
];

function whatRan({ demo, groups, servers, seconds, copiesPerPacket }: DemoReport): string {
  const { capture, generatedPackets, interrupted } = demo;
  const started = servers.length - (demo.joined === undefined ? 0 : 1);
  return [
    `For ${counted(Number(seconds.toFixed(0)), 'second')}${interrupted ? ' (you ended it early)' : ''}, ${counted(capture.packets, 'packet')} of a recorded network and`,
    `${count(generatedPackets)} generated ones went through one tier 1, which remembers no flow, to ${groups.length} groups with ${started} servers.`,
    `Each packet went through the log of its group to every server there (${copiesPerPacket.toFixed(2)} copies, the price of having no balancer in between).`,
    'All of them read the same packets in the same order, so each one knew by itself, without asking, which of them keeps it.',
  ].join(' ');
}

function joinedWords({ demo: { joined }, stickinessViolations }: DemoReport): string {
  if (joined === undefined) return '';
  const { server, group, seconds, flowsFetched, packets, flows, active } = joined;
  if (!active)
    return `At ${seconds.toFixed(1)} s a server began to join ${group}; the demo ended before it had the flow table, without which it takes no flows.`;
  const stayed =
    stickinessViolations === 0
      ? 'all of them stayed where they were'
      : `${counted(stickinessViolations, 'packet')} strayed`;
  return [
    `At ${seconds.toFixed(1)} s ${server} joined ${group}. It fetched the ${counted(flowsFetched, 'flow')} that the others held, and ${stayed}.`,
    `Only new flows came to it: ${count(flows)} by the end, with ${counted(packets, 'packet')}.`,
  ].join(' ');
}

function drainedWords({ demo: { drained } }: DemoReport): string {
  if (drained === undefined) return '';
  const { server, group, seconds, openFlows, packetsSince, leftSeconds, openFlowsLeft, endedFlowsLeft } = drained;
  const begin = [
    `At ${seconds.toFixed(1)} s ${server} began to drain: new flows of ${group} went to the others, while its own ${counted(openFlows, 'open flow')}`,
    `stayed with it and brought it ${counted(packetsSince, 'more packet')}.`,
  ].join(' ');
  if (leftSeconds !== undefined)
    return `${begin} When the last had ended and its stragglers had had their time, it left, at ${leftSeconds.toFixed(1)} s. No connection was cut.`;
  if (openFlowsLeft > 0)
    return `${begin} ${count(openFlowsLeft)} of them ${agreeing(openFlowsLeft, 'was', 'were')} still open when the traffic ended, so it had not left yet.`;
  return `${begin} All of them had ended when the traffic did; it still kept ${counted(endedFlowsLeft, 'ended flow')} for stragglers, and would have left within seconds.`;
}

function sumWords({ packets, exactlyOnce, flows, stickinessViolations, problems }: DemoReport): string {
  if (problems.length > 0) return 'Something does not add up; see the end of the numbers.';
  const nobody = sumOf(exactlyOnce.nobody);
  const rest = nobody === 0 ? 'none by nobody' : `${count(nobody)} by nobody, each for a reason stated below`;
  const dropped = sumOf(packets.dropped);
  const before =
    dropped === 0
      ? ''
      : ` (${count(dropped)} more ${agreeing(dropped, 'was', 'were')} dropped before the log, counted below)`;
  return [
    `It all adds up: of ${counted(packets.distributed, 'packet')}${before}, ${count(exactlyOnce.accepted)} ${agreeing(exactlyOnce.accepted, 'was', 'were')} accepted by exactly one server,`,
    `${count(exactlyOnce.double)} by two, ${rest}. Of ${counted(flows.seen, 'flow')}, ${stickinessViolations === 0 ? 'none' : 'some'} changed its server.`,
  ].join(' ');
}
