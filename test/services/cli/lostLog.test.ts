// Logs that are lost: kept in memory by a NATS server that was killed, or removed by somebody. Members make them anew and go on with the
// state that they hold, so flows stay where they are.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TrafficReport } from '../../../services/loadgen/report.ts';
import type { StatusReport } from '../../../services/ops/statusBoard.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';

const names = ['s1', 's2', 's3'];

describe('lost logs', { skip: skipWithoutNatsServer(), timeout: 180_000 }, () => {
  let nats: NatsServer;
  before(async () => {
    nats = await NatsServer.start();
  });
  after(() => nats.stop());

  /** Flows that all servers of a cluster hold, as they say. */
  async function flowsIn(common: readonly string[]): Promise<number> {
    const status = new Service(['status', ...common, '--json']);
    assert.equal(await status.ended(), 0, status.messages.join('\n'));
    const { groups } = JSON.parse(status.stdout) as StatusReport;
    return groups.flatMap(({ servers }) => servers).reduce((sum, { flows }) => sum + (flows ?? 0), 0);
  }

  /** Loses the log of a cluster under traffic: no flow moves, and whoever was a member stays one. */
  async function survives(cluster: string, storage: 'file' | 'memory', lose: () => Promise<void>): Promise<void> {
    const common = ['--bus', nats.url, '--cluster', cluster];
    const init = new Service(['init', ...common, '--groups', '1', '--log-storage', storage]);
    assert.equal(await init.ended(), 0, init.messages.join('\n'));
    const serve = (name: string) => [
      'dssl',
      ...common,
      '--server',
      name,
      '--receipts',
      '--drain-seconds',
      '0',
      '--json',
    ];
    const servers = names.map((name) => new Service(serve(name)));
    await Promise.all(servers.map((server) => server.says(/server is active/)));
    const tier1 = new Service(['tier1', ...common, '--input', 'bus']);
    await tier1.says(/taking packets/);
    const flows = ['--flows', '300', '--packets-per-flow', '0', '--rate', '1000', '--warm-up', '0', '--seconds', '20'];
    const run = new Service(['traffic', '--to', nats.url, '--cluster', cluster, ...flows, '--json']);
    while ((await flowsIn(common)) < 300);
    await lose();
    await Promise.any(servers.map((server) => server.says(/goes on with the state of this replica/)));
    assert.equal(await flowsIn(common), 300);
    await run.ended();
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual([report.double, report.movedFlows, report.failedOver], [0, 0, 0], run.stdout);
    // What came into the new log before the members went on is lost, and the rest of every flow is where it was.
    assert.equal(report.nobody.midFlow, undefined, run.stdout);
    assert.ok(report.acceptedOnce > report.sent / 2, run.stdout);
    assert.deepEqual(await Promise.all(servers.map((server) => server.end())), [0, 0, 0]);
    assert.equal(await tier1.end(), 0);
    for (const { stdout } of servers) assert.equal(JSON.parse(stdout).lives, 1, stdout);
  }

  test('lost logs - kept in memory by a server that is killed: made anew, and flows stay', async () => {
    await survives('memory', 'memory', async () => {
      await nats.kill();
      await nats.start();
    });
  });

  test('lost logs - removed by somebody: made anew, and flows stay', async () => {
    const bus = await connectNats({ url: nats.url, name: 'somebody' });
    await survives('removed', 'file', async () => (await bus.openLog('removed', 'g1')).destroy());
    await bus.close();
  });
});
