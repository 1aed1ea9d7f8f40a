// One process of the bus benchmark, told by its parent what to be: tier 1 or an actor of Flowherd, or the publisher or a
// subscriber of plain NATS that the two are compared with.
//
// The plain publisher sends the very frames that tier 1 would send, made beforehand, and is held back by the same window
// of unconfirmed bytes; the plain subscribers count messages and bytes. So what the two runs share is the bus, and what
// they do not share is Flowherd.

import { connect, type NatsConnection } from 'nats';
import { DsslActor } from '../../services/dssl/actor.ts';
import { Tier1Actor } from '../../services/tier1/actor.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { limits } from '../../shared/base/limits.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import { FlushWindow } from '../../shared/bus/flushWindow.ts';
import { connectNats } from '../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../shared/bus/subjects.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { settleMap } from '../../shared/config/store.ts';
import { Frame } from '../../shared/log/records/frame.ts';
import { encodeFrame } from '../support/encodeFrame.ts';
import { countingEgress } from './decide.ts';
import { benchKeyer, benchMap, ethernet, framesOf, benchGroup as group, packetBytes, udpPackets } from './packets.ts';

export type Role = 'tier1' | 'actor' | 'publisher' | 'subscriber';

/** From the parent: what to be, or `packets` to send, or a question for the counts. */
export type Order =
  | {
      kind: 'be';
      role: Role;
      url: string;
      cluster: string;
      name: string;
      flows: number;
      /** Each packet in a frame of its own. */
      unbatched: boolean;
    }
  | { kind: 'send'; packets: number }
  | { kind: 'count' };

export type Answer =
  | { kind: 'ready' }
  | { kind: 'sent'; packets: number; frames: number; cpuMs: number }
  | { kind: 'counts'; packets: number; frames: number; lostFrames: number; cpuMs: number };

/** What a role can be asked for. */
interface Player {
  send?(packets: number): Promise<Answer>;
  count?(): Answer;
}

type Be = Extract<Order, { kind: 'be' }>;

