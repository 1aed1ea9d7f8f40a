// Tier 1 as a process of a benchmark: the product's actor, fed with packets that were made beforehand.

import { Tier1Actor } from '../../../services/tier1/actor.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { settleMap } from '../../../shared/config/store.ts';
import { benchKeyer, benchMap, ethernet, packetBytes, udpPackets } from '../packets.ts';
import { machineMs, ownCpuMs } from './clock.ts';
import { mark } from './marks.ts';
import type { RoleOptions, Tier1Role } from './roles.ts';

/** Packets that are fed before anything else may happen. */
const runLength = 256;
/** Packets after which answers of the server come in between, as they would between the reads of a socket. */
const readLength = 4_096;

export async function openTier1({
  url,
  cluster,
  name,
  log,
  flows,
  unbatched,
  marked,
}: RoleOptions): Promise<Tier1Role> {
  const { storage, replicas } = log;
  const open = () => connectNats({ url, name: `flowherd bench ${name}`, storage, replicas });
  const subjects = subjectsOf(cluster);
  const [dataBus, controlBus] = await Promise.all([open(), open()]);
  const map = await settleMap(await controlBus.openKeyValue(subjects.bucket), { ...benchMap(cluster), log });
  let uncertain = 0;
  let storedAtMs = 0;
  let pause = { fromMs: 0, toMs: 0 };
  const tier1 = new Tier1Actor({
    tier1Id: name,
    map,
    keyer: benchKeyer(),
    subjects,
    dataBus,
    controlBus,
    clock: systemClock,
    packetTime: 'live',
    onLost: (_group, frame, isUncertain) => {
      if (isUncertain) uncertain += frame.packets;
    },
  });
  await tier1.start();
  const { distributor } = tier1;
  const packets = udpPackets(flows);
  const view = new DataView(packets.buffer);
  let at = 0;
  let fed = 0;
  const feed = (count: number): void => {
    const nowMs = systemClock.nowMs();
    const markMs = machineMs();
    for (let index = 0; index < count; index++) {
      const end = at + packetBytes;
      if (marked) mark(view, end, fed, markMs);
      fed++;
      distributor.packet(packets, at, end, ethernet, 0, nowMs);
      if (unbatched) distributor.flush();
      at = end === packets.length ? 0 : end;
    }
  };

  const send = async (count: number) => {
    await tier1.whenServed();
    const cpuBefore = ownCpuMs();
    const before = distributor.sentTo(0);
    for (let sent = 0; sent < count; ) {
      if (!(tier1.isReady && tier1.isKeptUp)) await tier1.keptUp();
      const run = Math.min(runLength, count - sent);
      feed(run);
      sent += run;
      if (sent % readLength === 0) {
        tier1.fed();
        await new Promise<void>((resolve) => systemClock.defer(resolve));
      }
    }
    await tier1.flush();
    const after = distributor.sentTo(0);
    return {
      packets: after.packets - before.packets,
      frames: after.frames - before.frames,
      end: tier1.storedAt(0),
      cpuMs: ownCpuMs() - cpuBefore,
    };
  };

  let isPacing = false;
  const pace = async (packetsPerSecond: number) => {
    isPacing = packetsPerSecond > 0;
    if (!isPacing) {
      tier1.fed();
      await tier1.flush();
      return;
    }
    await tier1.whenServed();
    const startedMs = machineMs();
    let done = 0;
    const turn = (): void => {
      if (!isPacing) return;
      const due = Math.floor(((machineMs() - startedMs) * packetsPerSecond) / 1_000) - done;
      done += due;
      if (tier1.isOpen) feed(due);
      else distributor.refuse('overload', due, due * packetBytes);
      tier1.fed();
      noteStored();
      systemClock.setTimer(1, turn);
    };
    turn();
  };
  let stored = 0;
  const noteStored = (): void => {
    if (distributor.distributed === stored) return;
    stored = distributor.distributed;
    const nowMs = machineMs();
    if (storedAtMs > 0 && nowMs - storedAtMs > pause.toMs - pause.fromMs) pause = { fromMs: storedAtMs, toMs: nowMs };
    storedAtMs = nowMs;
  };

  return {
    send,
    pace,
    watch: async () => {
      pause = { fromMs: 0, toMs: 0 };
      storedAtMs = machineMs();
    },
    counts: async () => ({
      received: distributor.received,
      stored: distributor.distributed,
      frames: distributor.sentTo(0).frames,
      underWay: distributor.underWay,
      dropped: distributor.dropped,
      uncertain,
      end: tier1.storedAt(0),
      pause,
    }),
  };
}
