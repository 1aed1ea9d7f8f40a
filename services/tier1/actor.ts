// The shell of tier 1: it connects the distributor (distribute.ts) to the bus, follows the views of all groups, and keeps
// frames from waiting. Whoever feeds it packets waits for `ready` between batches: that is where the bus slows it down.

import type { Bus } from '../../shared/bus/bus.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import type { ClusterMap } from '../../shared/cluster/map.ts';
import { decodeView } from '../../shared/cluster/view.ts';
import type { FlowKeyer } from '../../shared/flow.ts';
import { limits } from '../../shared/limits.ts';
import { everyViewKey, groupOfViewKey, type Subjects } from '../../shared/subjects.ts';
import { Distributor } from './distribute.ts';
import { GroupTable } from './groupTable.ts';

export interface Tier1ActorOptions {
  readonly tier1Id: string;
  readonly map: ClusterMap;
  readonly keyer: FlowKeyer;
  readonly subjects: Subjects;
  /** Connection for frames, and the one for the key-value store; may be the same. */
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  readonly clock: Clock;
  /** Whether packets carry wall time (`live`) or the time of a capture. An idle tier 1 says the time in its frames. */
  readonly packetTime: 'live' | 'capture';
  /** Told of each frame before it leaves, for those who measure. */
  readonly onSend?: (group: number, sequence: number, packets: number) => void;
}

export class Tier1Actor {
  readonly distributor: Distributor;
  readonly #options: Tier1ActorOptions;
  readonly #waitingForServers = new Set<number>();
  #stopWatch: (() => void) | undefined;
  #linger: Timer | undefined;
  #idle: Timer | undefined;
  #whenServed: (() => void)[] = [];

  constructor(options: Tier1ActorOptions) {
    const { map, tier1Id, keyer, dataBus, subjects } = options;
    this.#options = options;
    const subjectOf = map.groups.map((group) => subjects.data(group.id));
    for (let group = 0; group < map.groups.length; group++) this.#waitingForServers.add(group);
    this.distributor = new Distributor({
      tier1Id,
      mapVersion: map.version,
      groups: map.groups.length,
      table: new GroupTable(map.groups, map.groupSelection),
      keyer,
      publish: (group, frame, sequence, packets) => {
        const sent = dataBus.publish(subjectOf[group], frame);
        if (sent) options.onSend?.(group, sequence, packets);
        return sent;
      },
    });
  }

  /** The name under which frames leave. */
  get id(): string {
    return this.#options.tier1Id;
  }

  get packetTime(): 'live' | 'capture' {
    return this.#options.packetTime;
  }

  /** Reads the views and follows them. Rejects with a FlowherdError. */
  async start(): Promise<void> {
    const { controlBus, subjects, map, clock } = this.#options;
    const store = await controlBus.openKeyValue(subjects.bucket);
    const indexOf = new Map(map.groups.map((group, index) => [group.id, index]));
    this.#stopWatch = await store.watch(everyViewKey, (entry) => {
      const index = indexOf.get(groupOfViewKey(entry.key) ?? '');
      const view = decodeView(entry.value);
      if (index === undefined || view === undefined || view.cluster !== map.cluster) return;
      const hasServer = view.members.some((member) => member.state !== 'joining');
      this.distributor.setView(index, view.number, hasServer);
      if (hasServer) this.#waitingForServers.delete(index);
      if (this.#waitingForServers.size === 0) for (const resolve of this.#whenServed.splice(0)) resolve();
    });
    const sayIdle = () => {
      this.distributor.idle(this.#options.packetTime === 'live' ? clock.nowMs() : undefined);
      this.#idle = clock.setTimer(limits.idleFrameMs, sayIdle);
    };
    this.#idle = clock.setTimer(limits.idleFrameMs, sayIdle);
  }

  /** Groups that have no server at present, by name. */
  get unserved(): string[] {
    return this.#options.map.groups.filter((_, group) => !this.distributor.hasServer(group)).map(({ id }) => id);
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

  /** True while packets may be fed without waiting. */
  get isReady(): boolean {
    return this.#options.dataBus.writable;
  }

  /** Resolves when the bus takes more. */
  ready(): Promise<void> {
    return this.#options.dataBus.whenWritable();
  }

  /** To be called after a run of packets was fed: what lies in open frames leaves within `limits.frameLingerMs`. */
  fed(): void {
    if (this.#linger !== undefined || this.distributor.pending === 0) return;
    this.#linger = this.#options.clock.setTimer(limits.frameLingerMs, () => {
      this.#linger = undefined;
      this.distributor.flush();
    });
  }

  /** Publishes what is left and stops; the connections stay open. */
  async stop(): Promise<void> {
    this.#linger?.cancel();
    this.#idle?.cancel();
    this.#stopWatch?.();
    this.distributor.flush();
    await this.#options.dataBus.flush();
  }
}
