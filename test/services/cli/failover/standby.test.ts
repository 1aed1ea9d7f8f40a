// Standbys as processes: a server is killed under traffic and its standby takes its place, for one server and for all, by both methods; the server
// that comes back stands by, and takes over when the other one is killed. And what cannot be is refused in a line.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TrafficReport } from '../../../../services/loadgen/report.ts';
import type { StatusReport } from '../../../../services/ops/statusBoard.ts';
import { Fleet } from '../../../support/fleet.ts';
import { skipWithoutNatsServer } from '../../../support/natsServer.ts';
import type { Service } from '../../../support/processes.ts';

const modes = [
  { availability: 'active-passive', method: 'fig-7', standbyFor: 's2' },
  { availability: 'active-passive', method: 'fig-6', standbyFor: 's2' },
  { availability: 'n-plus-m', method: 'fig-7', standbyFor: 'all' },
] as const;

describe('standby', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let fleet: Fleet;
  const start = (args: readonly string[]): Service => fleet.run(args);
  before(async () => {
    fleet = await Fleet.start();
  });
  after(() => fleet?.end());

  for (const { availability, method, standbyFor } of modes) {
    test(`standby - ${availability}, ${method}: takes the place of a server that is killed, and is followed by it in turn`, async (t) => {
      const cluster = `${availability}-${method}`;
      const common = ['--bus', fleet.nats.url, '--cluster', cluster, '--groups', '1'];
      const birth = ['--availability', availability, '--method', method];
      const dssl = (name: string, ...more: readonly string[]) =>
        start(['dssl', ...common, ...birth, '--server', name, '--receipts', '--drain-seconds', '1', '--json', ...more]);
      const servers = ['s1', 's2'].map((name) => dssl(name));
      await Promise.all(servers.map((server) => server.says(/server is active/)));
      const standby = dssl('b1', '--standby-for', standbyFor);
      await standby.says(/server is active/);
      const isProtected = async (): Promise<void> => {
        for (;;) {
          const status = start(['status', ...common.slice(0, 4), '--json']);
          await status.ended();
          const [group] = (JSON.parse(status.stdout) as StatusReport).groups;
          const said = group.servers.find(({ id }) => id === 'b1')?.protection ?? null;
          if (said !== null && said.flows > 0 && said.unprotected === 0) return;
        }
      };
      const tier1 = start(['tier1', ...common, ...birth, '--name', 't1', '--input', 'bus', '--json']);
      await tier1.says(/taking packets from the bus/);
      const flows = ['--flows', '200', '--packets-per-flow', '40-80', '--rate', '2000', '--warm-up', '0'];
      const run = start([
        'traffic',
        '--to',
        fleet.nats.url,
        '--cluster',
        cluster,
        '--seconds',
        '90',
        '--json',
        ...flows,
      ]);
      await Promise.all(['s1', 's2'].map((name) => run.says(new RegExp(`^receipts come from .*\\b${name}\\b`))));

      await servers[1].end('SIGKILL');
      const first = await standby.says(/^replayed \d+ packets of server s2$/);
      await run.says(/^receipts come from .*\bb1\b/);
      const again = dssl('s2');
      await again.says(/server is active/);
      if (method === 'fig-7') await isProtected();
      await standby.end('SIGKILL');
      const second = await again.says(/^replayed \d+ packets of server b1$/);

      const exitCode = await run.end('SIGINT');
      const report = JSON.parse(run.stdout) as TrafficReport;
      assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], run.stdout);
      if (method === 'fig-7') assert.deepEqual([report.nobody, report.lost], [{}, 0], run.stdout);
      assert.equal(exitCode, 0);
      t.diagnostic(`${report.sent} sent, ${JSON.stringify(report.nobody)}; ${first}, then ${second}`);
      assert.equal(await again.end(), 0);
    });
  }

  test("standby - operators' commands know it: it is shown as such, has no weight, and a server leaves at once only where one stands for it", async () => {
    const where = ['--bus', fleet.nats.url, '--cluster', 'operated'];
    const birth = ['--groups', '1', '--availability', 'active-passive'];
    const dssl = (name: string, ...more: readonly string[]) =>
      start(['dssl', ...where, ...birth, '--server', name, '--drain-seconds', '1', ...more]);
    await Promise.all(['s1', 's2'].map((name) => dssl(name).says(/server is active/)));
    await dssl('b1', '--standby-for', 's2').says(/server is active/);
    const tool = async (...args: readonly string[]) => {
      const run = start([...args, ...where]);
      return { exitCode: await run.ended(), text: run.stdout + run.messages.join('\n') };
    };
    assert.match((await tool('groups')).text, /^g1 +both +rendezvous +100 +- +2 +1 +0 +0 +\d+$/m);
    const [group] = JSON.parse((await tool('groups', '--json')).text).groups;
    assert.equal(group.availability, 'active-passive');
    assert.deepEqual(
      group.members
        .map(({ server, standsFor }: { server: string; standsFor?: string[] }) => `${server} ${standsFor ?? ''}`)
        .sort(),
      ['b1 s2', 's1 ', 's2 '],
    );
    const weighed = await tool('weight', 'b1', '50');
    assert.deepEqual([weighed.exitCode, weighed.text.split('\n').length], [1, 1], weighed.text);
    assert.match(weighed.text, /b1 stands by and takes no flows/);
    const unprotected = await tool('drain', 's1', '--now');
    assert.equal(unprotected.exitCode, 1);
    assert.match(unprotected.text, /flows of s1 have no backups in g1 \(active-passive\) and would be lost/);
    const left = await tool('drain', 's2', '--now');
    assert.equal(left.exitCode, 0, left.text);
    assert.match(left.text, /^s2 has left g1/);
    assert.match((await tool('groups')).text, /^g1 +both +rendezvous +100 +- +2 +0 +0 +0 +\d+$/m);
    assert.match((await tool('weight', 'b1', '50')).text, /^b1 has the weight 50 instead of 100/);
  });

  test('standby - what cannot be is refused in one line that says why', async () => {
    const common = ['--bus', fleet.nats.url, '--groups', '2'];
    const dssl = (...args: readonly string[]) => start(['dssl', ...common, ...args]);
    const passive = ['--cluster', 'no1', '--availability', 'active-passive'];
    const pool = ['--cluster', 'no2', '--availability', 'n-plus-m,g2=none'];
    const refusals: readonly (readonly [readonly string[], RegExp])[] = [
      [
        [...passive, '--server', 'b', '--member-of', 'g1', '--standby-for', 'b'],
        /server b cannot be a standby for itself/,
      ],
      [
        [...passive, '--server', 'b', '--member-of', 'g1', '--standby-for', 'all'],
        /active-passive.* names the servers/,
      ],
      [
        [...passive, '--server', 'b', '--standby-for', 'a'],
        /say in which group, with --member-of; the groups are g1, g2/,
      ],
      [[...passive, '--server', 'b', '--member-of', 'g1,g2', '--standby-for', 'a'], /only a standby for all/],
      [
        [...passive, '--server', 'b', '--member-of', 'g1,g2', '--egress', 'bus'],
        /a server in several groups cannot be another/,
      ],
      [[...pool, '--server', 'b', '--member-of', 'g1', '--standby-for', 'a'], /n-plus-m.* stand for all/],
      [
        [...pool, '--server', 'b', '--member-of', 'g2', '--standby-for', 'all'],
        /group g2 has no standbys, its availability is none/,
      ],
      [[...pool, '--server', 'b', '--member-of', 'g7'], /there is no group g7 in this cluster; its groups are g1, g2/],
    ];
    const wrong = await Promise.all(
      refusals.map(async ([args, line]) => {
        const service = dssl(...args);
        const exitCode = await service.ended();
        return exitCode === 2 && line.test(service.messages.join('\n'))
          ? undefined
          : [args.join(' '), exitCode, service.messages];
      }),
    );
    assert.deepEqual(
      wrong.filter((each) => each !== undefined),
      [],
    );
  });
});
