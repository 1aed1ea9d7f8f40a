// A DSSL actor as a process of a benchmark: the product's actor, with a server that only counts, or one that keeps account of
// marked packets.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DsslActor } from '../../../services/dssl/actor.ts';
import { sliceCount } from '../../../services/dssl/replica/flows/directory.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { defaultSettings } from '../../../shared/config/settings.ts';
import { countingEgress } from '../local/decide.ts';
import { benchBirth } from '../packets.ts';
import { machineMs, ownCpuMs } from './clock.ts';
import { MarkEgress } from './marks.ts';
import type { ActorRole, RoleOptions } from './roles.ts';

const activeWithinMs = 60_000;
const settleMs = 20;

export async function openActor({ url, cluster, name, log, flows, marked }: RoleOptions): Promise<ActorRole> {
  const { storage, replicas } = log;
  const open = () => connectNats({ url, name: `flowherd bench ${name}`, storage, replicas });
  const [dataBus, controlBus, gossipBus] = await Promise.all([open(), open(), open()]);
  const marks = marked ? new MarkEgress() : undefined;
  const counting = await countingEgress();
  const waiting: { readonly position: number; readonly resolve: (atMs: number) => void }[] = [];
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const actor = new DsslActor({
    birth: benchBirth(2 * flows),
    candidate: { server: name, incarnation: Date.now(), weight: 100 },
    subjects: subjectsOf(cluster),
    dataBus,
    controlBus,
    gossipBus,
    logSettings: log,
    settings: defaultSettings,
    egress: marks ?? counting,
    clock: systemClock,
    log: { info: () => undefined, warn: () => undefined },
    onApplied: ({ position }) => {
      while (waiting.length > 0 && waiting[0].position <= position) waiting.shift()?.resolve(machineMs());
    },
  });

  return {
    join: async () => {
      const startMs = performance.now();
      await actor.start();
      await actor.whenActive(activeWithinMs);
      return performance.now() - startMs;
    },
    reach: (position) =>
      new Promise((resolve) => {
        if ((actor.replica?.position ?? 0) >= position) resolve(machineMs());
        else {
          waiting.push({ position, resolve });
          waiting.sort((one, other) => one.position - other.position);
        }
      }),
    counts: async () => ({
      phase: actor.phase,
      position: actor.replica?.position ?? 0,
      packets: marks?.packets ?? counting.stats.packets,
      frames: actor.replica?.counters.frames ?? 0,
      skippedEntries: actor.recovery.counters.skippedEntries,
      lostBecause: actor.lostBecause,
      members: Object.fromEntries(actor.view.members.map(({ server, state }) => [server, state])),
      view: actor.view.number,
      cpuMs: ownCpuMs(),
    }),
    watch: async () => {
      // What was needed for filling is not to be collected while others join.
      globalThis.gc?.();
      loop.enable();
      // The pause of collecting is noted by the next turns of the loop.
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      loop.reset();
      marks?.watch();
    },
    pauseMs: async () => loop.max / 1e6,
    marks: async () => {
      if (marks === undefined) throw new Error('packets are not marked');
      return marks.report;
    },
    fingerprint: async () => {
      const { replica } = actor;
      if (replica === undefined) throw new Error('there is no replica');
      const digests = Array.from({ length: sliceCount }, (_, slice) => replica.digest(slice));
      const sums = [replica.globalFingerprint(), ...digests].join(' ');
      return { position: replica.position, sums, flows: replica.table.size };
    },
  };
}
