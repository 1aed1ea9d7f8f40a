// The lives of a server process, one after the other over the same connections: whoever was removed from its group though it
// lives comes back as a new life, in the same group where that can be. A life that left, or whose place another process has,
// is the last one.

import { errorCodes, isFlowherdError, reasonOf } from '../../../../shared/base/errors.ts';
import type { ClusterMap } from '../../../../shared/config/map.ts';
import type { ClusterSettings } from '../../../../shared/config/settings.ts';
import { readMap } from '../../../../shared/config/store.ts';
import { isLifeOf } from '../../../../shared/membership/transitions.ts';
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

/** What a seat has to do with moves of its server (seats.ts). */
export interface MovePart {
  readonly cameFrom: string | undefined;
  /** Which of the first seats of the process it goes back to (moving.ts). */
  readonly line: number;
  /** Whether the server goes on in another group, where a life here was lost. */
  isElsewhere(): boolean;
}

export class Lives {
  /** Lives that were a member with a server. */
  number = 0;
  /** What they came to; undefined when there was none. */
  counts: LifeCounts | undefined;
  /** The group to join; undefined leaves the choice to the first life. */
  readonly memberOf: string | undefined;
  /** The group that the server came from by a move. */
  readonly cameFrom: string | undefined;
  readonly line: number;
  readonly #context: LifeContext;
  readonly #isElsewhere: () => boolean;
  readonly #pause = new RejoinPause();
  #current: Life | undefined;
  /** Group of the life before. */
  #former: string | undefined;
  #movesTo: string | undefined;

  constructor(context: LifeContext, memberOf: string | undefined, move: MovePart) {
    this.#context = context;
    this.memberOf = memberOf;
    this.cameFrom = move.cameFrom;
    this.line = move.line;
    this.#isElsewhere = move.isElsewhere;
  }

  get server(): string {
    return this.#context.server;
  }

  /** Group of the present life, or of the last one. */
  get group(): string | undefined {
    return this.#current?.actor?.group ?? this.#former;
  }

  /** The present life. */
  get current(): Life | undefined {
    return this.#current;
  }

  /** Where its member is on its way to, as its last view as a member had it. */
  get movesTo(): string | undefined {
    const actor = this.#current?.actor;
    const member = actor?.view.members.find((each) => isLifeOf(each, actor.candidate));
    if (member !== undefined) this.#movesTo = member.movesTo;
    return this.#movesTo;
  }

  /** Settings of the cluster have changed. Lives to come read the map themselves. */
  retune(settings: ClusterSettings): void {
    this.#current?.actor?.retune(settings);
  }

  /** Resolves when the last life is over. Rejects with a FlowherdError. */
  async run(map: ClusterMap): Promise<LifeEnd> {
    const { log, ended } = this.#context;
    let end: LifeEnd | undefined = await this.#live(map, this.memberOf);
    while (end === undefined || end.kind === 'removed') {
      // It would have left here anyway.
      if (this.#isElsewhere()) return { kind: 'left' };
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
      return await this.#live(map, this.memberOf ?? former);
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
    this.#movesTo = undefined;
    try {
      return await life.run(map, memberOf);
    } finally {
      if (life.actor !== undefined) this.#context.own.delete(life.actor.candidate.incarnation);
      const { counts } = life;
      if (counts !== undefined) {
        this.number++;
        this.counts = addCounts(this.counts, counts);
      }
    }
  }
}
