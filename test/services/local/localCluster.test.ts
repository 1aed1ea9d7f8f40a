// A whole cluster in one process, on both logs: it starts, carries packets while servers come and go, accounts for every one, says when a
// server has fallen out, and leaves nothing behind.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { keyerFor, mapFromOptions, shortLivedCluster } from '../../../services/cli/config/settings.ts';
import { quietLog } from '../../../services/cli/process/log.ts';
import { TrafficGenerator } from '../../../services/loadgen/generator/generator.ts';
import { LocalCluster } from '../../../services/local/localCluster.ts';
import { reportOn, sumOf } from '../../../services/ops/report.ts';
import { isFlowherdError } from '../../../shared/base/errors.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { encodeCommand } from '../../../shared/log/records/command.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { until } from '../../support/until.ts';

const secret = 'test';
const map = mapFromOptions({ ...shortLivedCluster, groups: 2 }, secret);
const groupIds = map.groups.map(({ id }) => id);

function startCluster(
  busUrl: string,
  more: { readonly handler?: string; readonly map?: ClusterMap } = {},
): Promise<LocalCluster> {
  return LocalCluster.start({
    busUrl,
    map: more.map ?? map,
    keyer: keyerFor(map, secret),
    serversPerGroup: 2,
    handler: more.handler ?? 'counting',
    handlerOptions: {},
    packetTime: 'live',
    log: quietLog,
  });
}

/** Feeds so many packets more of the same traffic, as fast as the logs take them. */
function feeder({ tier1, clock }: LocalCluster): (packets: number) => Promise<void> {
  const generator = new TrafficGenerator({ seed: 1, flows: 200, mix: 'web', ratePps: 10_000, replies: true });
  const buffer = new Uint8Array(generator.maxPacketBytes);
  return async (packets) => {
    for (let sent = 0; sent < packets; sent++) {
      const length = generator.next(buffer, 0);
      tier1.distributor.packet(buffer, 0, length, 1, 0, clock.nowMs());
      if (sent % 256 !== 255) continue;
      tier1.fed();
      await tier1.ready();
    }
    tier1.fed();
  };
}

async function finish(cluster: LocalCluster) {
  await cluster.settle(5_000);
  cluster.finish();
  return reportOn(cluster, groupIds, 1);
}

/** Servers come and go under traffic. */
async function comeAndGo(busUrl: string): Promise<void> {
  const cluster = await startCluster(busUrl);
  try {
    const feed = feeder(cluster);
    await feed(10_000);
    const joined = await cluster.addServer(0);
    await feed(10_000);
    await cluster.drainServer(cluster.membersOf(1)[0], 0);
    await feed(10_000);
    const report = await finish(cluster);
    assert.deepEqual(report.problems, []);
    assert.deepEqual([report.packets.read, report.packets.distributed], [30_000, 30_000]);
    assert.deepEqual([report.exactlyOnce.double, report.stickinessViolations], [0, 0]);
    assert.equal(report.exactlyOnce.accepted + sumOf(report.exactlyOnce.nobody), 30_000);
    assert.ok(joined.egress.stats.packets > 0, 'the server that came has packets');
    assert.deepEqual(
      report.servers.map(({ state }) => state),
      ['active', 'left', 'active', 'active', 'active'],
    );
    assert.ok(report.frames.stored > 0);
    assert.deepEqual([report.frames.skippedEntries, cluster.auditor.notAppended], [0, 0]);
  } finally {
    await cluster.stop();
  }
}

describe('local cluster', { timeout: 60_000 }, () => {
  it('local cluster - every packet is accounted for while servers come and go', () => comeAndGo('embedded'));

  it('local cluster - a server that the others remove has fallen out: it is said, and its flows may go on elsewhere', async () => {
    const cluster = await startCluster('embedded');
    try {
      const feed = feeder(cluster);
      await feed(5_000);
      const [removed, other] = cluster.membersOf(0);
      const bus = await cluster.connect('test');
      const log = await bus.openLog(cluster.subjects.cluster, groupIds[0]);
      const { replica, candidate: author } = other.actor;
      const epoch = replica?.epoch?.id ?? '';
      log.append(
        'command',
        encodeCommand({ kind: 'remove', author, epoch, life: removed.actor.candidate, handled: 0 }),
      );
      await until(() => cluster.fallen.length > 0);
      await feed(5_000);
      const report = await finish(cluster);
      assert.deepEqual(report.problems, [`server ${removed.name} fell out of its group: the others removed it`]);
      assert.equal(report.exactlyOnce.accepted + sumOf(report.exactlyOnce.nobody), 10_000);
      await bus.close();
    } finally {
      await cluster.stop();
    }
  });

  it('local cluster - a start that fails says what failed first', () =>
    assert.rejects(startCluster('embedded', { handler: 'no-such-handler' }), /no-such-handler/));

  describe('over NATS', { skip: skipWithoutNatsServer() }, () => {
    let server: NatsServer;
    before(async () => {
      server = await NatsServer.start();
    });
    after(() => server.stop());

    it('local cluster - every packet is accounted for while servers come and go, over NATS', () =>
      comeAndGo(server.url));

    it('local cluster - the NATS server is killed and started again: packets wait, and each has one server', async () => {
      const { log } = map;
      const cluster = await startCluster(server.url, { map: { ...map, log: { ...log, storage: 'file' } } });
      try {
        const feed = feeder(cluster);
        await feed(5_000);
        await server.kill();
        const feeding = feed(5_000);
        await server.start();
        await feeding;
        await feed(5_000);
        const report = await finish(cluster);
        assert.deepEqual(report.problems, []);
        assert.equal(report.packets.read, 15_000);
        assert.deepEqual([report.exactlyOnce.double, report.stickinessViolations], [0, 0]);
        assert.ok(report.packets.distributed > 14_000, JSON.stringify(report.packets));
      } finally {
        await cluster.stop();
      }
    });

    it('local cluster - nothing stays behind on the NATS server', async () => {
      const cluster = await startCluster(server.url);
      const name = cluster.subjects.cluster;
      const bus = await connectNats({ url: server.url, name: 'test', createBuckets: false });
      try {
        const log = await bus.openLog(name, groupIds[0]);
        assert.ok((await log.bounds()).last > 0);
        await cluster.stop();
        await assert.rejects(log.bounds(), (error) => isFlowherdError(error, 'log-missing'));
        await assert.rejects(bus.openKeyValue(cluster.subjects.bucket), (error) =>
          isFlowherdError(error, 'store-missing'),
        );
      } finally {
        await bus.close();
      }
    });
  });
});
