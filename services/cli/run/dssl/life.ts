// One life of a server in its cluster: it takes a place, its server is started, it decides packets, and the life ends in one of
// three ways. It drains and leaves, because a signal or its view says so; it is removed, because the others took it for
// dead; or another process of its name has its place.
//
// One that was removed though it lives holds flows that are others' by now. It goes on deciding until no tier 1 can have a
// packet of its own on the way any more, as one that leaves does; then its server is told that all its flows have moved,
// and is stopped. Whatever comes next is another life (lives.ts), with a table and a server that know nothing.

import { randomInt } from 'node:crypto';
import type { Logger } from 'pino';
import { systemClock } from '../../../../shared/base/clock.ts';
import type { FlowherdError } from '../../../../shared/base/errors.ts';
import type { ClusterMap } from '../../../../shared/config/map.ts';
import type { Load } from '../../../../shared/membership/load.ts';
import { findMember } from '../../../../shared/membership/view.ts';
import type { DsslActor } from '../../../dssl/actor.ts';
import type { ReceiptEgress } from '../../../dssl/egress/remote/receipts.ts';
import { LoadMeter } from '../../../dssl/member/loadMeter.ts';
import { removalOf, type TakenPlace, takePlace } from '../../../dssl/member/place.ts';
import type { DecisionAudit } from '../../../dssl/replica/rows.ts';
import { V } from '../../../dssl/replica/verdict.ts';
import { type EgressOptions, type OpenedEgress, openEgress } from '../../process/egress.ts';
import type { Machine } from '../../process/machineLoad.ts';
import { handlerPatienceMs, unless, within } from '../../process/patience.ts';
import { receiptsOver } from '../../process/receipts.ts';
import type { ClusterConnection } from '../../process/service.ts';
import { drainAndLeave } from './draining.ts';
import { countsOf, type LifeCounts } from './report.ts';

export interface LifeOptions extends EgressOptions {
  readonly weight: number;
  readonly maxFlows: number;
  readonly drainSeconds: number;
  readonly receipts?: boolean;
  readonly temperatureFile?: string;
}

/** What all lives of a process have in common. */
export interface LifeContext {
  readonly server: string;
  readonly options: LifeOptions;
  readonly cluster: ClusterConnection;
  readonly machine: Machine;
  readonly log: Logger;
  /** Aborted at the first signal. */
  readonly ended: AbortSignal;
}

export type LifeEnd =
  /** A signal came before it was active. */
  | { readonly kind: 'unused' }
  | { readonly kind: 'left' }
  /** It could not write that it leaves. */
  | { readonly kind: 'stuck' }
  | { readonly kind: 'removed'; readonly group: string; readonly memberMs: number }
  | { readonly kind: 'replaced'; readonly error: FlowherdError };

/** How long is waited at most for what can still come for a server that was removed. */
const releaseMostMs = 5_000;
/** Slots of the table whose flows are given up in one go. */
const discardSlots = 4_096;

export class Life {
  readonly #context: LifeContext;
  readonly #incarnation = randomInt(2 ** 47);
  readonly #meter = new LoadMeter();
  #place: TakenPlace | undefined;
  #opened: OpenedEgress | undefined;
  #receipts: ReceiptEgress | undefined;
  #servesSinceMs: number | undefined;
  #flowsMoved = 0;

  constructor(context: LifeContext) {
    this.#context = context;
  }

  /** Undefined before it has a place. */
  get actor(): DsslActor | undefined {
    return this.#place?.actor;
  }

  /** It was, or is, a member with a server. */
  get hasServed(): boolean {
    return this.#servesSinceMs !== undefined;
  }

