// The exercise of the README: all load goes to one group, and servers of the other groups walk over to it, each with its flows. The generator accounts
// for every packet, and what an operator sees tells of it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { TrafficReport } from '../../services/loadgen/report.ts';
import type { GroupStatus, StatusReport } from '../../services/ops/statusBoard.ts';
import { ComposeProject } from './support/composeProject.ts';
import { skipWithoutDocker } from './support/docker.ts';

/** All of one client and one target, and so of one group. The run is ended when the test has seen what it waits for. */
const pair = ['--clients', '1', '--targets', '1', '--ipv6-percent', '0'];
const hot = [...pair, '--protocols', 'tcp:100', '--packets-per-flow', '50-200'];
const traffic = ['--rate', '2000', '--seconds', '200', ...hot];
const settings = ['mode=auto', 'by=packets', 'least=100', 'forMs=3000', 'everyMs=5000'].map(
  (each) => `rebalance.${each}`,
);

describe('rebalance', { skip: skipWithoutDocker(), timeout: 300_000 }, () => {
  const project = new ComposeProject(['docker-compose.yml'], { FLOWHERD_GROUPS: '2' });
  before(async () => {
    await project.up('--build', '--scale', 'dssl=5');
    await Promise.all(['tier1', 'dssl'].map((service) => project.whenReady(service)));
  });
  after(() => project.down());

  const run = (service: string, ...args: readonly string[]) =>
    project.compose('run', '--rm', '-T', service, ...args, '--json');
  const groupsWhen = async (holds: (groups: readonly GroupStatus[]) => boolean): Promise<readonly GroupStatus[]> => {
    for (;;) {
      const { groups } = JSON.parse(await run('cli', 'status')) as StatusReport;
      if (holds(groups)) return groups;
    }
  };
  const takingIn = ({ servers }: GroupStatus) =>
    servers.filter(({ state, movesTo }) => state === 'active' && movesTo === null).length;

  it('rebalance - servers walk over to the group that has the load, one by one, and no flow moves', async () => {
    await run('cluster', 'settings', 'set', ...settings);
    const generator = `${project.name}-traffic`;
    await project.compose('run', '-d', '--name', generator, 'cli', 'traffic', ...traffic, '--json');
    const groups = await groupsWhen((each) => each.map(takingIn).sort().join() === '1,4');
    const [busy] = groups.filter((group) => takingIn(group) === 4);
    await project.docker('stop', '-t', '60', generator);
    const report = JSON.parse(await project.docker('logs', generator)) as TrafficReport;
    const told = JSON.stringify(report);
    assert.deepEqual([report.problems, report.double, report.movedFlows, report.failedOver], [[], 0, 0, 0], told);
    assert.deepEqual([report.nobody, report.lost, report.acceptedOnce], [{}, 0, report.sent], told);
    const seats = report.servers.filter(({ group, packets }) => group === busy.id && packets > 0);
    assert.ok(seats.length > 2, told);
    // Nobody is told anything any more when the load is gone.
    const { move } = JSON.parse(await run('cli', 'rebalance', '--plan')) as { readonly move: unknown };
    assert.equal(move, null);
  });
});
