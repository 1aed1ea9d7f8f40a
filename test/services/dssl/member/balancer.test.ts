// Who speaks for its group, who listens, and who gives a server away: balancers of three groups, on a subject that brings each summary to those that listen.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Balancer } from '../../../../services/dssl/member/balancer.ts';
import { defaultSettings } from '../../../../shared/config/settings.ts';
import type { StateMessage } from '../../../../shared/membership/gossip.ts';
import type { Load } from '../../../../shared/membership/load.ts';
import { defaultRules, type View } from '../../../../shared/membership/view.ts';

const idle: Load = {
  ...{ flows: 10, newFlows: 0, packets: 0, bytes: 0, loopDelayMs: 0, cpu: 0.1, memoryBytes: 1, tableFill: 0 },
  ...{ temperature: undefined, handler: undefined, latencyMs: undefined, loss: undefined },
};

const viewOf = (group: string, servers: readonly string[]): View => ({
  ...{ group, number: 4, placement: 'rendezvous', seed: 1, rules: defaultRules },
  members: servers.map((server, number) => ({
    ...{ server, incarnation: 1, number, state: 'active', weight: 100, base: 100, flows: 0 },
  })),
});

/** Groups of servers with balancers; `load` is the cpu of each server of a group. */
function clusterOf(mode: 'off' | 'advise' | 'auto', groups: Record<string, { servers: string[]; cpu: number }>) {
  const settings = { ...defaultSettings.rebalance, mode, forMs: 3_000, everyMs: 60_000 };
  const did: string[] = [];
  const listening = new Set<Balancer>();
  let nowMs = 1_000;
  let summaries = 0;
  const balancers = Object.entries(groups).flatMap(([group, { servers }]) =>
    servers.map((server) => {
      const balancer: Balancer = new Balancer({ server, incarnation: 1 }, settings, {
        summary: (message) => {
          summaries++;
          for (const other of listening) other.onSummary(message, nowMs);
        },
        listen: (isOn) => (isOn ? listening.add(balancer) : listening.delete(balancer)),
        move: (life, to) => void did.push(`${server} moves ${life.server} to ${to}`),
        tell: (_, __, message) => void did.push(`${server}: ${message}`),
      });
      return { group, server, balancer };
    }),
  );
  const pass = (ms: number, first = 0) => {
    for (const untilMs = nowMs + ms; nowMs < untilMs; nowMs += 100) {
      for (const { group, server, balancer } of balancers) {
        const { servers, cpu } = groups[group];
        for (const each of servers) balancer.onState(stateOf(each, { ...idle, cpu }));
        balancer.tick(viewOf(group, servers), () => server === servers[first], nowMs);
      }
    }
  };
  return { did, listening, pass, balancers, summaries: () => summaries };
}

const stateOf = (server: string, load: Load): StateMessage => ({
  ...{ kind: 'state', server, incarnation: 1, beat: 1, state: 'active', view: 4, load, digests: [], line: undefined },
});

const lopsided = () => ({
  g1: { servers: ['a1', 'a2', 'a3'], cpu: 0.1 },
  g2: { servers: ['b1', 'b2'], cpu: 0.9 },
  g3: { servers: ['c1', 'c2', 'c3'], cpu: 0.3 },
});

test('balancer - the first member of the group that can spare a server sends it to the busy one, when that has been so for a while', () => {
  const { did, listening, pass, summaries } = clusterOf('auto', lopsided());
  pass(2_500);
  assert.deepEqual([did, listening.size], [[], 3]);
  pass(2_500);
  assert.deepEqual(did, ['a1: rebalancing: moves a server to another group', 'a1 moves a1 to g2']);
  assert.equal(summaries(), 15, 'one a group and second');
  pass(20_000);
  assert.equal(did.length, 2, 'and then it waits');
});

test('balancer - who is to advise only says so, and who is to do nothing hears nothing', () => {
  const advised = clusterOf('advise', lopsided());
  advised.pass(10_000);
  assert.deepEqual(advised.did, ['a1: rebalancing: a server should move to another group']);
  const off = clusterOf('off', lopsided());
  off.pass(10_000);
  assert.deepEqual([off.did, off.listening.size, off.summaries()], [[], 0, 30]);
});

test('balancer - another member that speaks for the group begins anew, and the former one hears nothing any more', () => {
  const { did, listening, pass, balancers } = clusterOf('auto', lopsided());
  pass(2_500);
  pass(2_500, 1);
  assert.deepEqual(did, []);
  const listeners = balancers.filter(({ balancer }) => listening.has(balancer)).map(({ server }) => server);
  assert.deepEqual(listeners, ['a2', 'b2', 'c2']);
  pass(2_000, 1);
  assert.deepEqual(did.at(-1), 'a2 moves a1 to g2');
});

test('balancer - bytes that are no summary are counted', () => {
  const { balancers } = clusterOf('auto', lopsided());
  balancers[0].balancer.onSummary(Buffer.from('nothing'), 1_000);
  assert.equal(balancers[0].balancer.counters.bad, 1);
});
