// The shell of tier 1: it connects the distributor (distribute.ts) to the logs of the groups, follows the mirrors of their
// views and what their members say of themselves, and keeps frames from waiting. Whoever feeds it packets waits between
// batches, with `ready` or, where the input can wait for long, with `keptUp`: that is where the logs slow it down.
//
//   packets ─► distributor ─► outlet of the group ─► appender ─► log of the group
//                  ▲ due, settled     │ stored, lost
//                  └──────────────────┘

import type { Clock, Timer } from '../../shared/base/clock.ts';
import { limits } from '../../shared/base/limits.ts';
import type { Bus, KeyValueEntry, Subscription } from '../../shared/bus/bus.ts';
import { everyViewKey, groupOfViewKey, parseSubject, type Subjects } from '../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import type { ClusterSettings } from '../../shared/config/settings.ts';
import type { FlowKeyer } from '../../shared/flow/keyer.ts';
import { FrameAppender } from '../../shared/log/appender.ts';
import type { GroupLog } from '../../shared/log/log.ts';
import { setFollows } from '../../shared/log/records/frame.ts';
import { decodeGossip, stateEveryMs } from '../../shared/membership/gossip.ts';
import { decodeMirror, isNewer, type Mirror } from '../../shared/membership/mirror.ts';
import type { Life } from '../../shared/membership/transitions.ts';
import { Distributor } from './distribute.ts';
import { type LagLimits, LogLag } from './lag.ts';
import { Outlet, type SentFrame } from './outlet.ts';
import { GroupTable } from './routing/groupTable.ts';
import { tellMapping } from './routing/mappingWords.ts';
import { SilentGroups } from './routing/silentGroups.ts';

export interface Tier1Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface Tier1ActorOptions {
  readonly tier1Id: string;
  readonly map: ClusterMap;
  readonly keyer: FlowKeyer;
  readonly subjects: Subjects;
  /** Connection for the logs, and the one for the key-value store and gossip; may be the same. */
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  readonly clock: Clock;
  /** Whether packets carry wall time (`live`) or the time of a capture; for those who feed it. */
  readonly packetTime: 'live' | 'capture';
  /** Bytes of frames to one group that may be under way. Default `limits.appendWindowBytes`. */
  readonly windowBytes?: number;
  /** How far a member may lag before inputs that can wait do. Default: half of what the logs keep by the map. */
  readonly lag?: LagLimits;
  /** Told of each frame before it leaves, for those who measure; */
  readonly onSend?: (group: number, frame: SentFrame) => void;
  /** and of each that will not get into the log, unless `isUncertain`. */
  readonly onLost?: (group: number, frame: SentFrame, isUncertain: boolean) => void;
  /** Told when a group is mapped out or in. */
  readonly log?: Tier1Log;
}

/** Which groups are not where the map has them, and what that meant so far. */
export interface Mapping {
  /** Groups that are mapped out at present, by name. */
  readonly out: readonly string[];
  /** How often a group was mapped out. */
  readonly timesOut: number;
  /** Packets that went to another group than the map's. */
  readonly diverted: number;
}

/** How often an input that waits for a member looks whether it may go on. */
const lagPollMs = 50;
/** Reports of a member that may fail to come before nobody waits for it. */
const reportsMissed = 3;

/** What the actor has of one group. */
interface GroupState {
  readonly outlet: Outlet;
  readonly lag: LogLag;
  mirror: Mirror | undefined;
  /** Position of the last frame stored. */
  storedAt: number;
}

