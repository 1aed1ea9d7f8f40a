// Servers as processes with `flow-stats`, of which some are killed at random moments under generated traffic, at a real NATS server: their files together
// have every packet that was sent.

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { FlowRecord } from '../../../../services/dssl/egress/handlers/flowStats.ts';
import type { TrafficReport } from '../../../../services/loadgen/report.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { connectNats } from '../../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../../shared/bus/subjects.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { Service } from '../../../support/processes.ts';
import { Reports } from '../../../support/reports.ts';
import { ViewWatch } from '../../../support/viewWatch.ts';

const cluster = 'states';
/** In so many reports slices are looked through, and flows without packets get another server, or another backup with their state. */
const settled = 6;
const protects = ['--groups', '1', '--availability', 'active-active'];

describe('flow state, processes', { skip: skipWithoutNatsServer(), timeout: 180_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-'));
  const servers = new Map<string, Service>();
  let nats: NatsServer;
  let bus: Bus;
  let views: ViewWatch;
  let reports: Reports;
  let tier1: Service;

  const common = () => ['--bus', nats.url, '--cluster', cluster, ...protects];
  const start = async (name: string): Promise<void> => {
    const handler = ['--handler', 'flow-stats', '--handler-option', `out=${join(folder, `${name}.jsonl`)}`];
    const own = ['--server', name, '--receipts', '--drain-seconds', '1', '--json'];
    const service = new Service(['dssl', ...common(), ...handler, ...own]);
    servers.set(name, service);
    await service.says(/server is active/);
  };
  const end = async (name: string, signal: NodeJS.Signals): Promise<string> => {
    const service = servers.get(name);
    servers.delete(name);
    await service?.end(signal);
    return service?.stdout ?? '';
  };

  const settle = () => reports.from(servers.keys(), settled);

  before(async () => {
    nats = await NatsServer.start();
    bus = await connectNats({ url: nats.url, name: 'test' });
    views = await ViewWatch.of(bus, subjectsOf(cluster), 'g1');
    reports = await Reports.of(bus, subjectsOf(cluster), 'g1');
    await Promise.all(['s1', 's2', 's3'].map(start));
    tier1 = new Service(['tier1', ...common(), '--name', 't1', '--input', 'bus', '--json']);
    await tier1.says(/taking packets from the bus/);
  });
  after(async () => {
    await Promise.all([...servers.values(), tier1].map((service) => service?.end('SIGKILL')));
    views?.stop();
    await bus?.close();
    await nats?.stop();
    rmSync(folder, { recursive: true });
  });

  test('flow state, processes - servers are killed at random moments: the records have every packet once', async () => {
    const flows = ['--flows', '200', '--packets-per-flow', '5-60', '--rate', '2000', '--warm-up', '0'];
    const run = new Service([
      'traffic',
      '--to',
      nats.url,
      '--cluster',
      cluster,
      ...flows,
      '--seconds',
      '120',
      '--json',
    ]);
    for (const name of servers.keys()) await run.says(new RegExp(`^receipts come from .*\\b${name}\\b`));
    for (const [killed, next] of [
      ['s1', 's4'],
      ['s2', 's5'],
    ]) {
      await settle();
      const isOut = views.when(({ members }) => !members.some(({ server }) => server === killed), 'out', 30_000);
      await end(killed, 'SIGKILL');
      await isOut;
      await start(next);
    }
    await settle();
    assert.equal(await run.end('SIGINT'), 0, run.stdout);
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual([report.problems, report.double, report.nobody], [[], 0, {}], run.stdout);
    const told: string[] = [];
    for (const name of [...servers.keys()]) {
      told.push(await end(name, 'SIGTERM'));
      await settle();
    }
    const states = told.map((text) => (JSON.parse(text) as { failover: Record<string, number> }).failover);
    const { acceptedOnce, repeats, sent } = report;
    const story = JSON.stringify({ states, acceptedOnce, repeats, sent });
    assert.deepEqual(
      states.map(({ cold, stale }) => [cold, stale]),
      states.map(() => [0, 0]),
      story,
    );
    assert.ok(states.reduce((sum, { warm }) => sum + warm, 0) > 20, story);
    const { packets, partial, doubles } = sumOf(folder);
    assert.deepEqual([packets, partial], [acceptedOnce + repeats, 0], `${story}, written twice: ${doubles}`);
  });
});

/** Records that are there twice count once: their server wrote them, and was killed before it had said so. */
function sumOf(folder: string): { readonly packets: number; readonly partial: number; readonly doubles: number } {
  const records = readdirSync(folder).flatMap((file) =>
    readFileSync(join(folder, file), 'utf8')
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .map((line) => JSON.parse(line) as FlowRecord),
  );
  const known = new Map<string, number>();
  let doubles = 0;
  let partial = 0;
  for (const { flow, began, packets, isPartial } of records) {
    const name = `${flow} ${began}`;
    if (isPartial === true) partial++;
    if (known.has(name)) {
      doubles++;
      assert.equal(known.get(name), packets, name);
    }
    known.set(name, packets);
  }
  return { packets: [...known.values()].reduce((sum, each) => sum + each, 0), partial, doubles };
}
