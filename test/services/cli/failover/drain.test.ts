// Servers leave under traffic before their flows have ended, in a cluster whose flows have backups: one at the deadline of its drain, one at once. Every
// packet gets to a server, once and in order, by the word of the generator and by what the servers wrote down.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TrafficReport } from '../../../../services/loadgen/report.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { connectNats } from '../../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../../shared/bus/subjects.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { Service } from '../../../support/processes.ts';
import { Reports } from '../../../support/reports.ts';
import { readTestimony } from '../../../support/witness.ts';

const names = ['s1', 's2', 's3', 's4'];
const witness = fileURLToPath(new URL('../../../support/witnessHandler.ts', import.meta.url));
/** Flows that outlive the test. */
const flows = ['--flows', '400', '--packets-per-flow', '2000', '--rate', '4000', '--warm-up', '0'];

describe('leaving', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-witness-'));
  let nats: NatsServer;
  let bus: Bus;
  let reports: Reports;
  let tier1: Service;
  const servers = new Map<string, Service>();
  const server = (name: string): Service => servers.get(name) as Service;
  const cluster = () => ['--bus', nats.url, '--cluster', 'leavers'];

  before(async () => {
    nats = await NatsServer.start();
    bus = await connectNats({ url: nats.url, name: 'test' });
    reports = await Reports.of(bus, subjectsOf('leavers'), 'g1');
    const common = [...cluster(), '--groups', '1', '--availability', 'active-active', '--json'];
    const handler = ['--handler', witness, '--handler-option', `dir=${folder}`];
    for (const name of names) {
      const options = ['--server', name, '--receipts', '--drain-seconds', '2'];
      servers.set(name, new Service(['dssl', ...common, ...options, ...handler]));
    }
    await Promise.all(names.map((name) => server(name).says(/server is active/)));
    tier1 = new Service(['tier1', ...common, '--name', 't1', '--input', 'bus']);
    await tier1.says(/taking packets from the bus/);
  });
  after(async () => {
    await Promise.all([...servers.values(), tier1].map((service) => service?.end('SIGKILL')));
    await bus?.close();
    await nats?.stop();
    rmSync(folder, { recursive: true });
  });

  test('leaving - at the deadline of a drain, and at once: the flows go on at their backups, and nothing is lost or comes twice', async (t) => {
    const run = new Service([
      'traffic',
      '--to',
      nats.url,
      '--cluster',
      'leavers',
      '--seconds',
      '60',
      '--json',
      ...flows,
    ]);
    for (const name of names) await run.says(new RegExp(`^receipts come from .*\\b${name}\\b`));
    assert.equal(await server('s3').end('SIGTERM'), 0);
    await server('s3').says(/left before its flows had ended/);
    // This one is told to leave while it stands still: what lies before its leave in the log is its own to hand out all the same.
    const drain = new Service(['drain', 's4', '--now', ...cluster()]);
    await server('s4').says(/server is draining/);
    server('s4').signal('SIGSTOP');
    assert.equal(await drain.ended(), 0, drain.messages.join('\n'));
    server('s4').signal('SIGCONT');
    assert.equal(await server('s4').ended(), 0, server('s4').messages.join('\n'));
    // Until then each flow has sent some packets, so those that went on elsewhere show.
    await reports.from(['s1', 's2'], 2);
    const exitCode = await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    const { got, missing, firstMissing, doubled, disordered, crossed, repeated } = readTestimony(folder, report.sent);
    t.diagnostic(`${report.sent} sent, ${got} got, ${report.failedOver} flows went on elsewhere`);
    assert.deepEqual({ missing, firstMissing, repeated, doubled, disordered, crossed }, nothing);
    assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], run.stdout);
    assert.deepEqual([report.nobody, report.lost, report.acceptedOnce], [{}, 0, report.sent], run.stdout);
    assert.ok(report.failedOver > 120, `${report.failedOver} flows`);
    assert.equal(exitCode, 0);
  });
});

const nothing = { missing: 0, firstMissing: [], repeated: 0, doubled: 0, disordered: 0, crossed: 0 };
