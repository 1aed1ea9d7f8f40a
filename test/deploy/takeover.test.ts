// The exercise of the README: containers of servers are killed under load, in a cluster whose flows have backups. The generator accounts for every packet,
// and what an operator sees tells of it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { TrafficReport } from '../../services/loadgen/report.ts';
import type { GroupStatus, StatusReport } from '../../services/ops/statusBoard.ts';
import { ComposeProject } from './support/composeProject.ts';
import { skipWithoutDocker } from './support/docker.ts';

const servers = 4;
/** Flows that outlive the run, as connections do. The run is ended when the test has seen what it waits for. */
const traffic = ['--rate', '2000', '--seconds', '200', '--flows', '400', '--packets-per-flow', '2000'];

describe('takeover', { skip: skipWithoutDocker(), timeout: 300_000 }, () => {
  const project = new ComposeProject(['docker-compose.yml'], {
    FLOWHERD_GROUPS: '1',
    FLOWHERD_CLUSTER_OPTIONS: '--availability active-active',
  });
  before(async () => {
    await project.up('--build', '--scale', `dssl=${servers}`);
    await Promise.all(['tier1', 'dssl'].map((service) => project.whenReady(service)));
  });
  after(() => project.down());

  const cli = (...args: readonly string[]) => project.compose('run', '--rm', '-T', 'cli', ...args, '--json');
  /** The group, once that holds of it. */
  const groupWhen = async (holds: (group: GroupStatus) => boolean): Promise<GroupStatus> => {
    for (;;) {
      const [group] = (JSON.parse(await cli('status')) as StatusReport).groups;
      if (holds(group)) return group;
    }
  };
  /** Ends the generator, and what it reports then. */
  const endOf = async (run: string): Promise<TrafficReport> => {
    await project.docker('stop', '-t', '60', run);
    return JSON.parse(await project.docker('logs', run)) as TrafficReport;
  };
  const packetsOf = ({ servers: all }: GroupStatus) => all.reduce((sum, { load }) => sum + (load?.packets ?? 0), 0);

  it('takeover - a killed container costs no packet: its flows go on at their backups, and status shows it', async () => {
    const run = `${project.name}-traffic`;
    await project.compose('run', '-d', '--name', run, 'cli', 'traffic', ...traffic, '--json');
    const before = await groupWhen((group) => packetsOf(group) > 1_000);
    assert.deepEqual([before.availability, before.servers.length], ['active-active', servers]);
    const [victim] = await project.containersOf('dssl');
    await project.docker('kill', victim);
    const after = await groupWhen(({ protection }) => (protection?.promoted ?? 0) > 0);
    assert.equal(after.servers.length, servers - 1);
    assert.ok((after.protection?.replayed ?? 0) > 0, JSON.stringify(after));
    assert.deepEqual([after.protection?.unreplayed, after.protection?.partial], [0, 0]);
    const report = await endOf(run);
    assert.deepEqual([report.problems, report.nobody, report.lost], [[], {}, 0], JSON.stringify(report));
    assert.equal(report.sent, report.acceptedOnce + report.repeats);
    assert.ok(report.failedOver > 20 && report.gapMs !== null && report.replayed > 0, JSON.stringify(report));
    // It comes back under its name, as another life.
    await project.docker('start', victim);
    const again = await groupWhen(
      (group) => group.servers.filter(({ state }) => state === 'active').length === servers,
    );
    const names = (group: GroupStatus) => group.servers.map(({ id }) => id).sort();
    assert.deepEqual(names(again), names(before));
  });
});
