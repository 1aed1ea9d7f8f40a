// The compose files: each combination that is offered can be read, and is closed: no port on the host, no names that keep a
// service from being scaled, nobody privileged.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { composeCommand, projectRoot, skipWithoutDocker } from './support/docker.ts';

const files = {
  base: 'docker-compose.yml',
  cluster: 'deploy/compose.nats-cluster.yml',
  tls: 'deploy/compose.tls.yml',
} as const;
const combinations = [
  [files.base],
  [files.base, files.cluster],
  [files.base, files.tls],
  [files.base, files.cluster, files.tls],
] as const;

describe('compose', { skip: skipWithoutDocker(), timeout: 60_000 }, () => {
  /** The services as Compose understands the files, as YAML. */
  function configOf(names: readonly string[], variables: Readonly<Record<string, string>> = {}): string {
    const [program, ...args] = composeCommand() ?? assert.fail('there is no docker compose, nor docker-compose');
    const options = names.flatMap((name) => ['-f', name]);
    const config = execFileSync(program, [...args, ...options, '--profile', 'cli', 'config'], {
      cwd: projectRoot,
      env: { ...bystanders, ...variables },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return /^services:\n(?: .*\n)+/m.exec(config)?.[0] ?? '';
  }

  for (const names of combinations) {
    it(`compose - ${names.join(' and ')} can be read, and opens nothing`, () => {
      const config = configOf(names);
      for (const service of ['keys', 'nats', 'cluster', 'tier1', 'dssl', 'cli']) assert.match(config, keyOf(service));
      for (const unwanted of ['container_name', 'ports', 'privileged', 'devices', 'network_mode: host']) {
        assert.doesNotMatch(config, new RegExp(`^ +${unwanted}\\b`, 'm'), unwanted);
      }
      const isCluster = (names as readonly string[]).includes(files.cluster);
      // Every service is hardened: as many are as there are.
      const services = isCluster ? 8 : 6;
      for (const wanted of [/no-new-privileges/g, /^ {4}cap_drop:/gm, /^ {4}read_only: true/gm, /^ {4}init: true/gm]) {
        assert.equal([...config.matchAll(wanted)].length, services, String(wanted));
      }
      assert.equal([...config.matchAll(keyOf('cap_add'))].length, 1, 'keys alone has a capability');
    });
  }

  it('compose - the grace is longer than the drain, and both can be set', () => {
    const secondsIn = (config: string) => [
      Number(/--drain-seconds\W+(\d+)/.exec(config)?.[1]),
      Math.max(
        ...[...config.matchAll(/stop_grace_period: (?:(\d+)m)?(\d+)s/g)].map(
          ([, m, s]) => 60 * Number(m ?? 0) + Number(s),
        ),
      ),
    ];
    const [drain, grace] = secondsIn(configOf([files.base]));
    assert.ok(drain > 0 && grace > drain + 10, `${drain} ${grace}`);
    const set = { FLOWHERD_DRAIN_SECONDS: '100', FLOWHERD_STOP_GRACE: '130s' };
    assert.deepEqual(secondsIn(configOf([files.base], set)), [100, 130]);
  });

  it('compose - what the environment of a developer says about another cluster does not get in', () => {
    const strange = { FLOWHERD_BUS: 'nats://elsewhere:4222', FLOWHERD_SECRET: 'theirs', NATS_TOKEN: 'theirs' };
    assert.doesNotMatch(configOf([files.base], strange), /elsewhere|theirs/);
  });
});

/** The environment without what the files, or Compose, would read in it. */
const bystanders = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(?:FLOWHERD|NATS|COMPOSE)_/.test(name)),
);

/** A key of the document, however deep. */
function keyOf(name: string): RegExp {
  return new RegExp(`^ +${name}:`, 'gm');
}
