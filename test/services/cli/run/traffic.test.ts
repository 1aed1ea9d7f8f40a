// `flowherd traffic`: against a cluster of processes on a real NATS server, with servers that come and go, a tier 1 that is
// killed, and somebody who lies; and the cluster inside its own process.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TrafficReport } from '../../../../services/loadgen/report.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { connectNats } from '../../../../shared/bus/nats/nats.ts';
import { parseSubject, subjectsOf } from '../../../../shared/bus/subjects.ts';
import { Receipt, ReceiptRows } from '../../../../shared/messages/receipt.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { Service } from '../../../support/processes.ts';

const subjects = subjectsOf('traffic');

function sumOf({ acceptedOnce, repeats, double, nobody, lost }: TrafficReport): number {
  return acceptedOnce + repeats + double + lost + Object.values(nobody).reduce((sum, each) => sum + each, 0);
}

describe('traffic', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: NatsServer;
  let bus: Bus;
  let servers: Service[];
  let tier1s: Service[];

  const common = () => ['--bus', nats.url, '--cluster', 'traffic', '--groups', '1'];

  async function startServer(name: string): Promise<Service> {
    const service = new Service(['dssl', ...common(), '--server', name, '--receipts', '--drain-seconds', '1']);
    await service.says(/server is active/);
    return service;
  }

  async function startTier1(name: string): Promise<Service> {
    const service = new Service(['tier1', ...common(), '--name', name, '--input', 'bus', '--json']);
    await service.says(/taking packets from the bus/);
    return service;
  }

  /** Short flows, so that those of a draining server end in time. */
  function startTraffic(...args: string[]): Service {
    const flows = ['--flows', '100', '--packets-per-flow', '2-8', '--rate', '4000', '--warm-up', '0'];
    return new Service(['traffic', '--to', nats.url, '--cluster', 'traffic', ...flows, '--json', ...args]);
  }

  /** The first receipt with rows of the next run. */
  function firstReceipt(): Promise<{ readonly run: string; readonly receipt: Receipt }> {
    const receipt = new Receipt();
    return new Promise((resolve) => {
      const subscription = bus.subscribe(subjects.every('receipt'), (message, subject) => {
        if (!receipt.decode(Uint8Array.from(message)) || receipt.count === 0) return;
        subscription.unsubscribe();
        resolve({ run: parseSubject(subject)?.name ?? '', receipt });
      });
    });
  }

  before(async () => {
    nats = await NatsServer.start();
    bus = await connectNats({ url: nats.url, name: 'test' });
    servers = await Promise.all(['s1', 's2', 's3', 's4'].map(startServer));
    tier1s = await Promise.all(['t1', 't2'].map(startTier1));
  });
  after(async () => {
    await Promise.all([...servers, ...tier1s].map((service) => service.end('SIGKILL')));
    await bus?.close();
    await nats?.stop();
  });

  test('traffic - a server comes and one drains: every packet is accepted by exactly one, and no flow moves', async () => {
    const begun = firstReceipt();
    const traffic = startTraffic('--seconds', '8');
    await begun;
    const joined = startServer('s5');
    const drained = servers[0].end('SIGTERM');
    servers.push(await joined);
    assert.equal(await drained, 0, servers[0].messages.join('\n'));
    assert.equal(await traffic.ended(), 0, `${traffic.stdout}${traffic.messages.join('\n')}`);
    const report = JSON.parse(traffic.stdout) as TrafficReport;
    assert.deepEqual([report.double, report.movedFlows, report.repeats, report.lost], [0, 0, 0, 0]);
    assert.deepEqual(report.problems, []);
    assert.equal(sumOf(report), report.sent);
    assert.equal(report.sent, 32_000);
    // A flow that outlived the drain's second may have lost its server.
    assert.ok(report.acceptedOnce > 0.98 * report.sent, traffic.stdout);
    const states = Object.fromEntries(report.servers.map(({ id, state }) => [id, state]));
    assert.deepEqual(states, { s1: 'left', s2: 'there', s3: 'there', s4: 'there', s5: 'there' });
    for (const { id, packets } of report.servers) assert.ok(packets > 0, id);
    assert.deepEqual(report.tier1s.map(({ id }) => id.slice(0, 2)).sort(), ['t1', 't2']);
    for (const { packets } of report.tier1s) assert.ok(packets > 0.3 * report.sent);
  });

  test('traffic - a second receipt of another server for one packet is a double, and the run fails', async () => {
    const begun = firstReceipt();
    const traffic = startTraffic('--seconds', '1');
    const { run, receipt } = await begun;
    const rows = new ReceiptRows();
    rows.add(receipt.id(0), receipt.flow(0), 0, 0);
    const liar = {
      server: 'liar',
      group: 'g1',
      incarnation: 1,
      sequence: 1,
      isLast: false,
      skippedEntries: 0,
      flows: 0,
    };
    bus.publish(subjects.receipt(run), rows.finish({ ...liar, evicted: 0, expired: 0 }, 0));
    assert.equal(await traffic.ended(), 1);
    const report = JSON.parse(traffic.stdout) as TrafficReport;
    assert.equal(report.double, 1);
    assert.match(report.problems.join(), /more than one server/);
    assert.equal(sumOf(report), report.sent);
  });

  test('traffic - Ctrl-C ends it with the report of what was sent until then', async () => {
    const begun = firstReceipt();
    const traffic = startTraffic('--seconds', '60');
    await begun;
    assert.equal(await traffic.end('SIGINT'), 0, traffic.stdout);
    const report = JSON.parse(traffic.stdout) as TrafficReport;
    assert.equal(report.interrupted, true);
    assert.equal(report.acceptedOnce, report.sent);
    assert.ok(report.sent > 0 && report.sent < 100_000);
  });

  test('traffic - a tier 1 is killed: what is lost with it is counted and explained, and the run goes on', async () => {
    const begun = firstReceipt();
    const traffic = startTraffic('--seconds', '2');
    await begun;
    await tier1s[0].end('SIGKILL');
    assert.equal(await traffic.ended(), 0, traffic.stdout);
    const report = JSON.parse(traffic.stdout) as TrafficReport;
    assert.deepEqual(report.problems, []);
    assert.ok(report.lost > 0);
    assert.deepEqual([report.double, report.movedFlows, report.nobody.unexplained], [0, 0, undefined]);
    assert.equal(sumOf(report), report.sent);
    assert.deepEqual(Object.fromEntries(report.tier1s.map(({ id, state }) => [id.slice(0, 2), state])), {
      t1: 'silent',
      t2: 'ready',
    });
  });

  test('traffic - a closed loop, and a tier 1 that ends in order says what it took', async () => {
    const closed = new Service([
      ...['traffic', '--to', nats.url, '--cluster', 'traffic', '--json'],
      ...['--seconds', '1', '--warm-up', '0', '--concurrency', '100'],
    ]);
    assert.equal(await closed.ended(), 0, closed.stdout);
    const report = JSON.parse(closed.stdout) as TrafficReport;
    assert.equal(report.acceptedOnce, report.sent);
    assert.ok(report.sent > 500);
    assert.equal(await tier1s[1].end('SIGTERM'), 0);
    const { packets, inputs } = JSON.parse(tier1s[1].stdout);
    assert.equal(packets.read, packets.distributed);
    assert.deepEqual([inputs.bus.packets, inputs.bus.lostFrames], [packets.read, 0]);
  });

  test('traffic - what is missing is named in one line, with the right exit code', async () => {
    const to = ['traffic', '--to', nats.url, '--wait', '0'];
    const cases = [
      { args: [...to, '--cluster', 'nowhere'], code: 1, says: /no cluster nowhere/ },
      { args: [...to, '--cluster', 'traffic'], code: 1, says: /no tier 1 of cluster traffic.*--input bus/ },
      { args: ['traffic', '--to', 'nats://127.0.0.1:1', '--wait', '0'], code: 1, says: /no NATS server/ },
      { args: ['traffic', '--to', 'http://127.0.0.1'], code: 2, says: /nats:\/\// },
      { args: [...to, '--bus', 'embedded'], code: 2, says: /--to and --bus/ },
      { args: [...to, '--flows', '100000', '--clients', '1'], code: 2, says: /too few/ },
      { args: [...to, '--rate', '1', '--concurrency', '1'], code: 2, says: /cannot be used with/ },
      { args: to, environment: { NATS_USER: 'x' }, code: 2, says: /NATS_PASSWORD/ },
    ];
    const run = async ({ args, code, says, environment }: (typeof cases)[number]) => {
      const service = new Service(args, environment);
      assert.equal(await service.ended(), code, `${args.join(' ')}: ${service.messages.join('\n')}`);
      const lines = service.messages.filter((line) => !/^(\(see --help\))?$/.test(line));
      assert.equal(lines.length, 1, service.messages.join('\n'));
      assert.match(lines[0], says);
    };
    // A few at a time: each is a process.
    for (let at = 0; at < cases.length; at += 3) await Promise.all(cases.slice(at, at + 3).map(run));
  });
});

describe('traffic inside one process', () => {
  test('traffic - a whole cluster in one process: the ledger and the auditor say the same', async () => {
    const options = [
      '--groups',
      '2',
      '--servers',
      '2',
      '--rate',
      '5000',
      '--seconds',
      '1',
      '--warm-up',
      '0',
      '--replies',
    ];
    const traffic = new Service(['traffic', '--bus', 'embedded', ...options, '--json']);
    assert.equal(await traffic.ended(), 0, `${traffic.stdout}${traffic.messages.join('\n')}`);
    const report = JSON.parse(traffic.stdout) as TrafficReport;
    assert.deepEqual([report.sent, report.acceptedOnce, report.problems.length], [5_000, 5_000, 0]);
    assert.equal(report.servers.length, 4);
    const [first, ...others] = traffic.messages;
    assert.match(first, /^sending packets through local-[0-9a-f]+ for 1 s$/);
    for (const line of others) assert.match(line, /^receipts come from/, 'no progress bar where there is no terminal');
  });
});
