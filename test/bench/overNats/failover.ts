// Three NATS servers keep the log, and the one that leads it is killed under load (outage.ts). The others elect a new leader, which
// takes 4 to 9 seconds in NATS itself; meanwhile frames wait in tier 1, and nobody may be taken for dead.

import type { LogSettings } from '../../../shared/log/log.ts';
import { type NatsServer, startNatsCluster } from '../../support/natsServer.ts';
import { isReplicated, leaderOf } from '../plainNats.ts';
import { type BenchmarkResult, median } from '../runner.ts';
import { ProcessGroup, pause, within, withNats } from './nats.ts';
import { balanceOf, breakDown, describe, type Outage, packetsPerSecond } from './outage.ts';

const servers = 3;
const members = 3;
const flows = 1_000;
const rounds = 2;
const cluster = 'bench-failover';
const stream = `fh_${cluster}_g1`;
const electedWithinMs = 60_000;
const log: LogSettings = { retention: { ageMs: 30_000, bytes: 256 * 1024 * 1024 }, storage: 'file', replicas: servers };

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNats(async () => {
    say(`NATS leader killed: ${servers} NATS servers start`);
    const nats = await startNatsCluster(servers);
    const url = nats.map((server) => server.url).join(',');
    let group: ProcessGroup | undefined;
    try {
      await within(electedWithinMs, 'the NATS servers elect a leader', untilReplicated(url, undefined));
      group = await ProcessGroup.start({ url, cluster, log, flows, marked: true }, members);
      const outages: Outage[] = [];
      for (let round = 1; round <= rounds; round++) {
        say(`NATS leader killed, round ${round} of ${rounds}`);
        await within(electedWithinMs, 'all NATS servers keep the log', untilReplicated(url, stream));
        const leader = nats[Number((await leaderOf(url, stream)).slice(1))] as NatsServer;
        outages.push(await breakDown(group, leader, async () => undefined));
        await leader.start();
      }
      const balance = await balanceOf(group, members);
      const explain = { natsServers: servers, packetsPerSecond, rounds, ...describe(outages) };
      return [
        {
          key: 'natsFailoverMs',
          value: {
            packets: median(outages.map(({ packetsAgainMs }) => packetsAgainMs)),
            appends: median(outages.map(({ appendsAgainMs }) => appendsAgainMs)),
          },
          unit: 'ms',
          explain: { about: 'from kill -9 of the NATS server that leads the log until packets flow', ...explain },
        },
        {
          key: 'natsFailoverPackets',
          value: {
            lost: balance.lost,
            unaccounted: balance.unaccounted,
            double: balance.double,
            membersRemoved: balance.removed,
          },
          unit: { lost: 'packets', unaccounted: 'packets', double: 'packets', membersRemoved: 'members' },
          target: { unaccounted: { atMost: 0 }, double: { atMost: 0 }, membersRemoved: { atMost: 0 } },
          explain: { packetsPerSecond, rounds, ...balance },
        },
      ];
    } finally {
      await group?.stop();
      await Promise.all(nats.map((server) => server.stop()));
    }
  });
}

async function untilReplicated(url: string, stream: string | undefined): Promise<void> {
  while (!(await isReplicated(url, stream, servers))) await pause(200);
}