  /** What it came to; undefined when it never served. Final when `run` is over. */
  get counts(): LifeCounts | undefined {
    if (this.#place === undefined || this.#opened === undefined || !this.hasServed) return undefined;
    return countsOf(this.#place.actor, this.#opened, this.#receipts, this.#flowsMoved);
  }

  /** From the choice of a group to the end, with everything stopped. Rejects with a FlowherdError. */
  async run(map: ClusterMap, memberOf: string | undefined): Promise<LifeEnd> {
    try {
      return await this.#live(map, memberOf);
    } catch (error) {
      await this.#place?.giveBack();
      throw error;
    } finally {
      this.#place?.actor.stop();
      this.#receipts?.stop();
      if (this.#opened !== undefined && !(await within(handlerPatienceMs, this.#opened.egress.stop()))) {
        this.#context.log.warn('the handler did not stop in time; it is left behind');
      }
    }
  }

  async #live(map: ClusterMap, memberOf: string | undefined): Promise<LifeEnd> {
    const { log } = this.#context;
    const place = await this.#takePlace(map, memberOf);
    if (place === undefined) {
      log.info('ended before it was a member');
      return { kind: 'unused' };
    }
    this.#place = place;
    const { actor } = place;
    const opened = await this.#open(place);
    const happened = await this.#until(opened.egress.start(), actor);
    if (happened === 'ended') {
      // Whatever the server waits for: nothing was placed here yet.
      await place.giveBack();
      log.info('ended before it was active');
      return { kind: 'unused' };
    }
    if (happened === 'removed') return this.#removed(actor);
    this.#serve(place, opened);
    const why = await this.#until(actor.whenDraining(), actor);
    if (why === 'removed') return this.#removed(actor);
    if (why === 'done') this.#tellDraining(actor);
    const hasLeft = await drainAndLeave(actor, this.#context.options.drainSeconds, log);
    if (!hasLeft)
      log.warn('could not write that the server leaves: it stays a member, until it comes back under its name');
    this.#receipts?.leave();
    return { kind: hasLeft ? 'left' : 'stuck' };
  }

  #takePlace(map: ClusterMap, memberOf: string | undefined): Promise<TakenPlace | undefined> {
    const { server, options, cluster, log, ended } = this.#context;
    const { subjects, dataBus, controlBus, gossipBus } = cluster;
    return takePlace({
      map,
      memberOf,
      stop: ended,
      candidate: { server, incarnation: this.#incarnation, weight: options.weight },
      maxFlows: options.maxFlows,
      subjects,
      dataBus,
      controlBus,
      gossipBus,
      clock: systemClock,
      log,
      load: (nowMs) => this.#load(nowMs),
      ...(options.receipts ? { audit: lateAudit(() => this.#receipts?.audit) } : {}),
    });
  }

  async #open({ group }: TakenPlace): Promise<OpenedEgress> {
    const { server, options, cluster, log } = this.#context;
    const { subjects, dataBus } = cluster;
    const incarnation = this.#incarnation;
    this.#opened = await openEgress(options, { server, group, incarnation, bus: dataBus, subjects, log });
    return this.#opened;
  }

  /** What is first: `work`, the signal, or that it is no member any more. */
  async #until(work: Promise<void>, actor: DsslActor): Promise<'done' | 'ended' | 'removed'> {
    const done = work.then(() => 'done' as const);
    const removed = actor.whenRemoved().then(() => 'removed' as const);
    // If it is not first, nobody asks what becomes of it.
    done.catch(() => undefined);
    return (await unless(this.#context.ended, Promise.race([done, removed]))) ?? 'ended';
  }

  #serve(place: TakenPlace, opened: OpenedEgress): void {
    const { server, options, cluster, log } = this.#context;
    const { group, actor } = place;
    if (options.receipts) {
      this.#receipts = receiptsOver({
        inner: opened.egress,
        server,
        group,
        incarnation: this.#incarnation,
        clock: systemClock,
        bus: cluster.dataBus,
        subjects: cluster.subjects,
        core: () => actor.core,
      });
    }
    place.serve(this.#receipts ?? opened.egress);
    this.#servesSinceMs = systemClock.monotonicMs();
    log.info({ group, to: opened.to }, 'joined');
  }

  #tellDraining({ core }: DsslActor): void {
    const { log, options } = this.#context;
    const view = core.views.newest?.view.number;
    log.info({ view, flows: core.ownFlows, seconds: options.drainSeconds }, 'draining: its view says so');
  }

  async #removed(actor: DsslActor): Promise<LifeEnd> {
    const { log, ended, server } = this.#context;
    const memberMs = systemClock.monotonicMs() - (this.#servesSinceMs ?? systemClock.monotonicMs());
    const view = actor.core.views.newest?.view;
    if (view !== undefined && findMember(view, server) !== undefined) {
      this.#receipts?.leave();
      return { kind: 'replaced', error: removalOf(actor) };
    }
    const { group } = actor;
    log.warn(
      { group, view: view?.number, flows: actor.core.ownFlows },
      'removed from its group: rejoins as a new life',
    );
    // No frame can come any more in which the server is still a member.
    await unless(ended, within(releaseMostMs, actor.whenReleased()));
    actor.stop();
    this.#receipts?.leave();
    await this.#discard(actor, ended);
    return { kind: 'removed', group, memberMs };
  }

  /** Tells the server that its flows have moved: millions of them hold nothing up. */
  async #discard({ core }: DsslActor, ended: AbortSignal): Promise<void> {
    const before = core.ownFlows;
    let cursor = 0;
    while (cursor >= 0 && !ended.aborted) {
      cursor = core.decider.giveUp(cursor, discardSlots);
      await new Promise<void>((resolve) => systemClock.defer(resolve));
    }
    this.#flowsMoved = before - core.ownFlows;
  }

  #load(nowMs: number): Load | undefined {
    if (this.#place === undefined || this.#opened === undefined) return undefined;
    const { machine, options } = this.#context;
    const { core } = this.#place.actor;
    const { counts, table } = core.decider;
    const { egress } = this.#opened;
    const said = egress.load?.() ?? {};
    const measured = machine.read();
    const isByFile = options.temperatureFile !== undefined;
    return this.#meter.sample(
      {
        flows: core.ownFlows,
        acceptedPackets: egress.stats.packets,
        acceptedBytes: egress.stats.bytes,
        newFlows: counts[V.acceptNew] + counts[V.acceptAdopted],
        tableFill: table.size / options.maxFlows,
        lostFrames: core.streams.lostFrames,
        // A server knows better than the sensors of its actor's machine how warm it is, and an operator better than both.
        machine: isByFile ? measured : { ...measured, temperature: said.temperature ?? measured.temperature },
        handler: { handler: said.load, latencyMs: said.latencyMs, loss: said.loss },
      },
      nowMs,
    );
  }
}

/** The actor is made before it is known where its packets go, and hears frames before its server is ready. */
function lateAudit(audit: () => DecisionAudit | undefined): DecisionAudit {
  return {
    onFrame: (...frame) => audit()?.onFrame(...frame),
    onLate: (...verdict) => audit()?.onLate(...verdict),
  };
}
