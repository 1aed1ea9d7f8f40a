// The compose files: each combination that is offered can be read, and is closed (no port on the host, no names that keep a
// service from being scaled, nobody privileged). The plain one is started as it is, and the largest one as far as the
// administrator's part goes.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { handlerPatienceMs, leavePatienceMs } from '../../services/cli/process/patience.ts';
import type { TrafficReport } from '../../services/loadgen/report.ts';
import { ComposeProject } from './support/composeProject.ts';
import { projectRoot, skipWithoutDocker } from './support/docker.ts';

const base = 'docker-compose.yml';
const cluster = 'deploy/compose.nats-cluster.yml';
const tls = 'deploy/compose.tls.yml';

describe('compose', { skip: skipWithoutDocker(), timeout: 240_000 }, () => {
  for (const files of [[base], [base, cluster], [base, tls], [base, cluster, tls]]) {
    it(`compose - ${files.join(' and ')} can be read, and opens nothing`, () => {
      const services = new ComposeProject(files).services();
      for (const service of ['keys', 'nats', 'cluster', 'tier1', 'dssl', 'standby', 'cli'])
        assert.match(services, keyOf(service));
      for (const unwanted of ['container_name', 'ports', 'privileged', 'devices', 'network_mode: host']) {
        assert.doesNotMatch(services, new RegExp(`^ +${unwanted}\\b`, 'm'), unwanted);
      }
      const count = files.includes(cluster) ? 9 : 7;
      for (const wanted of [/no-new-privileges/g, /^ {4}cap_drop:/gm, /^ {4}read_only: true/gm, /^ {4}init: true/gm]) {
        assert.equal([...services.matchAll(wanted)].length, count, String(wanted));
      }
      assert.equal([...services.matchAll(keyOf('cap_add'))].length, 1, 'keys alone has a capability');
    });
  }

  it('compose - the grace is longer than the drain, and both can be set', () => {
    const secondsIn = (services: string): number[] => {
      const graces = [...services.matchAll(/stop_grace_period: (?:(\d+)m)?(\d+)s/g)];
      return [
        Number(/--drain-seconds\W+(\d+)/.exec(services)?.[1]),
        Math.max(...graces.map(([, minutes, seconds]) => 60 * Number(minutes ?? 0) + Number(seconds))),
      ];
    };
    const [drain, grace] = secondsIn(new ComposeProject([base]).services());
    const leaveSeconds = (leavePatienceMs + handlerPatienceMs) / 1_000;
    assert.ok(drain > 0 && grace > drain + leaveSeconds, `${drain} ${grace}`);
    const set = { FLOWHERD_DRAIN_SECONDS: '100', FLOWHERD_STOP_GRACE: '130s' };
    assert.deepEqual(secondsIn(new ComposeProject([base], set).services()), [100, 130]);
  });

  it("compose - a developer's settings for another cluster do not get in", () => {
    const strange = { FLOWHERD_BUS: 'nats://elsewhere:4222', FLOWHERD_SECRET: 'theirs', NATS_TOKEN: 'theirs' };
    assert.doesNotMatch(new ComposeProject([base], strange).services(), /elsewhere|theirs/);
  });

  it('compose - the file as it is: comes up ready, takes traffic, and adds up', async () => {
    const project = new ComposeProject([base]);
    after(() => project.down());
    await project.up('--build');
    await Promise.all(['tier1', 'dssl'].map((service) => project.whenReady(service)));
    const run = ['run', '--rm', '-T', 'cli', 'traffic', '--rate', '2000', '--seconds', '3', '--json'];
    const report = JSON.parse(await project.compose(...run)) as TrafficReport;
    assert.deepEqual([report.problems, report.double, report.movedFlows, report.nobody], [[], 0, 0, {}]);
    assert.equal(report.acceptedOnce, report.sent);
    assert.deepEqual(
      report.groups.map(({ servers }) => servers),
      [1, 1, 1],
    );
  });

  it('compose - three NATS servers with TLS: the cluster is made once, in three copies, whoever of the makers is killed', async () => {
    const certs = mkdtempSync(join(tmpdir(), 'flowherd-certs-'));
    execFileSync(join(projectRoot, 'deploy/nats/make-certs'), [certs, 'nats', 'nats-2', 'nats-3']);
    const project = new ComposeProject([base, cluster, tls], { FLOWHERD_CERTS: certs, FLOWHERD_GROUPS: '5' });
    after(async () => {
      await project.down();
      rmSync(certs, { recursive: true });
    });
    await project.up('--build', 'cluster');
    assert.equal(await project.ended('cluster'), 0);
    const reports = async () =>
      (await project.logOf('cluster')).map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'report');
    const [{ report }] = await reports();
    assert.deepEqual(report.bucket, { name: 'fh_default', created: true, storage: 'file', replicas: 3 });
    const groups = ['g1', 'g2', 'g3', 'g4', 'g5'];
    assert.deepEqual(report.map, { created: true, groups });
    assert.deepEqual([report.logs.replicas, report.logs.storage, report.logs.created], [3, 'file', groups]);
    assert.match((await project.logOf('nats')).join('\n'), /TLS required for client connections/);

    // Made again from what is there; also when the makers' containers are gone, as after a kill and a clean-up.
    await project.docker(
      'rm',
      '-f',
      ...(await project.containersOf('cluster')),
      ...(await project.containersOf('keys')),
    );
    await project.up('cluster');
    assert.equal(await project.ended('cluster'), 0);
    const [{ report: again }] = await reports();
    const made = [again.bucket.created, again.map.created, again.logs.created, again.differing];
    assert.deepEqual(made, [false, false, [], []]);
    const keys = (await project.logOf('keys')).map((line) => JSON.parse(line).report?.made);
    assert.deepEqual(keys, [[]]);
  });
});

/** A key of the document, however deep. */
function keyOf(name: string): RegExp {
  return new RegExp(`^ +${name}:`, 'gm');
}