export class Tier1Actor {
  readonly distributor: Distributor;
  /** Messages of gossip that were none, or about no group of the map. */
  gossipFaults = 0;
  /** Values in the store that were no mirror of a view. */
  mirrorFaults = 0;
  readonly #options: Tier1ActorOptions;
  readonly #waitingForServers = new Set<number>();
  readonly #indexOf: ReadonlyMap<string, number>;
  readonly #table: GroupTable;
  readonly #silent: SilentGroups;
  #settings: ClusterSettings;
  /** Empty until the logs are open; no group has a server before that. */
  #groups: readonly GroupState[] = [];
  #stopWatch: (() => void) | undefined;
  #gossip: Subscription | undefined;
  #due: Timer | undefined;
  #dueAtMs = 0;
  #judge: Timer | undefined;
  #isKeptUp = true;
  #whenServed: (() => void)[] = [];

  constructor(options: Tier1ActorOptions) {
    const { map, keyer, clock } = options;
    this.#options = options;
    this.#settings = map.settings;
    for (let group = 0; group < map.groups.length; group++) this.#waitingForServers.add(group);
    this.#indexOf = new Map(map.groups.map((group, index) => [group.id, index]));
    this.#table = new GroupTable(map.groups, map.groupSelection);
    this.#silent = new SilentGroups(map.groups, map.settings);
    this.distributor = new Distributor({
      mapVersion: map.version,
      table: this.#table,
      keyer,
      outlets: map.groups.map((_, group) => ({
        next: () => this.#groups[group].outlet.next(clock.monotonicMs(), clock.nowMs()),
        take: (frame, packets) => this.#groups[group].outlet.take(frame, packets),
      })),
    });
  }

  /** The name of this tier 1; its frames carry it, or a name of a later life made of it (outlet.ts). */
  get id(): string {
    return this.#options.tier1Id;
  }

  get packetTime(): 'live' | 'capture' {
    return this.#options.packetTime;
  }

  /** Opens the logs, reads the mirrors of the views and follows them. Rejects with a FlowherdError. */
  async start(): Promise<void> {
    const { controlBus, dataBus, subjects, map, clock } = this.#options;
    const logs = await Promise.all(map.groups.map(({ id }) => dataBus.openLog(subjects.cluster, id)));
    this.#groups = logs.map((log, group) => this.#groupOf(log, group));
    const store = await controlBus.openKeyValue(subjects.bucket);
    this.#gossip = controlBus.subscribe(subjects.every('gossip'), (message, subject) => this.#hear(message, subject));
    controlBus.onStatus(({ kind }) => {
      if (kind === 'reconnected') this.#silent.startAnew(clock.monotonicMs());
    });
    this.#stopWatch = await store.watch(everyViewKey, (entry) => this.#see(entry));
    const judge = () => {
      this.#remap();
      this.#isKeptUp = !this.#isTooFar();
      this.#judge = clock.setTimer(limits.groupTickMs, judge);
    };
    this.#judge = clock.setTimer(limits.groupTickMs, judge);
  }

  /** Takes changed settings of the cluster over. */
  retune(settings: ClusterSettings): void {
    this.#settings = settings;
    this.#silent.retune(settings);
  }

