// One life of a server in its cluster: it takes a place, its server is started, it decides packets, and the life ends in one of
// four ways. It drains and leaves, because a signal or its view says so; it is removed, because the others took it for dead; it
// loses what it held, because the log went on without it; or another process of its name has its place.
//
// One that was removed, or has lost its state, though it lives holds flows that are others' from that position of the log on. So its
// server is told at once that all its flows have moved, and is stopped. Whatever comes next is another life (lives.ts), with a table
// and a server that know nothing.

import { randomInt } from 'node:crypto';
import type { Logger } from 'pino';
import { systemClock } from '../../../../shared/base/clock.ts';
import type { FlowherdError } from '../../../../shared/base/errors.ts';
import { type ClusterMap, tunnelsOf } from '../../../../shared/config/map.ts';
import type { Load } from '../../../../shared/membership/load.ts';
import { findMember } from '../../../../shared/membership/view.ts';
import type { DsslActor } from '../../../dssl/actor.ts';
import type { ReceiptEgress } from '../../../dssl/egress/remote/receipts.ts';
import { LoadMeter } from '../../../dssl/member/loadMeter.ts';
import { removalOf, type TakenPlace, takePlace } from '../../../dssl/member/place.ts';
import { type DecisionAudit, type Effects, ItemKind, wordsPerItem } from '../../../dssl/replica/effects.ts';
import { sliceCount } from '../../../dssl/replica/flows/directory.ts';
import { V } from '../../../dssl/replica/verdict.ts';
import { type CheckedEgress, type OpenedEgress, openEgress } from '../../process/egress.ts';
import type { Machine } from '../../process/machineLoad.ts';
import { handlerPatienceMs, unless, within } from '../../process/patience.ts';
import { receiptsOver } from '../../process/receipts.ts';
import type { ClusterConnection } from '../../process/service.ts';
import { drainAndLeave } from './draining.ts';
import { LogWatch } from './logWatch.ts';
import { countsOf, type LifeCounts } from './report.ts';
import { ReplicaTally } from './tally.ts';

export interface LifeOptions extends CheckedEgress {
  readonly weight: number;
  readonly drainSeconds: number;
  readonly receipts?: boolean;
  readonly temperatureFile?: string;
}

/** What all lives of a process have in common. */
export interface LifeContext {
  readonly server: string;
  /** Only of a standby: the servers that it stands for; empty for all of the group. */
  readonly standsFor?: readonly string[] | undefined;
  readonly options: LifeOptions;
  readonly cluster: ClusterConnection;
  readonly machine: Machine;
  readonly log: Logger;
  /** Aborted at the first signal. */
  readonly ended: AbortSignal;
  /** Incarnations of the process, in whichever groups: each life adds its own. */
  readonly own: Set<number>;
}

export type LifeEnd =
  /** A signal came before it was active. */
  | { readonly kind: 'unused' }
  | { readonly kind: 'left' }
  /** It could not write that it leaves. */
  | { readonly kind: 'stuck' }
  /** The others removed it, or it has lost its state: it comes back as another life. */
  | { readonly kind: 'removed'; readonly group: string; readonly memberMs: number }
  | { readonly kind: 'replaced'; readonly error: FlowherdError };

export class Life {
  readonly #context: LifeContext;
  readonly #meter = new LoadMeter();
  readonly #tally = new ReplicaTally();
  readonly #watch: LogWatch;
  #place: TakenPlace | undefined;
  #opened: OpenedEgress | undefined;
  #receipts: ReceiptEgress | undefined;
  #servesSinceMs: number | undefined;
  /** Flows that the server was told of as moved: by the log, behind its removal, and when the life was given up. */
  #flowsMovedBehind = 0;
  #flowsGivenUp = 0;

  constructor(context: LifeContext) {
    this.#context = context;
    this.#watch = new LogWatch(context.cluster.map.log.retention);
  }

  /** Undefined before it has a place. */
  get actor(): DsslActor | undefined {
    return this.#place?.actor;
  }

  /** It was, or is, a member with a server. */
  get hasServed(): boolean {
    return this.#servesSinceMs !== undefined;
  }

