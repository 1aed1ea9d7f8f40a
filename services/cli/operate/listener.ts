// How operators' commands hear how a cluster is: the map and the mirrors of the views from the store, and beside them what members say of
// themselves, for as long as it takes until all of them have spoken.

import { systemClock } from '../../../shared/base/clock.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { stateEveryMs } from '../../../shared/membership/gossip.ts';
import type { Load } from '../../../shared/membership/load.ts';
import type { Mirror } from '../../../shared/membership/mirror.ts';
import type { View } from '../../../shared/membership/view.ts';
import { StatusBoard, type StatusReport, silentAfterMs } from '../../ops/statusBoard.ts';
import { pause } from '../process/patience.ts';
import { type Access, mayNotRead } from './operator.ts';

const lookEveryMs = 25;

/** What the store and the members say. */
export class Listener {
  readonly #access: Access;
  readonly #cluster: string;
  readonly #board = new StatusBoard(systemClock.monotonicMs());
  readonly #startMs = systemClock.monotonicMs();
  readonly #denied: string[] = [];
  #map: ClusterMap | undefined;
  #mirrors: ReadonlyMap<string, Mirror> = new Map();

  private constructor(access: Access, cluster: string) {
    this.#access = access;
    this.#cluster = cluster;
  }

  static async open(access: Access, cluster: string): Promise<Listener> {
    const { bus, subjects } = access;
    const listener = new Listener(access, cluster);
    bus.onStatus((status) => {
      if (status.kind === 'denied') listener.#denied.push(status.reason);
    });
    bus.subscribe(subjects.every('gossip'), (bytes) => listener.#board.onGossip(bytes, systemClock.monotonicMs()));
    bus.subscribe(subjects.every('hello'), (bytes) => listener.#board.onHello(bytes, systemClock.monotonicMs()));
    await bus.flush();
    return listener;
  }

  /** Reads the map and the mirrors. */
  async look(): Promise<void> {
    const map = await this.#access.readMap();
    [this.#map, this.#mirrors] = [map, await this.#access.readMirrors(map)];
    if (this.#denied.length > 0) throw mayNotRead(this.#denied[0]);
  }

  /** Resolves when every member has been heard, after one to three pauses between reports. */
  async listen(): Promise<void> {
    const most = Math.max(0, ...[...this.#mirrors.values()].map(({ view }) => view.members.length));
    const stateMs = this.#map?.settings.watching.stateMs ?? 0;
    // Tier 1s are in no view, so nobody knows how many there should be: two of their hellos must fit.
    const leastMs = Math.max(stateEveryMs(most, stateMs) * 1.1, 2 * limits.helloMs);
    const mostMs = Math.max(silentAfterMs(most, stateMs) + lookEveryMs, leastMs);
    for (;;) {
      const listenedMs = systemClock.monotonicMs() - this.#startMs;
      const isEnough = listenedMs >= leastMs && this.#board.hasHeardAll(this.#mirrors);
      if (isEnough || listenedMs >= mostMs) return;
      await pause(lookEveryMs);
    }
  }

  get map(): ClusterMap {
    if (this.#map === undefined) throw new Error('look() comes first');
    return this.#map;
  }

  get mirrors(): ReadonlyMap<string, Mirror> {
    return this.#mirrors;
  }

  /** What the members of a view have said of their load, by server. */
  loadsOf({ members }: View): ReadonlyMap<string, Load> {
    return new Map(
      members.flatMap((member) => {
        const load = this.#board.stateOf(member)?.load;
        return load === undefined ? [] : [[member.server, load]];
      }),
    );
  }

  report(): StatusReport {
    return this.#board.read(this.#cluster, this.map, this.#mirrors, systemClock.monotonicMs());
  }
}
