// The lives of a server process, one after the other over the same connections: whoever was removed from its group though it
// lives comes back as a new life, in the same group where that can be. A life that left, or whose place another process has,
// is the last one.

import { errorCodes, isFlowherdError, reasonOf } from '../../../../shared/base/errors.ts';
import type { ClusterMap } from '../../../../shared/config/map.ts';
import type { ClusterSettings } from '../../../../shared/config/settings.ts';
import { readMap } from '../../../../shared/config/store.ts';
import { pause } from '../../process/patience.ts';
import { Life, type LifeContext, type LifeEnd } from './life.ts';
import { RejoinPause } from './rejoinPause.ts';
import { addCounts, type LifeCounts } from './report.ts';

/** What may have passed when it is tried again. */
const passing: readonly string[] = [
  errorCodes.busDisconnected,
  errorCodes.busTimeout,
  errorCodes.storeUnavailable,
  errorCodes.storeFailed,
  errorCodes.limitExceeded,
];

export class Lives {
  /** Lives that were a member with a server. */
  number = 0;
  /** What they came to; undefined when there was none. */
  counts: LifeCounts | undefined;
  readonly #context: LifeContext;
  readonly #memberOf: string | undefined;
  readonly #pause = new RejoinPause();
  #current: Life | undefined;
  /** Group of the life before. */
  #former: string | undefined;

  /** `memberOf`: the group to join; undefined leaves the choice to the first life. */
  constructor(context: LifeContext, memberOf: string | undefined) {
    this.#context = context;
    this.#memberOf = memberOf;
  }

  get server(): string {
    return this.#context.server;
  }

  /** The present life. */
  get current(): Life | undefined {
    return this.#current;
  }

  /** Settings of the cluster have changed. Lives to come read the map themselves. */
  retune(settings: ClusterSettings): void {
    this.#current?.actor?.retune(settings);
  }

  /** Resolves when the last life is over. Rejects with a FlowherdError. */
  async run(map: ClusterMap): Promise<LifeEnd> {
    const { log, ended } = this.#context;
    let end: LifeEnd | undefined = await this.#live(map, this.#memberOf);
    while (end === undefined || end.kind === 'removed') {
      this.#former = end?.group ?? this.#former;
      const pauseMs = this.#pause.after(end?.memberMs ?? 0);
      if (!ended.aborted) log.info({ pauseMs }, 'waits before it rejoins');
      if (!(await pause(pauseMs, ended))) {
        log.info('ended while it was no member');
        return { kind: 'unused' };
      }
      end = await this.#rejoin();
    }
    return end;
  }

  /** Undefined when it could not, and may try again. */
  async #rejoin(): Promise<LifeEnd | undefined> {
    const { cluster, log } = this.#context;
    try {
      const store = await cluster.controlBus.openKeyValue(cluster.subjects.bucket);
      const map = (await readMap(store)) ?? cluster.map;
      const former = map.groups.find(({ id }) => id === this.#former)?.id;
      return await this.#live(map, this.#memberOf ?? former);
    } catch (error) {
      if (!isFlowherdError(error) || !passing.includes(error.code)) throw error;
      log.warn({ reason: reasonOf(error) }, 'could not rejoin; tries again');
      // Where its group has no room any more, another one may.
      if (error.code === errorCodes.limitExceeded) this.#former = undefined;
      return undefined;
    }
  }

  async #live(map: ClusterMap, memberOf: string | undefined): Promise<LifeEnd> {
    const life = new Life(this.#context);
    this.#current = life;
    try {
      return await life.run(map, memberOf);
    } finally {
      const { counts } = life;
      if (counts !== undefined) {
        this.number++;
        this.counts = addCounts(this.counts, counts);
      }
    }
  }
}
