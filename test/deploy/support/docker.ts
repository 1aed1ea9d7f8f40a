// What the container tests need of Docker: is it there, and nothing of theirs left behind.

import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { getContainerRuntimeClient } from 'testcontainers';

// Its janitor is an image of its own, which cannot be had everywhere; leftovers are removed here, by their label.
process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';

export const projectRoot: string = join(import.meta.dirname, '../../..');

/** Marks what the tests of this process made. */
export const testLabels: Readonly<Record<string, string>> = { 'flowherd.test': String(process.pid) };

const howToGet = 'no Docker daemon answers: start one, or run .ci/install-docker';

/** For the `skip` option of a test: false where there is Docker (or CI, so that its lack fails), else the reason. */
export function skipWithoutDocker(): string | false {
  if (process.env.CI !== undefined) return false;
  return spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0 ? false : howToGet;
}

/** Docker's own interface. */
export async function dockerode() {
  return (await getContainerRuntimeClient()).container.dockerode;
}

/** The command line of Compose that there is: the plugin of today, or the program of old. Undefined where there is neither. */
export function composeCommand(): readonly string[] | undefined {
  const candidates = [['docker', 'compose'], ['docker-compose']];
  return candidates.find(
    ([program, ...args]) => spawnSync(program, [...args, 'version'], { stdio: 'ignore' }).status === 0,
  );
}

/** Removes all containers, networks and volumes with the labels; also when the process is about to end. */
export function removeLabelled(labels: Readonly<Record<string, string>>): void {
  const filters = Object.entries(labels).flatMap(([name, value]) => ['--filter', `label=${name}=${value}`]);
  const remove = (list: readonly string[], removal: readonly string[]): void => {
    const ids = execFileSync('docker', [...list, '-q', ...filters], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean);
    if (ids.length > 0) spawnSync('docker', [...removal, ...ids], { stdio: 'ignore' });
  };
  remove(['ps', '-a'], ['rm', '-f', '-v']);
  remove(['network', 'ls'], ['network', 'rm']);
  remove(['volume', 'ls'], ['volume', 'rm']);
}
