// What happens to the cluster while the demo's traffic runs: one server joins, one drains and leaves. Each step is noted
// for the people who watch, and measured for the report.

import { agreeing, counted } from '../../ops/numbers.ts';
import type { LocalCluster, LocalServer } from '../localCluster.ts';
import { flowsOf, viewOf } from './snapshot.ts';

export interface DemoEvent {
  /** Since the traffic began. */
  readonly seconds: number;
  readonly text: string;
}

export interface Joined {
  readonly server: string;
  readonly group: string;
  readonly seconds: number;
  readonly viewBefore: number;
  readonly viewAfter: number;
  /** Flows of the others that the joiner had in its table when it became active. */
  readonly flowsFetched: number;
  /** What it got by the end; null while it was still joining. */
  readonly packets: number;
  readonly flows: number;
  readonly active: boolean;
}

export interface Drained {
  readonly server: string;
  readonly group: string;
  readonly seconds: number;
  /** Open flows when it began to drain, and the packets it was handed for them after that. */
  readonly openFlows: number;
  readonly packetsSince: number;
  /** When it left; absent when the traffic ended first, and then what it still held. */
  readonly leftSeconds?: number;
  readonly openFlowsLeft: number;
  readonly endedFlowsLeft: number;
}

export interface ChangesOptions {
  readonly cluster: LocalCluster;
  readonly groupIds: readonly string[];
  readonly joinGroup: number;
  readonly drainGroup: number;
  /** Seconds since the traffic began. */
  readonly joinAt: number;
  readonly drainAt: number;
  /** Told of what a step failed with. */
  readonly onFailure: (error: unknown) => void;
}

export class Changes {
  readonly events: DemoEvent[] = [];
  readonly #options: ChangesOptions;
  #seconds = 0;
  #joiner:
    | { seconds: number; viewBefore: number; server?: LocalServer; viewAfter: number; flowsFetched: number }
    | undefined;
  #leaver:
    | {
        seconds: number;
        server: LocalServer;
        openFlows: number;
        packets: number;
        allEnded: boolean;
        leftSeconds?: number;
      }
    | undefined;
  #ending = false;

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  /** Time passes: to be called a few times a second. */
  follow(seconds: number): void {
    this.#seconds = seconds;
    if (this.#joiner === undefined && seconds >= this.#options.joinAt) this.#run(this.#join());
    if (this.#leaver === undefined && seconds >= this.#options.drainAt) this.#run(this.#drain());
    const leaver = this.#leaver;
    if (leaver === undefined || leaver.allEnded || flowsOf(leaver.server).open > 0) return;
    leaver.allEnded = true;
    this.#note(`${leaver.server.name}: its last open flow has ended; it keeps the ended ones 10 s for stragglers`);
  }

  /** Nothing that fails from here on matters: the cluster is being stopped. */
  end(): void {
    this.#ending = true;
  }

  get joined(): Joined | undefined {
    const { joinGroup, groupIds } = this.#options;
    const joiner = this.#joiner;
    if (joiner === undefined) return undefined;
    const { seconds, viewBefore, viewAfter, flowsFetched, server } = joiner;
    const { packets, flowsStarted } = server?.egress.stats ?? { packets: 0, flowsStarted: 0 };
    const name = server?.name ?? '';
    const active = server !== undefined;
    return {
      server: name,
      group: groupIds[joinGroup],
      seconds,
      viewBefore,
      viewAfter,
      flowsFetched,
      packets,
      flows: flowsStarted,
      active,
    };
  }

  get drained(): Drained | undefined {
    const { drainGroup, groupIds } = this.#options;
    const leaver = this.#leaver;
    if (leaver === undefined) return undefined;
    const { server, seconds, openFlows, packets, leftSeconds } = leaver;
    const left = leftSeconds === undefined ? flowsOf(server) : { open: 0, ended: 0 };
    return {
      server: server.name,
      group: groupIds[drainGroup],
      seconds,
      openFlows,
      packetsSince: server.egress.stats.packets - packets,
      ...(leftSeconds === undefined ? {} : { leftSeconds }),
      openFlowsLeft: left.open,
      endedFlowsLeft: left.ended,
    };
  }

  async #join(): Promise<void> {
    const { cluster, joinGroup, groupIds } = this.#options;
    const viewBefore = viewOf(cluster.membersOf(joinGroup));
    const joiner = { seconds: this.#seconds, viewBefore, viewAfter: viewBefore, flowsFetched: 0 };
    this.#joiner = joiner;
    this.#note(
      `a new server joins ${groupIds[joinGroup]}: it fetches the flow table from a member and reads on in the log`,
    );
    const server = await cluster.addServer(joinGroup);
    const { replica, ownFlows } = server.actor;
    const flowsFetched = (replica?.table.size ?? 0) - ownFlows;
    const viewAfter = viewOf([server]);
    this.#joiner = { ...joiner, server, viewAfter, flowsFetched };
    this.#note(
      `${server.name} joined: view ${viewBefore} → ${viewAfter}; fetched ${counted(flowsFetched, 'flow')} and leaves ${agreeing(flowsFetched, 'it where it is', 'them where they are')}`,
    );
  }

  async #drain(): Promise<void> {
    const { cluster, drainGroup, groupIds } = this.#options;
    const members = cluster.membersOf(drainGroup);
    const server = members[0];
    const openFlows = flowsOf(server).open;
    const leaver = { seconds: this.#seconds, server, openFlows, packets: server.egress.stats.packets, allEnded: false };
    this.#leaver = leaver;
    this.#note(
      `${server.name} drains: its ${counted(openFlows, 'open flow')} ${agreeing(openFlows, 'stays', 'stay')} with it, new ones go to the others of ${groupIds[drainGroup]}`,
    );
    await cluster.drainServer(server, Number.MAX_SAFE_INTEGER);
    if (this.#ending) return;
    this.#leaver = { ...leaver, allEnded: true, leftSeconds: this.#seconds };
    const view = viewOf(cluster.membersOf(drainGroup));
    this.#note(`${server.name} has left: view ${view}, no flow was cut off`);
  }

  #note(text: string): void {
    this.events.push({ seconds: this.#seconds, text });
  }

  #run(change: Promise<void>): void {
    change.catch((error: unknown) => {
      if (!this.#ending) this.#options.onFailure(error);
    });
  }
}
