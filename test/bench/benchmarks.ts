// The benchmarks there are, in the order in which they run. Without names the quick ones run.

import type { BenchmarkModule } from './runner.ts';

export interface Listed {
  readonly about: string;
  /** Runs when no names are given. */
  readonly isQuick?: boolean;
  /** About how long it takes. */
  readonly seconds: number;
  load(): Promise<BenchmarkModule>;
}

export const benchmarks: Readonly<Record<string, Listed>> = {
  lines: { about: 'lines of the second level', isQuick: true, seconds: 1, load: () => import('./local/lines.ts') },
  tier1: {
    about: 'a packet through tier 1, and what tier 1 keeps of a flow',
    isQuick: true,
    seconds: 10,
    load: () => import('./tier1.ts'),
  },
  decide: {
    about: 'a packet through a replica that knows a million flows',
    isQuick: true,
    seconds: 20,
    load: () => import('./local/decide.ts'),
  },
  log: {
    about: 'a cluster over NATS beside plain clients of NATS, log in memory and on file',
    isQuick: true,
    seconds: 60,
    load: () => import('./overNats/log.ts'),
  },
  join: {
    about: 'a server joins a group with a million flows under traffic, over NATS',
    isQuick: true,
    seconds: 20,
    load: () => import('./overNats/join.ts'),
  },
  restart: {
    about: 'the NATS server killed and started again under traffic, log on file',
    isQuick: true,
    seconds: 16,
    load: () => import('./overNats/restart.ts'),
  },
  sim: {
    about: 'simulated clusters on all cores: time, packets, seeds',
    isQuick: true,
    seconds: 30,
    load: () => import('./local/sim.ts'),
  },
  rebalance: {
    about:
      'nine servers, and a hot group that changes every minute: servers that stay, and servers that follow the load',
    seconds: 400,
    load: () => import('./overNats/rebalance.ts'),
  },
  failover: {
    about: 'three NATS servers, and the one that leads the log killed under traffic',
    seconds: 30,
    load: () => import('./overNats/failover.ts'),
  },
  kills: {
    about: 'servers of a group killed under traffic, over NATS',
    seconds: 120,
    load: () => import('./overNats/kills.ts'),
  },
  takeover: {
    about: 'servers killed under 10,000 packets/s, with backups and without; what backups cost',
    seconds: 700,
    load: () => import('./overNats/takeover/takeover.ts'),
  },
  compose: {
    about: 'nine actors, two tier 1s, three groups and the traffic generator over NATS at 20,000 packets/s',
    seconds: 40,
    load: () => import('./overNats/compose.ts'),
  },
  traffic: {
    about: 'one group end to end over NATS, as fast as it goes, and what each process spends',
    seconds: 25,
    load: () => import('./overNats/traffic.ts'),
  },
  gossip: {
    about: 'simulated: false removals, view changes at rest, time of detection, bytes of gossip',
    seconds: 60,
    load: () => import('./local/gossip.ts'),
  },
  embedded: {
    about: 'a whole cluster in one process, audited',
    seconds: 20,
    load: () => import('./local/embedded.ts'),
  },
  flowTable: {
    about: 'bytes a flow, pauses of growth, look-ups',
    seconds: 60,
    load: () => import('./local/flowTable.ts'),
  },
  generator: {
    about: 'the traffic generator alone, into the embedded bus',
    seconds: 15,
    load: () => import('./local/generator.ts'),
  },
  placement: {
    about: 'a million flows over a hundred groups of ten servers, beside one step over a thousand servers',
    seconds: 15,
    load: () => import('./local/placement.ts'),
  },
  weights: {
    about: 'simulated: how even the load is by each policy of weights',
    seconds: 30,
    load: () => import('./local/weights.ts'),
  },
};
