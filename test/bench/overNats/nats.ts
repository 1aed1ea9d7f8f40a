// A NATS server for a benchmark, and the group of processes that most of them need: one tier 1 and some actors.

import { execFileSync } from 'node:child_process';
import { findNatsServer, NatsServer } from '../../support/natsServer.ts';
import { Remote } from '../processes/remote.ts';
import type { RoleOptions } from '../processes/roles.ts';
import type { BenchmarkResult, Figure } from '../runner.ts';

/** Runs a benchmark that needs a nats-server, and says in each figure which one it was; without a server there are no figures. */
export async function withNatsServer(
  measure: (server: NatsServer) => Promise<readonly Figure[]>,
): Promise<BenchmarkResult> {
  return withNats(async () => {
    const server = await NatsServer.start();
    try {
      return await measure(server);
    } finally {
      await server.stop();
    }
  });
}

/** The same for a benchmark that starts servers by itself. */
export async function withNats(measure: () => Promise<readonly Figure[]>): Promise<BenchmarkResult> {
  const binary = findNatsServer();
  if (binary === undefined) {
    const how = 'run .ci/install-nats-server, or name one in FLOWHERD_NATS_SERVER';
    return { figures: [], skipped: `there is no nats-server: ${how}` };
  }
  const natsServer = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
  const figures = await measure();
  return { figures: figures.map((figure) => ({ ...figure, explain: { natsServer, ...figure.explain } })) };
}

/** One tier 1 and a group of actors, a process each. */
export class ProcessGroup {
  readonly tier1: Remote<'tier1'>;
  /** By name, those that were not killed. */
  readonly actors: Map<string, Remote<'actor'>> = new Map();
  readonly #options: Omit<RoleOptions, 'name'>;

  private constructor(options: Omit<RoleOptions, 'name'>, tier1: Remote<'tier1'>) {
    this.#options = options;
    this.tier1 = tier1;
  }

  /** Starts actors s1, s2, ... one after the other, and then tier 1; all have joined. */
  static async start(options: Omit<RoleOptions, 'name'>, actors: number): Promise<ProcessGroup> {
    const started: Remote<'actor'>[] = [];
    try {
      for (let index = 1; index <= actors; index++) {
        const actor = await Remote.start('actor', { ...options, name: `s${index}` });
        started.push(actor);
        await actor.call('join');
      }
      const group = new ProcessGroup(options, await Remote.start('tier1', { ...options, name: 'tier1' }));
      for (const actor of started) group.actors.set(actor.name, actor);
      return group;
    } catch (error) {
      await Promise.all(started.map((actor) => actor.kill()));
      throw error;
    }
  }

  /** Another actor, which is connected and has not joined. */
  async add(name: string): Promise<Remote<'actor'>> {
    const actor = await Remote.start('actor', { ...this.#options, name });
    this.actors.set(name, actor);
    return actor;
  }

  async kill(name: string): Promise<void> {
    const actor = this.actors.get(name);
    this.actors.delete(name);
    await actor?.kill();
  }

  /** Calls a method of every actor. */
  async all<T>(ask: (actor: Remote<'actor'>) => Promise<T>): Promise<T[]> {
    return Promise.all([...this.actors.values()].map(ask));
  }

  async stop(): Promise<void> {
    await Promise.all([this.tier1.kill(), ...[...this.actors.keys()].map((name) => this.kill(name))]);
  }
}

/** Rejects with what was waited for when that takes too long. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain: ${what}`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
