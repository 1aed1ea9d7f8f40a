// The benchmarks there are, in the order in which they run.

import type { BenchmarkModule } from './runner.ts';

export interface Listed {
  readonly about: string;
  load(): Promise<BenchmarkModule>;
}

export const benchmarks: Readonly<Record<string, Listed>> = {
  tier1: { about: 'a packet through tier 1, and what tier 1 keeps of a flow', load: () => import('./tier1.ts') },
  decide: { about: 'a packet through a DSSL actor that knows a million flows', load: () => import('./decide.ts') },
  flowTable: { about: 'bytes a flow, pauses of growth, look-ups', load: () => import('./flowTable.ts') },
  embedded: { about: 'a whole cluster in one process', load: () => import('./embedded.ts') },
  generator: { about: 'the traffic generator alone, into the embedded bus', load: () => import('./generator.ts') },
  weights: { about: 'how even the load is by each policy of weights; simulated', load: () => import('./weights.ts') },
  sim: { about: 'simulated clusters on all cores: time, packets, seeds', load: () => import('./sim.ts') },
  bus: { about: 'a cluster over NATS beside plain NATS; needs a nats-server', load: () => import('./bus.ts') },
  traffic: {
    about: 'a cluster of processes over NATS, end to end; needs a nats-server',
    load: () => import('./traffic.ts'),
  },
  membership: {
    about: 'servers that die, join and pause; processes over NATS need a nats-server',
    load: () => import('./membership.ts'),
  },
};
