// Small captures of packets that went wrong somewhere, replayed whole, on both logs: which packets are accepted, and how many flows
// they are.

import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type ReplayOptions, type ReplayReport, replay } from '../../../../services/cli/run/replay.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { replayEnvironment, usualReplay } from '../../../support/replaying.ts';
import { sharedCase } from '../../../support/sharedCaptures.ts';

const inner = { tunnel: 'inner' } as const;

interface Case {
  readonly file: string;
  readonly options?: Partial<ReplayOptions>;
  readonly accepted: number;
  readonly flows: number;
  readonly nobody?: Readonly<Record<string, number>>;
}

const cases: readonly Case[] = [
  { file: 'min-half-close.pcap', accepted: 4, flows: 1 },
  { file: 'min-half-close.pcap', options: { method: 'fig-6' }, accepted: 4, flows: 1 },
  { file: 'min-stray-rst.pcap', accepted: 4, flows: 1 },
  { file: 'min-stray-rst.pcap', options: { method: 'fig-6' }, accepted: 4, flows: 1 },
  { file: 'min-idle.pcap', accepted: 3, flows: 1 },
  {
    file: 'min-idle.pcap',
    options: { idle: { ...defaultIdle, 'tcp-established': 900 } },
    accepted: 2,
    flows: 1,
    nobody: { idle: 1 },
  },
  { file: 'min-vlan-overlap.pcap', accepted: 4, flows: 1 },
  // Of the one in VLAN 100 the capture has a RST and nothing else.
  {
    file: 'min-vlan-overlap.pcap',
    options: { within: ['vlan'] },
    accepted: 3,
    flows: 1,
    nobody: { midFlow: 1 },
  },
  { file: 'min-vlan-overlap.pcap', options: { within: ['vlan'], midFlow: 'adopt' }, accepted: 4, flows: 2 },
  { file: 'min-frag-vlan.pcap', accepted: 4, flows: 2 },
  { file: 'min-vxlan.pcap', options: inner, accepted: 2, flows: 1 },
  { file: 'min-erspan.pcap', options: inner, accepted: 1, flows: 1 },
  { file: 'min-pw-mac-4c.pcap', accepted: 1, flows: 1 },
  { file: 'min-pw-mac-6c.pcap', accepted: 1, flows: 1 },
  { file: 'min-pw-control-word.pcap', accepted: 1, flows: 1 },
  { file: 'min-ip6-length-0.pcap', options: { midFlow: 'adopt' }, accepted: 1, flows: 1 },
];

async function replayed(
  t: TestContext,
  file: string,
  options: Partial<ReplayOptions>,
): Promise<ReplayReport | undefined> {
  const path = sharedCase(t, file);
  return path === undefined ? undefined : replay([path], { ...usualReplay, ...options }, replayEnvironment);
}

async function check(t: TestContext, bus: string): Promise<void> {
  const checkOne = async ({ file, options = {}, accepted, flows, nobody = {} }: Case): Promise<void> => {
    const report = await replayed(t, file, { ...options, bus });
    if (report === undefined) return;
    const { exactlyOnce, problems, tornDatagrams, servers } = report;
    const found = [exactlyOnce.accepted, report.flows.seen, exactlyOnce.nobody, tornDatagrams, problems];
    assert.deepEqual(found, [accepted, flows, nobody, 0, []], `${file} with ${JSON.stringify(options)}`);
    const busy = servers.filter(({ packets }) => packets > 0).length;
    assert.ok(busy <= flows, `${file}: ${busy} servers for ${flows} flows`);
  };
  await Promise.all(cases.map(checkOne));
}

/** 24 clients use their ports again every five seconds. */
async function checkReuse(t: TestContext, bus: string): Promise<void> {
  for (const method of ['fig-7', 'fig-6'] as const) {
    const draining = { servers: 3, drainAt: { share: 0.25 }, speed: 20, method };
    const report = await replayed(t, 'port-reuse-while-draining.pcap', { ...draining, bus });
    if (report === undefined) return;
    const { exactlyOnce, problems, servers } = report;
    assert.deepEqual([exactlyOnce.accepted, exactlyOnce.nobody, problems, report.draining], [2_304, {}, [], []]);
    const [drained] = servers.filter(({ state }) => state === 'left');
    assert.ok(drained !== undefined, `by ${method} the drained server leaves`);
    assert.ok(drained.flows < report.flows.seen / 4, `by ${method} it had ${drained.flows} flows`);
  }
}

test('cases - on the embedded log', (t) => check(t, 'embedded'));
test('cases - ports that are used again do not keep a server from draining: on the embedded log', (t) =>
  checkReuse(t, 'embedded'));

describe('cases over NATS', { skip: skipWithoutNatsServer() }, () => {
  let server: NatsServer;
  before(async () => {
    server = await NatsServer.start();
  });
  after(() => server.stop());
  test('cases - on a log of NATS', (t) => check(t, server.url));
  test('cases - ports that are used again do not keep a server from draining: on a log of NATS', (t) =>
    checkReuse(t, server.url));
});
