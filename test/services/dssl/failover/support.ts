// A group of production actors on one log, whose flows have backups: what tests of failover do with it.

import assert from 'node:assert/strict';
import { type Actor, GroupOfActors, type Packet } from '../../../support/groupOfActors.ts';

const rules = { availability: 'active-active' } as const;
export const flows = Array.from({ length: 30 }, (_, flow) => flow);

export class Case {
  readonly group: GroupOfActors;
  readonly told: string[] = [];
  #nextId = 1;

  constructor(retention: ConstructorParameters<typeof GroupOfActors>[1] = {}) {
    this.group = new GroupOfActors(rules, retention);
    this.group.onFlow = (server, what, hi, lo) => this.told.push(`${server} ${what} ${hi} ${lo}`);
  }

  async begin(...servers: readonly string[]): Promise<void> {
    for (const server of servers) {
      const { actor } = this.group.start(server);
      assert.ok(await this.group.until(() => actor.phase === 'active', 5_000));
    }
    // Who has just begun to listen judges nobody.
    await this.group.run(4_000);
  }

  /** A packet of each flow; their ids. */
  async send(kind: Partial<Packet> = {}): Promise<number[]> {
    const packets = flows.map((flow) => ({ ...kind, id: this.#nextId++, flow }));
    await this.group.send(...packets);
    await this.group.run(20);
    return packets.map(({ id }) => id);
  }

  actor(server: string): Actor {
    const found = this.group.actors.find((each) => each.server === server);
    assert.ok(found !== undefined);
    return found;
  }

  crash(...servers: readonly string[]): void {
    for (const server of servers) {
      this.actor(server).gate.pause();
      this.actor(server).stop();
    }
  }

  async untilOut(...servers: readonly string[]): Promise<void> {
    const isOut = () =>
      this.group.actors
        .filter(({ isStopped }) => !isStopped)
        .every(({ actor }) => !actor.view.members.some(({ server }) => servers.includes(server)));
    assert.ok(await this.group.until(isOut, 10_000));
    await this.group.run(100);
  }

  /** Packets that some living server has. */
  served(): Set<number> {
    return new Set(
      this.group.actors.filter(({ isStopped }) => !isStopped).flatMap(({ got, replayed }) => [...got, ...replayed]),
    );
  }

  counters() {
    const sums = { replays: 0, replayedRows: 0, unreplayed: 0, partialReplays: 0 };
    for (const { isStopped, actor } of this.group.actors) {
      if (isStopped) continue;
      for (const name of ['replays', 'replayedRows', 'unreplayed', 'partialReplays'] as const)
        sums[name] += actor.failover.replay.counters[name];
    }
    return sums;
  }
}