const roles: Record<Role, (order: Be) => Promise<Player>> = {
  async tier1({ url, cluster, flows, unbatched }) {
    const packets = udpPackets(flows);
    const subjects = subjectsOf(cluster);
    const dataBus = await openBus(url);
    const controlBus = await openBus(url);
    const map = await settleMap(await controlBus.openKeyValue(subjects.bucket), benchMap(cluster));
    const options = { tier1Id: 'bench', map, keyer: benchKeyer(), subjects, dataBus, controlBus, clock: systemClock };
    const tier1 = new Tier1Actor({ ...options, packetTime: 'live' });
    await tier1.start();
    const send = async (count: number): Promise<Answer> => {
      await tier1.whenServed();
      const { distributor } = tier1;
      const cpuBefore = cpuMs();
      const before = distributor.sentTo(0);
      let at = 0;
      for (let sent = 0; sent < count; ) {
        if (!tier1.isReady) await tier1.ready();
        const run = Math.min(256, count - sent);
        const nowMs = systemClock.nowMs();
        for (let index = 0; index < run; index++) {
          distributor.packet(packets, at, at + packetBytes, ethernet, 0, nowMs);
          if (unbatched) distributor.flush();
          at = at + packetBytes === packets.length ? 0 : at + packetBytes;
        }
        sent += run;
        // Answers of the server come in between, as they would between the reads of a socket.
        if (sent % 4_096 === 0) await new Promise<void>((resolve) => systemClock.defer(resolve));
      }
      distributor.flush();
      await dataBus.flush();
      const after = distributor.sentTo(0);
      return {
        kind: 'sent',
        packets: after.packets - before.packets,
        frames: after.frames - before.frames,
        cpuMs: cpuMs() - cpuBefore,
      };
    };
    return { send };
  },

  async actor({ url, cluster, name, flows }) {
    const egress = await countingEgress();
    const { placement, seed, rules } = benchMap(cluster);
    const actor = new DsslActor({
      birth: { group, cluster, placement, seed, rules },
      candidate: { server: name, incarnation: 1, weight: 100 },
      maxFlows: 2 * flows,
      subjects: subjectsOf(cluster),
      dataBus: await openBus(url),
      controlBus: await openBus(url),
      gossipBus: await openBus(url),
      settings: defaultSettings,
      egress,
      clock: systemClock,
      log: { info: () => undefined, warn: () => undefined },
    });
    await actor.start();
    await actor.whenActive(10_000);
    const count = (): Answer => ({
      kind: 'counts',
      packets: egress.stats.packets,
      frames: actor.core.streams.get('bench')?.decided ?? 0,
      lostFrames: actor.core.streams.lostFrames,
      cpuMs: cpuMs(),
    });
    return { count };
  },

  async publisher({ url, cluster, flows, unbatched }) {
    const subject = subjectsOf(cluster).data(group);
    const { frames, counts } = unbatched ? unbatchedFrames(flows) : framesOf(udpPackets(flows), 'bench');
    const connection = await connect({ servers: url });
    let wake: () => void = () => undefined;
    const window = new FlushWindow({
      clock: systemClock,
      windowBytes: limits.busWindowBytes,
      flush: () => connection.flush(),
      onRoom: () => wake(),
    });
    let next = 0;
    const send = async (count: number): Promise<Answer> => {
      const cpuBefore = cpuMs();
      let packets = 0;
      let sentFrames = 0;
      while (packets < count) {
        if (window.full) await new Promise<void>((resolve) => (wake = resolve));
        connection.publish(subject, frames[next]);
        window.sent(frames[next].length);
        packets += counts[next];
        sentFrames++;
        next = (next + 1) % frames.length;
        if (sentFrames % 24 === 0) await new Promise<void>((resolve) => systemClock.defer(resolve));
      }
      await connection.flush();
      return { kind: 'sent', packets, frames: sentFrames, cpuMs: cpuMs() - cpuBefore };
    };
    return { send };
  },

  async subscriber({ url, cluster }) {
    const connection: NatsConnection = await connect({ servers: url });
    let messages = 0;
    let bytes = 0;
    connection.subscribe(subjectsOf(cluster).data(group), {
      callback: (_error, message) => {
        messages++;
        bytes += message.data.length;
      },
    });
    await connection.flush();
    return { count: () => ({ kind: 'counts', packets: bytes, frames: messages, lostFrames: 0, cpuMs: cpuMs() }) };
  },
};

function openBus(url: string): Promise<Bus> {
  return connectNats({ url, name: 'flowherd bench', storage: 'memory' });
}

/** Each row of the usual frames in a frame of its own. */
function unbatchedFrames(flows: number): { frames: Uint8Array[]; counts: number[] } {
  const frames: Uint8Array[] = [];
  const frame = new Frame();
  for (const message of framesOf(udpPackets(Math.min(flows, 10_000)), 'bench').frames) {
    frame.decode(message);
    for (let row = 0; row < frame.count; row++) {
      const meta = new Uint8Array(frame.meta.buffer, frame.meta.byteOffset + row * 12, 12);
      const payload = frame.payload.subarray(row * packetBytes, (row + 1) * packetBytes);
      frames.push(Uint8Array.prototype.slice.call(encodeFrame(frame, 1, meta, payload)));
    }
  }
  return { frames, counts: frames.map(() => 1) };
}

/** Processor time this process has used so far, all its threads together. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function answer(message: Answer): void {
  process.send?.(message);
}

let player: Player = {};

process.on('message', async (order: Order) => {
  if (order.kind === 'be') {
    player = await roles[order.role](order);
    answer({ kind: 'ready' });
  } else if (order.kind === 'send') {
    if (player.send !== undefined) answer(await player.send(order.packets));
  } else if (player.count !== undefined) answer(player.count());
});
// The parent is gone: so is the reason to be here.
process.on('disconnect', () => process.exit(0));