  get mapping(): Mapping {
    const diverted = this.#table.diverted.reduce((sum, packets) => sum + packets, 0);
    return { out: this.#namesOf([...this.#silent.out]), timesOut: this.#silent.timesOut, diverted };
  }

  /**
   * Groups for whose lack of servers this tier 1 does not do its work, by name: before it begins, every one that has no
   * server; later all of them, when no group is there to take the flows of the others.
   */
  get missing(): readonly string[] {
    const { groups } = this.#options.map;
    const unserved = groups.map((_, group) => group).filter((group) => !this.distributor.hasServer(group));
    return this.#waitingForServers.size > 0 || unserved.length === groups.length ? this.#namesOf(unserved) : [];
  }

  /** True when every group has a server at the moment. */
  get isServed(): boolean {
    return this.distributor.isServed;
  }

  /** Resolves when every group has had a server. */
  whenServed(): Promise<void> {
    if (this.#waitingForServers.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenServed.push(resolve));
  }

  /** True while every log takes frames: packets may be fed without waiting. */
  get isReady(): boolean {
    return this.#groups.every(({ outlet }) => outlet.writable);
  }

  /**
   * True while frames for some group can at least be kept until its log takes them. Packets that cannot be asked to wait may
   * be fed: what finds no room is counted, and does not keep back what goes to other groups.
   */
  get isOpen(): boolean {
    return this.#groups.length === 0 || this.#groups.some(({ outlet }) => outlet.hasRoom);
  }

  /** Resolves when every log takes frames; rejects with `bus-closed` when this tier 1 has been stopped. */
  async ready(): Promise<void> {
    for (;;) {
      const full = this.#groups.find(({ outlet }) => !outlet.writable);
      if (full === undefined) return;
      const { appender, isHolding } = full.outlet;
      await (isHolding ? appender.flush() : appender.whenWritable());
    }
  }

  /** True while no member lags by half of what its log keeps. */
  get isKeptUp(): boolean {
    return this.#isKeptUp;
  }

  /** As `ready`, and no member lags by half of what its log keeps; for inputs that can wait for long. */
  async keptUp(): Promise<void> {
    const { clock } = this.#options;
    await this.ready();
    while (!this.#isKeptUp) {
      await new Promise<void>((resolve) => clock.setTimer(lagPollMs, resolve));
      this.#isKeptUp = !this.#isTooFar();
      await this.ready();
    }
  }

  /** Position of the last frame of this tier 1 that the log of a group has stored; 0 before the first. */
  storedAt(group: number): number {
    return this.#groups[group]?.storedAt ?? 0;
  }

  /** To be called after a run of packets was fed: what lies in open frames leaves in time (batcher.ts). */
  fed(): void {
    if (!this.distributor.isFresh) return;
    const nowMs = this.#options.clock.monotonicMs();
    this.distributor.fed(nowMs);
    this.#setDue(nowMs);
  }

  /** Sends what is left and waits until the logs have it, for `limits.tier1FlushMs` at most. */
  async flush(): Promise<void> {
    const { clock } = this.#options;
    this.distributor.flush();
    let giveUp: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      giveUp = clock.setTimer(limits.tier1FlushMs, resolve);
    });
    await Promise.race([patience, Promise.all(this.#groups.map(({ outlet }) => whenIdle(outlet)))]);
    giveUp?.cancel();
  }

  /** Sends what is left, as `flush` does, counts what the logs did not take, and stops; the connections stay open. */
  async stop(): Promise<void> {
    this.#due?.cancel();
    this.#judge?.cancel();
    this.#gossip?.unsubscribe();
    this.#stopWatch?.();
    await this.flush();
    for (const { outlet } of this.#groups) outlet.stop();
  }

  #groupOf(log: GroupLog, group: number): GroupState {
    const { clock, map, tier1Id, windowBytes = limits.appendWindowBytes, onSend, onLost } = this.#options;
    const { bytes, ageMs } = map.log.retention;
    const { lag = { bytes: bytes / 2, ms: ageMs / 2 } } = this.#options;
    const { distributor } = this;
    const outlet = new Outlet({
      tier1Id,
      windowBytes,
      maxFrameBytes: log.maxEntryBytes,
      onSend: onSend && ((frame) => onSend(group, frame)),
      makeAppender: (hooks) => new FrameAppender({ log, clock, setFollows, windowBytes, ...hooks }),
      onStored: ({ packets }, bytes, position) => {
        state.storedAt = position;
        state.lag.stored(position, bytes);
        distributor.stored(group, packets, bytes);
      },
      onLost: (frame, cause, isUncertain) => {
        distributor.lost(cause, frame.packets);
        onLost?.(group, frame, isUncertain);
      },
      onSettled: () => distributor.settled(group, clock.monotonicMs()),
    });
    const state: GroupState = { outlet, lag: new LogLag(lag), mirror: undefined, storedAt: 0 };
    return state;
  }

  /** A change of a mirror. It tells whether the group has servers, who serves, and whether its line is another one. */
  #see({ key, value }: KeyValueEntry): void {
    const index = this.#indexOf.get(groupOfViewKey(key) ?? '');
    if (index === undefined) return;
    const mirror = decodeMirror(value);
    const group = this.#groups[index];
    if (mirror === undefined) {
      this.mirrorFaults++;
      return;
    }
    const known = group.mirror;
    // What the store has last of another epoch counts: numbers of epochs begin again where log and store were both lost.
    if (mirror.epoch.id === known?.epoch.id && !isNewer(mirror, known)) return;
    group.mirror = mirror;
    if (known !== undefined && known.epoch.id !== mirror.epoch.id) group.outlet.renew();
    const { members } = mirror.view;
    const hasServer = members.some((member) => member.state !== 'joining');
    this.distributor.setServed(index, hasServer);
    group.lag.setMembers(new Set(members.map(nameOfLife)));
    this.#silent.setMembers(index, members, { epoch: mirror.epoch.id, position: mirror.position });
    this.#remap();
    if (hasServer) this.#waitingForServers.delete(index);
    if (this.#waitingForServers.size === 0) for (const resolve of this.#whenServed.splice(0)) resolve();
  }

  #hear(bytes: Uint8Array, subject: string): void {
    const index = this.#indexOf.get(parseSubject(subject)?.name ?? '');
    const message = decodeGossip(bytes);
    if (index === undefined || message === undefined) {
      this.gossipFaults++;
      return;
    }
    if (message.kind !== 'state') return;
    const nowMs = this.#options.clock.monotonicMs();
    this.#silent.hear(index, message, nowMs);
    const { lag, mirror } = this.#groups[index];
    const { line } = message;
    // Positions are meant within an epoch. Whoever is in another one will fetch state anew, or has done so.
    const isOfThisLine = line !== undefined && line.epoch === mirror?.epoch.id;
    const life = nameOfLife(message);
    if (mirror?.view.members.some((member) => nameOfLife(member) === life)) {
      lag.heard(life, isOfThisLine ? line : undefined, nowMs);
    }
  }

  /** Maps groups out and in, when it is time to. */
  #remap(): void {
    const changes = this.#silent.tick(this.#options.clock.monotonicMs());
    if (changes.length === 0) return;
    const { out } = this.#silent;
    this.#table.mapOut(out);
    const { log, map } = this.#options;
    if (log === undefined) return;
    for (const change of changes) tellMapping(log, map.groups, change, out, this.#silent.returnMs(change.group));
  }

  #isTooFar(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const { stateMs } = this.#settings.watching;
    return this.#groups.some(({ lag, mirror }) => {
      const everyMs = stateEveryMs(mirror?.view.members.length ?? 0, stateMs);
      return lag.isTooFar(nowMs - reportsMissed * everyMs);
    });
  }

  /** Sees to it that open frames leave when they are due. */
  #setDue(nowMs: number): void {
    const dueMs = this.distributor.dueMs;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    if (this.#due !== undefined) {
      if (this.#dueAtMs <= dueMs) return;
      this.#due.cancel();
    }
    this.#dueAtMs = dueMs;
    this.#due = this.#options.clock.setTimer(Math.max(0, dueMs - nowMs), () => {
      this.#due = undefined;
      // A timer may fire a fraction of a millisecond early; waiting for that once more would cost a whole one.
      const laterMs = Math.max(dueMs, this.#options.clock.monotonicMs());
      this.distributor.sendDue(laterMs);
      this.#setDue(laterMs);
    });
  }

  #namesOf(groups: readonly number[]): string[] {
    return groups.map((group) => this.#options.map.groups[group].id);
  }
}

/** Resolves when all frames that the outlet took are stored or lost. */
async function whenIdle(outlet: Outlet): Promise<void> {
  // The frames of a later life get an appender when those of the one before have left theirs.
  while (!outlet.isIdle) await outlet.appender.flush();
}

function nameOfLife({ server, incarnation }: Life): string {
  return `${server} ${incarnation}`;
}
