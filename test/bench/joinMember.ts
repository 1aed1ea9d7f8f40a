// A member of the group whose table holds a million flows, as the benchmark of joining drives it: in this process on the
// embedded bus, or in a process of its own (joinRole.ts) over NATS.
//
// Tables are filled by frames, of a tier 1 that begins with number 1: those frames are decided here and not sent, and the
// ones after them come over the bus. So what a joiner hears continues what the members know.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DsslActor } from '../../services/dssl/actor.ts';
import { ownerOf } from '../../services/dssl/replica/flows/entry.ts';
import { systemClock } from '../../shared/base/clock.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import { subjectsOf } from '../../shared/bus/subjects.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { encodeFrame } from '../support/encodeFrame.ts';
import { type Columns, columnsFor, countingEgress } from './decide.ts';
import { benchMap, benchGroup as group } from './packets.ts';

export const flows = 1_000_000;
export const tier1Id = 'bench';
/** The flows began so long before the benchmark, so that no start is a recent one any more. */
const agoMs = 60_000;
/** Time between the first packets of the flows and the second ones, which make them established. */
const betweenMs = 1_000;
const activeWithinMs = 60_000;

/** What the benchmark asks of a member, wherever it runs. */
export interface JoinMember {
  /** Joins the group; resolves to milliseconds until new flows may be placed here. */
  join(): Promise<number>;
  /** Decides two packets of each flow, by the view of this number; resolves to the number of the last frame. */
  fill(viewNumber: number): Promise<number>;
  /** From now on longest pauses are noted. */
  watch(): Promise<void>;
  /** The longest pause of the event loop since `watch`, in milliseconds. */
  pauseMs(): Promise<number>;
  /** Flows in the table, by the server that owns them. */
  owners(): Promise<Readonly<Record<string, number>>>;
  /** Stops at once, as if it had died. */
  stop(): Promise<void>;
}

export class LocalMember implements JoinMember {
  readonly #actor: DsslActor;
  readonly #buses: readonly Bus[];
  readonly #delays = monitorEventLoopDelay({ resolution: 1 });

  private constructor(actor: DsslActor, buses: readonly Bus[]) {
    this.#actor = actor;
    this.#buses = buses;
  }

  /** One that is connected, and has not joined yet. */
  static async connect(name: string, cluster: string, connect: () => Promise<Bus>): Promise<LocalMember> {
    const [dataBus, controlBus, gossipBus] = await Promise.all([connect(), connect(), connect()]);
    const { placement, seed, rules } = benchMap(cluster);
    const actor = new DsslActor({
      birth: { group, cluster, placement, seed, rules },
      candidate: { server: name, incarnation: 1, weight: 100 },
      maxFlows: 2 * flows,
      subjects: subjectsOf(cluster),
      dataBus,
      controlBus,
      gossipBus,
      settings: defaultSettings,
      egress: await countingEgress(),
      clock: systemClock,
      log: { info: () => undefined, warn: () => undefined },
    });
    return new LocalMember(actor, [dataBus, controlBus, gossipBus]);
  }

  async join(): Promise<number> {
    const startMs = performance.now();
    await this.#actor.start();
    await this.#actor.whenActive(activeWithinMs);
    return performance.now() - startMs;
  }

  async fill(viewNumber: number): Promise<number> {
    const columns = columnsFor(flows);
    let sequence = 0;
    for (const laterMs of [0, betweenMs]) {
      const timestampMs = Date.now() - agoMs + laterMs;
      for (const each of columns) {
        this.#actor.core.onFrame(frameOf(each, ++sequence, viewNumber, timestampMs), Date.now());
        // Others of the group listen to signs of life meanwhile.
        if (sequence % 64 === 0) await new Promise<void>((resolve) => systemClock.defer(resolve));
      }
    }
    return sequence;
  }

  async watch(): Promise<void> {
    // What was needed for filling is not to be collected while others join.
    globalThis.gc?.();
    this.#delays.enable();
    this.#delays.reset();
  }

  async pauseMs(): Promise<number> {
    return this.#delays.max / 1e6;
  }

  async owners(): Promise<Readonly<Record<string, number>>> {
    const { decider, views } = this.#actor.core;
    const found: Record<string, number> = {};
    // By the entries themselves; one that is met twice would show.
    decider.table.scan(0, Number.POSITIVE_INFINITY, (_hi, _lo, _lastSeen, info) => {
      const name = views.serverName(ownerOf(info));
      found[name] = (found[name] ?? 0) + 1;
    });
    return found;
  }

  async stop(): Promise<void> {
    this.#delays.disable();
    this.#actor.stop();
    await Promise.all(this.#buses.map((bus) => bus.close()));
  }
}

export function frameOf(
  { count, meta, payload }: Columns,
  sequence: number,
  viewNumber: number,
  timestampMs: number,
): Uint8Array {
  const header = { tier1Id, sequence, viewNumber, mapVersion: 1, timestampMs, startOrdinal: 0 };
  return encodeFrame(header, count, meta, payload);
}
