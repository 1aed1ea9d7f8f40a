// What holds a group together, and what it costs: how soon a dead server is out and how many packets that takes
// (membershipKills.ts), how soon a new one is in (membershipJoin.ts), and in virtual time, where figures are exact, whom the
// group takes for dead, how soon, and for how many bytes (membershipSim.ts).

import { execFileSync } from 'node:child_process';
import { findNatsServer, NatsServer } from '../support/natsServer.ts';
import * as join from './membershipJoin.ts';
import * as kills from './membershipKills.ts';
import * as sim from './membershipSim.ts';
import type { BenchmarkResult, Figure } from './runner.ts';

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  const binary = findNatsServer();
  if (binary === undefined) {
    const { figures } = await join.run(say, undefined);
    const how = 'run .ci/install-nats-server, or name one in FLOWHERD_NATS_SERVER';
    const skipped = `killed servers, and joining over NATS, because there is no nats-server: ${how}`;
    return { figures: [...figures, ...sim.run(say).figures], skipped };
  }
  const natsServer = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
  const figures: Figure[] = [];
  const nats = await NatsServer.start();
  try {
    figures.push(...(await kills.run(say, nats)).figures.map((figure) => withServer(figure, natsServer)));
    figures.push(...(await join.run(say, nats)).figures.map((figure) => withServer(figure, natsServer)));
  } finally {
    await nats.stop();
  }
  return { figures: [...figures, ...sim.run(say).figures] };
}

function withServer(figure: Figure, natsServer: string): Figure {
  return { ...figure, explain: { natsServer, ...figure.explain } };
}
