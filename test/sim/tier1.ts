// One life of a tier 1: a process with the production actor in it, and what the router before it does.

import { Tier1Actor, type Tier1Log } from '../../services/tier1/actor.ts';
import type { Subjects } from '../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import { FlowKeyer } from '../../shared/flow/keyer.ts';
import type { Gate } from './clients.ts';
import type { SimBus } from './network.ts';
import type { SimProcess } from './process.ts';

/** A time in which a tier 1 sent the flows of a group to others, because the group was silent or had no server. */
export interface Diversion {
  readonly tier1: string;
  readonly group: string;
  readonly isSilent: boolean;
  readonly fromMs: number;
  untilMs: number;
}

export interface Tier1Options {
  /** Of this life. */
  readonly name: string;
  readonly map: ClusterMap;
  readonly subjects: Subjects;
  readonly process: SimProcess;
  readonly dataBus: SimBus;
  readonly controlBus: SimBus;
  readonly nowMs: () => number;
  readonly say: (line: string) => void;
  readonly onDiversion: (diversion: Diversion) => void;
}

export class SimTier1 implements Gate {
  readonly name: string;
  readonly process: SimProcess;
  readonly actor: Tier1Actor;
  isRouted = false;
  endedMs = Number.POSITIVE_INFINITY;
  /** Packets that the router gave it, and those of them that it was dead for. */
  offered = 0;
  lost = 0;
  /** Frames that it says are in no log. */
  readonly lostFrames: { readonly group: string; readonly life: string; readonly number: number }[] = [];
  readonly #options: Tier1Options;
  readonly #open: Diversion[] = [];

  constructor(options: Tier1Options) {
    const { name, process, map, subjects, dataBus, controlBus } = options;
    this.#options = options;
    this.name = name;
    this.process = process;
    this.actor = new Tier1Actor({
      tier1Id: name,
      map,
      keyer: new FlowKeyer({ secret: 'sim', flowKey: 'five-tuple', groupKey: 'address-pair', symmetric: true }),
      subjects,
      dataBus,
      controlBus,
      clock: process.clock,
      packetTime: 'live',
      onLost: (group, { life, number }, isUncertain) => {
        if (!isUncertain) this.lostFrames.push({ group: map.groups[group].id, life, number });
      },
      log: this.#log(),
    });
  }

  /** Rejects where the store cannot be read. */
  async start(): Promise<void> {
    await this.actor.start();
    await this.actor.whenServed();
    this.isRouted = this.process.isAlive;
  }

  take(packet: Uint8Array, taken: () => void): void {
    const { process, actor } = this;
    this.offered++;
    if (!process.isAlive) this.lost++;
    process.enter(() => {
      taken();
      actor.distributor.packet(packet, 0, packet.length, 1, 0, process.clock.nowMs());
      actor.fed();
    });
  }

  /** Dies. */
  end(): void {
    this.endedMs = this.#options.nowMs();
    this.process.crash();
  }

  /** Diversions, as it tells of them. */
  #log(): Tier1Log {
    const { name, nowMs, say, onDiversion } = this.#options;
    return {
      warn: (fields, message) => {
        say(`${name}: ${message} ${JSON.stringify(fields)}`);
        const { group, silentMs } = fields as { readonly group: string; readonly silentMs?: number };
        const isSilent = silentMs !== undefined;
        const diversion = { tier1: name, group, isSilent, fromMs: nowMs(), untilMs: Number.POSITIVE_INFINITY };
        this.#open.push(diversion);
        onDiversion(diversion);
      },
      info: (fields, message) => {
        say(`${name}: ${message} ${JSON.stringify(fields)}`);
        const { group } = fields as { readonly group: string };
        const open = this.#open.findLast((each) => each.group === group);
        if (open !== undefined) open.untilMs = nowMs();
      },
    };
  }
}
