// Servers die at random moments under traffic, and new ones come: the records of `flow-stats` have every packet of every flow, once.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseAvailability } from '../../../services/cli/config/availability.ts';
import { keyerFor, mapFromOptions, shortLivedCluster } from '../../../services/cli/config/settings.ts';
import { quietLog } from '../../../services/cli/process/log.ts';
import type { FlowRecord } from '../../../services/dssl/egress/handlers/flowStats.ts';
import { LocalCluster, type LocalServer } from '../../../services/local/localCluster.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { buildPacket } from '../../../shared/packet/encode/build.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';

const secret = 'test';
const map = mapFromOptions(
  { ...shortLivedCluster, groups: 1, availability: parseAvailability('active-active') },
  secret,
);
const flows = 90;
const firstPort = 20_000;

/** Connections and datagrams in turn; every packet of a flow as long as the one before. */
function packetOf(flow: number, flags: string): Uint8Array {
  const ports = { sourcePort: firstPort + flow, targetPort: 80, payload: 'x'.repeat(flow) };
  const ends = { source: '10.0.0.1', target: '192.0.2.1' };
  return buildPacket(flow % 2 === 0 ? { ...ends, tcp: { ...ports, flags } } : { ...ends, udp: ports });
}

class Run {
  readonly sent = new Map<number, number>();
  readonly cluster: LocalCluster;
  readonly #prng: Prng;

  constructor(cluster: LocalCluster, prng: Prng) {
    this.cluster = cluster;
    this.#prng = prng;
  }

  send(flow: number, flags: string): void {
    const packet = packetOf(flow, flags);
    const { tier1, clock } = this.cluster;
    tier1.distributor.packet(packet, 0, packet.length, 1, 0, clock.nowMs());
    this.sent.set(flow, (this.sent.get(flow) ?? 0) + 1);
  }

  /** Packets of some flows after packets of some others, each time when the servers have had the ones before, until the promise has settled and the log has gone on for so long. */
  async traffic(ms: number, work: Promise<unknown> = Promise.resolve()): Promise<void> {
    let isDone = false;
    void work.then(() => {
      isDone = true;
    });
    const untilMs = this.#logMs + ms;
    while (!isDone || this.#logMs < untilMs) {
      for (let flow = 0; flow < flows; flow++) if (this.#prng.below(3) === 0) this.send(flow, 'A');
      this.cluster.tier1.fed();
      await this.cluster.tier1.ready();
      await this.cluster.settle(5_000);
    }
    await work;
  }

  /** Time by the log of the group. */
  get #logMs(): number {
    return Math.max(...this.cluster.membersOf(0).map(({ actor }) => actor.replica?.timeMs ?? 0));
  }

  /** The process is gone: nothing of it is said, and nothing more is written. */
  async kill(server: LocalServer): Promise<void> {
    server.running = false;
    server.actor.stop();
    await server.bus.close();
  }
}

async function diesAndComes(busUrl: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-'));
  const out = join(folder, 'flows.jsonl');
  const prng = new Prng(1);
  const cluster = await LocalCluster.start({
    ...{ busUrl, map, keyer: keyerFor(map, secret), serversPerGroup: 3, handler: 'flow-stats' },
    ...{ handlerOptions: { out }, packetTime: 'live' as const, log: quietLog },
  });
  try {
    const run = new Run(cluster, prng);
    for (let flow = 0; flow < flows; flow++) run.send(flow, 'S');
    await run.traffic(3_500);
    for (let death = 0; death < 3; death++) {
      await run.traffic(prng.below(700));
      const members = cluster.membersOf(0);
      const victim = members[prng.below(members.length)];
      await run.kill(victim);
      const isOut = () =>
        cluster.membersOf(0).every(({ actor }) => !actor.view.members.some(({ server }) => server === victim.name));
      while (!isOut()) await run.traffic(20);
      await run.traffic(0, cluster.addServer(0));
      await run.traffic(1_500);
    }
    const [leaves] = cluster.membersOf(0);
    await run.traffic(1_000, cluster.drainServer(leaves, 500));
    await cluster.settle(5_000);
    const states = cluster.membersOf(0).map(({ actor }) => actor.failover.states?.report() ?? {});
    await cluster.stop();
    const sums = (name: string) => states.reduce((sum, state) => sum + (state[name] ?? 0), 0);
    const story = JSON.stringify(states);
    assert.deepEqual([sums('cold'), sums('stale')], [0, 0], story);
    assert.ok(sums('warm') > 10, story);
    check(readFileSync(out, 'utf8'), run.sent, story);
  } finally {
    await cluster.stop().catch(() => undefined);
    rmSync(folder, { recursive: true });
  }
}

function check(text: string, sent: ReadonlyMap<number, number>, story: string): void {
  const records = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as FlowRecord);
  const counted = new Map<number, number>();
  const known = new Set<string>();
  for (const { flow, began, packets, bytes, sourcePort = 0, isPartial } of records) {
    assert.equal(isPartial, undefined, story);
    // What a server wrote and could not say any more its heir writes once more, the same.
    const name = `${flow} ${began} ${packets}`;
    if (known.has(name)) continue;
    known.add(name);
    const port = sourcePort - firstPort;
    counted.set(port, (counted.get(port) ?? 0) + packets);
    assert.equal(bytes, packets * packetOf(port, 'A').length, story);
  }
  const sorted = (counts: ReadonlyMap<number, number>) => [...counts].sort(([a], [b]) => a - b);
  assert.deepEqual(sorted(counted), sorted(sent), story);
}

describe('flow state, local cluster', { timeout: 120_000 }, () => {
  it('flow state, local cluster - servers die at random moments: the records have every packet once', () =>
    diesAndComes('embedded'));

  describe('over NATS', { skip: skipWithoutNatsServer() }, () => {
    let server: NatsServer;
    before(async () => {
      server = await NatsServer.start();
    });
    after(() => server.stop());

    it('flow state, local cluster - servers die at random moments: the records have every packet once, over NATS', () =>
      diesAndComes(server.url));
  });
});
