// A server is killed under traffic in a cluster whose flows have backups: what it had not handled is replayed by its heirs, and the generator gets a
// receipt for every packet.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TrafficReport } from '../../../../services/loadgen/report.ts';
import type { GroupStatus, StatusReport } from '../../../../services/ops/statusBoard.ts';
import type { ProtectionReport } from '../../../../shared/membership/protection.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { Service } from '../../../support/processes.ts';

const names = ['s1', 's2', 's3'];

describe('replay', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: NatsServer;
  let tier1: Service;
  const servers = new Map<string, Service>();

  const common = () => ['--bus', nats.url, '--cluster', 'heirs', '--groups', '1', '--availability', 'active-active'];
  const server = (name: string): Service => servers.get(name) as Service;

  before(async () => {
    nats = await NatsServer.start();
    for (const name of names) {
      servers.set(
        name,
        new Service(['dssl', ...common(), '--server', name, '--receipts', '--drain-seconds', '1', '--json']),
      );
    }
    await Promise.all(names.map((name) => server(name).says(/server is active/)));
    tier1 = new Service(['tier1', ...common(), '--name', 't1', '--input', 'bus', '--json']);
    await tier1.says(/taking packets from the bus/);
  });
  after(async () => {
    await Promise.all([...servers.values(), tier1].map((service) => service?.end('SIGKILL')));
    await nats?.stop();
  });

  /** The group, once its members have said what it waits for. */
  const statusWhen = async (holds: (said: ProtectionReport) => boolean): Promise<GroupStatus> => {
    for (;;) {
      const status = new Service(['status', '--bus', nats.url, '--cluster', 'heirs', '--json']);
      assert.equal(await status.ended(), 0, status.messages.join('\n'));
      const [group] = (JSON.parse(status.stdout) as StatusReport).groups;
      if (group.protection !== null && holds(group.protection)) return group;
    }
  };

  test('replay - one of three servers is killed: every packet is accepted, and what came twice is counted', async (t) => {
    const flows = ['--flows', '300', '--packets-per-flow', '20-60', '--rate', '3000', '--warm-up', '0'];
    const to = ['traffic', '--to', nats.url, '--cluster', 'heirs', '--seconds', '60', '--json'];
    const run = new Service([...to, ...flows]);
    for (const name of names) await run.says(new RegExp(`^receipts come from .*\\b${name}\\b`));
    await server('s3').end('SIGKILL');
    const heirs = await Promise.all(
      ['s1', 's2'].map((name) => server(name).says(/^replayed \d+ packets of server s3$/)),
    );
    const status = await statusWhen(({ promoted, replayed }) => promoted > 0 && replayed > 0);
    assert.equal(status.availability, 'active-active');
    const { flows: open = 0, unprotected = 0 } = status.protection ?? {};
    assert.ok(open > 50 && unprotected < open, `${unprotected} of ${open} flows have no backup`);
    const exitCode = await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], run.stdout);
    assert.deepEqual([report.nobody, report.lost], [{}, 0], run.stdout);
    assert.equal(report.sent, report.acceptedOnce + report.repeats, run.stdout);
    assert.equal(exitCode, 0);
    const replayed = heirs.reduce((sum, line) => sum + Number(/\d+/.exec(line)?.[0]), 0);
    t.diagnostic(`${report.sent} sent, ${replayed} replayed, ${report.repeats} of them twice`);
    assert.ok(replayed > 0 && report.repeats <= replayed, `${replayed} replayed: ${run.stdout}`);
    for (const name of ['s1', 's2']) {
      assert.equal(await server(name).end(), 0);
      const { failover } = JSON.parse(server(name).stdout) as { readonly failover: Record<string, number> };
      assert.deepEqual([failover.replays, failover.unreplayed, failover.partialReplays], [1, 0, 0]);
      assert.ok(failover.promoted > 0 && failover.openFlows >= failover.unprotectedFlows, server(name).stdout);
    }
  });
});
