// The NATS server is killed and started again under load, with the log on file (outage.ts).

import type { LogSettings } from '../../../shared/log/log.ts';
import { machineMs } from '../processes/clock.ts';
import { type BenchmarkResult, median, rounded } from '../runner.ts';
import { ProcessGroup, withNatsServer } from './nats.ts';
import { balanceOf, breakDown, describe, type Outage, packetsPerSecond } from './outage.ts';

const members = 3;
const flows = 1_000;
const rounds = 3;
const log: LogSettings = { retention: { ageMs: 10_000, bytes: 256 * 1024 * 1024 }, storage: 'file', replicas: 1 };

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNatsServer(async (server) => {
    say(`NATS restarted: ${members} servers start`);
    const options = { url: server.url, cluster: 'bench-restart', log, flows, marked: true };
    const group = await ProcessGroup.start(options, members);
    try {
      const outages: Outage[] = [];
      const serverMs: number[] = [];
      for (let round = 1; round <= rounds; round++) {
        say(`NATS restarted, round ${round} of ${rounds}`);
        outages.push(
          await breakDown(group, server, async () => {
            const startedMs = machineMs();
            await server.start();
            serverMs.push(machineMs() - startedMs);
          }),
        );
      }
      const balance = await balanceOf(group, members);
      const explain = { packetsPerSecond, rounds, ...describe(outages) };
      return [
        {
          key: 'natsRestartMs',
          value: {
            packets: median(outages.map(({ packetsAgainMs }) => packetsAgainMs)),
            appends: median(outages.map(({ appendsAgainMs }) => appendsAgainMs)),
          },
          unit: 'ms',
          explain: {
            about: 'from kill -9 of the NATS server, which is started again at once, until packets flow',
            ...explain,
            serverStartMs: serverMs.map(rounded),
          },
        },
        {
          key: 'natsRestartPackets',
          value: {
            lost: balance.lost,
            unaccounted: balance.unaccounted,
            double: balance.double,
            membersRemoved: balance.removed,
          },
          unit: { lost: 'packets', unaccounted: 'packets', double: 'packets', membersRemoved: 'members' },
          target: { unaccounted: { atMost: 0 }, double: { atMost: 0 }, membersRemoved: { atMost: 0 } },
          explain: { about: 'lost: what tier 1 counts as not taken by the log', packetsPerSecond, rounds, ...balance },
        },
      ];
    } finally {
      await group.stop();
    }
  });
}