  /** Whether it keeps up with its group's log; else what is wrong. */
  followsLog(): true | string {
    const { actor } = this;
    if (actor === undefined) return 'not yet';
    const { recovery, lag } = actor;
    return this.#watch.look(
      { state: recovery.state, position: actor.replica?.position ?? 0, lag },
      systemClock.monotonicMs(),
    );
  }

  /** What it came to; undefined when it never served. Final when `run` is over. */
  get counts(): LifeCounts | undefined {
    if (this.#place === undefined || this.#opened === undefined || !this.hasServed) return undefined;
    return countsOf({
      actor: this.#place.actor,
      tally: this.#tally,
      opened: this.#opened,
      receipts: this.#receipts,
      flowsMoved: this.#flowsMovedBehind + this.#flowsGivenUp,
      flowsLeft: this.#place.actor.ownFlows - this.#flowsGivenUp,
    });
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
    const end = await this.#untilDraining(actor);
    if (end !== undefined) return end;
    const hasLeft = await drainAndLeave(actor, this.#context.options.drainSeconds, log);
    if (!hasLeft)
      log.warn('could not write that the server leaves: it stays a member, until it comes back under its name');
    this.#receipts?.leave();
    return { kind: hasLeft ? 'left' : 'stuck' };
  }

  /** Until it is to drain and leave; or how the life has ended before: it was removed, or its server has moved and its last flow here has ended. */
  async #untilDraining(actor: DsslActor): Promise<LifeEnd | undefined> {
    const { log } = this.#context;
    for (;;) {
      const why = await this.#until(actor.whenDraining(), actor);
      if (why === 'removed') return this.#removed(actor);
      const { server } = this.#context;
      const to = findMember(actor.view, server)?.movesTo;
      if (why === 'ended' || to === undefined) {
        if (why === 'done') this.#tellDraining(actor);
        return undefined;
      }
      log.info({ group: actor.group, to, flows: actor.ownFlows }, 'drains: its server is in another group now');
      const then = await this.#until(actor.whenPhase('active'), actor);
      if (then === 'ended') return undefined;
      if (then === 'removed') {
        if (!actor.standing.asksToLeave) return this.#removed(actor);
        log.info({ group: actor.group, to }, 'left: no flow is left here');
        this.#receipts?.leave();
        return { kind: 'left' };
      }
      log.info({ group: actor.group }, 'takes new flows again');
    }
  }

  #takePlace(map: ClusterMap, memberOf: string | undefined): Promise<TakenPlace | undefined> {
    const { server, standsFor, options, cluster, log, ended, own } = this.#context;
    const { subjects, dataBus, controlBus, gossipBus } = cluster;
    return takePlace({
      map,
      memberOf,
      stop: ended,
      own,
      candidate: { server, incarnation: randomInt(2 ** 47), weight: options.weight, standsFor },
      logSettings: map.log,
      subjects,
      dataBus,
      controlBus,
      gossipBus,
      clock: systemClock,
      log,
      load: (nowMs) => this.#load(nowMs),
      onApplied: (replica, effects) => {
        this.#tally.note(replica);
        if (effects.items.count > 0 && this.#isRemoved) this.#flowsMovedBehind += flowEndsIn(effects);
      },
      ...(options.receipts ? { audit: lateAudit(() => this.#receipts?.audit) } : {}),
    });
  }

  async #open({ group, actor }: TakenPlace): Promise<OpenedEgress> {
    const { server, options, cluster, log } = this.#context;
    const { subjects, dataBus } = cluster;
    const { incarnation } = actor.candidate;
    const { keys, rules } = cluster.map;
    const place = { server, group, incarnation, bus: dataBus, subjects, log, tunnels: tunnelsOf(keys) };
    this.#opened = await openEgress(options, { ...place, protectsFlows: rules.availability !== 'none' });
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
        incarnation: actor.candidate.incarnation,
        clock: systemClock,
        bus: cluster.dataBus,
        subjects: cluster.subjects,
        actor: () => actor,
      });
    }
    place.serve(this.#receipts ?? opened.egress);
    this.#servesSinceMs = systemClock.monotonicMs();
    log.info({ group, to: opened.to }, 'joined');
  }

  #tellDraining({ view, ownFlows }: DsslActor): void {
    const { log, options } = this.#context;
    log.info({ view: view.number, flows: ownFlows, seconds: options.drainSeconds }, 'draining: its view says so');
  }

  async #removed(actor: DsslActor): Promise<LifeEnd> {
    const { log, ended, server } = this.#context;
    const memberMs = systemClock.monotonicMs() - (this.#servesSinceMs ?? systemClock.monotonicMs());
    // What comes after its end is for others.
    actor.stop();
    const { group, view, ownFlows, lostBecause } = actor;
    const present = findMember(view, server);
    if (present !== undefined && present.incarnation !== actor.candidate.incarnation) {
      this.#receipts?.leave();
      return { kind: 'replaced', error: removalOf(actor) };
    }
    const why = lostBecause === undefined ? 'removed from its group' : 'its state is lost';
    log.warn({ group, view: view.number, flows: ownFlows }, `${why}: rejoins as a new life`);
    this.#receipts?.leave();
    await this.#discard(actor, ended);
    return { kind: 'removed', group, memberMs };
  }

  get #isRemoved(): boolean {
    const { actor } = this;
    return actor?.phase === 'left' && !actor.standing.wantsToLeave && !actor.standing.asksToLeave;
  }

  /** Tells the server that its flows have moved: millions of them hold nothing up. */
  async #discard({ replica, failover }: DsslActor, ended: AbortSignal): Promise<void> {
    const egress = this.#receipts ?? this.#opened?.egress;
    if (replica === undefined || egress === undefined || !this.hasServed) return;
    const hasGone = (hi: number, lo: number) => failover.states?.hasGone(replica.flowInfo(hi, lo)) === true;
    for (let slice = 0; slice < sliceCount && !ended.aborted; slice++) {
      const timestampMs = systemClock.nowMs();
      replica.eachOwnFlow(slice, (hi, lo) => {
        this.#flowsGivenUp++;
        // Those that go on with their state it has been told of.
        if (!hasGone(hi, lo)) egress.flowEnded(hi, lo, 'moved', timestampMs);
      });
      await new Promise<void>((resolve) => systemClock.defer(resolve));
    }
  }

  #load(nowMs: number): Load | undefined {
    if (this.#place === undefined || this.#opened === undefined) return undefined;
    const { machine, options } = this.#context;
    const { actor } = this.#place;
    const { egress } = this.#opened;
    const said = egress.load?.() ?? {};
    const measured = machine.read();
    const isByFile = options.temperatureFile !== undefined;
    return this.#meter.sample(
      {
        flows: actor.ownFlows,
        acceptedPackets: egress.stats.packets,
        acceptedBytes: egress.stats.bytes,
        newFlows: this.#tally.count(V.acceptNew) + this.#tally.count(V.acceptAdopted),
        tableFill: fillOf(actor),
        // A server knows better than the sensors of its actor's machine how warm it is, and an operator better than both.
        machine: isByFile ? measured : { ...measured, temperature: said.temperature ?? measured.temperature },
        handler: { handler: said.load, latencyMs: said.latencyMs, loss: said.loss },
      },
      nowMs,
    );
  }
}

function flowEndsIn({ items: { count, words } }: Effects): number {
  let ends = 0;
  for (let item = 0; item < count; item++) if (words[item * wordsPerItem] === ItemKind.flowEnded) ends++;
  return ends;
}

/** Of the table that the group's rules bound: that of all servers, or by Fig. 6 that of this one. */
function fillOf({ replica, view }: DsslActor): number {
  const { maxFlows } = view.rules;
  if (replica === undefined) return 0;
  return Math.max(replica.table.size, replica.ownTable?.size ?? 0) / maxFlows;
}

/** The actor is made before it is known where its packets go, and reads the log before its server is ready. */
function lateAudit(audit: () => DecisionAudit | undefined): DecisionAudit {
  return {
    onFrame: (...frame) => audit()?.onFrame(...frame),
    onLate: (...verdict) => audit()?.onLate(...verdict),
  };
}
