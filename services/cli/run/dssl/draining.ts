// Draining and leaving, and what the log says of it meanwhile: a line every few seconds, and what is left at the end.

import { systemClock } from '../../../../shared/base/clock.ts';
import type { ActorLog, DsslActor } from '../../../dssl/actor.ts';
import { DrainProgress } from '../../../dssl/member/drainProgress.ts';
import { idleTicksOf } from '../../../dssl/replica/idleLimits.ts';
import { tickOfMs } from '../../../dssl/replica/ticks.ts';
import { leavePatienceMs, within } from '../../process/patience.ts';

const lookMs = 100;
const sampleMs = 1_000;
const tellMs = 5_000;

/** Resolves when the server has left its group; to false when that could not be written in time. */
export async function drainAndLeave(actor: DsslActor, seconds: number, log: ActorLog): Promise<boolean> {
  const drainMs = seconds * 1_000;
  const watch = new DrainWatch(actor, drainMs, log);
  watch.start();
  const hasLeft = await within(drainMs + leavePatienceMs, actor.drain(drainMs));
  watch.stop();
  if (!hasLeft) return false;
  const flowsLeft = actor.ownFlows;
  log.info({ flowsLeft }, flowsLeft === 0 ? 'drained: no flow is left' : 'left before its flows had ended');
  return true;
}

class DrainWatch {
  readonly #actor: DsslActor;
  readonly #log: ActorLog;
  readonly #progress: DrainProgress;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #toldAtMs = systemClock.monotonicMs();
  #timer: { cancel(): void } | undefined;

  constructor(actor: DsslActor, drainMs: number, log: ActorLog) {
    this.#actor = actor;
    this.#log = log;
    const idleTicks = idleTicksOf(actor.view.rules.idle);
    this.#progress = new DrainProgress({ idleTicks, deadlineMs: systemClock.monotonicMs() + drainMs });
  }

  start(): void {
    this.#look();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    const { phase, replica, ownFlows } = this.#actor;
    if (phase === 'left') return;
    const nowMs = systemClock.monotonicMs();
    if (replica !== undefined) this.#progress.look(replica, tickOfMs(replica.timeMs), nowMs);
    if (nowMs - this.#sampledAtMs >= sampleMs) {
      this.#sampledAtMs = nowMs;
      this.#progress.sample(ownFlows, nowMs);
    }
    if (nowMs - this.#toldAtMs >= tellMs) {
      this.#toldAtMs = nowMs;
      this.#log.info(this.#progress.state(nowMs), 'draining');
    }
    this.#timer = systemClock.setTimer(lookMs, () => this.#look());
  }
}
