// What Flowherd over NATS is compared with: clients of plain NATS that send and count the very frames that tier 1 would send, made
// beforehand. The publisher is held back by the same window of unacknowledged bytes; the readers count messages. So what the two
// runs share is NATS, and what they do not share is Flowherd. With a stream the frames go through JetStream, as a group's log
// does; without one through core NATS, which nobody can read again.

import { connect, createInbox, type Msg, type NatsConnection } from 'nats';
import { systemClock } from '../../shared/base/clock.ts';
import { limits } from '../../shared/base/limits.ts';
import { FlushWindow } from '../../shared/bus/flushWindow.ts';
import { Frame } from '../../shared/log/records/frame.ts';
import { encodeFrame } from '../support/encodeFrame.ts';
import { framesOf, packetBytes, udpPackets } from './packets.ts';
import { machineMs, ownCpuMs } from './processes/clock.ts';
import type { PublisherRole, ReaderRole, RoleOptions } from './processes/roles.ts';

const nanosecondsPerMs = 1_000_000;

export async function openPublisher(options: RoleOptions): Promise<PublisherRole> {
  const { url, cluster, flows, unbatched, stream } = options;
  const connection = await connect({ servers: url });
  const { frames, counts } = unbatched ? unbatchedFrames(flows) : framesOf(udpPackets(flows), 'bench');
  const window = stream === undefined ? flushWindow(connection) : await appendWindow(connection, options);
  let next = 0;
  let sentFrames = 0;
  return {
    send: async (count) => {
      const cpuBefore = ownCpuMs();
      const before = sentFrames;
      let packets = 0;
      while (packets < count) {
        if (window.isFull()) await window.whenRoom();
        window.publish(cluster, frames[next]);
        packets += counts[next];
        sentFrames++;
        next = (next + 1) % frames.length;
        if (sentFrames % 24 === 0) await new Promise<void>((resolve) => systemClock.defer(resolve));
      }
      await window.flush();
      return { packets, frames: sentFrames - before, end: sentFrames, cpuMs: ownCpuMs() - cpuBefore };
    },
  };
}

export async function openReader({ url, cluster, stream }: RoleOptions): Promise<ReaderRole> {
  const connection = await connect({ servers: url });
  let messages = 0;
  let wanted: { readonly messages: number; readonly resolve: (atMs: number) => void } | undefined;
  const take = (message: Msg): void => {
    if (message.data.length === 0) {
      // Flow control, or a heartbeat.
      if (message.reply !== undefined && message.reply !== '') message.respond();
      return;
    }
    messages++;
    if (wanted === undefined || messages < wanted.messages) return;
    wanted.resolve(machineMs());
    wanted = undefined;
  };
  const inbox = stream === undefined ? cluster : createInbox();
  connection.subscribe(inbox, { callback: (_error, message) => take(message) });
  if (stream !== undefined) {
    const manager = await connection.jetstreamManager();
    await manager.consumers.add(stream, {
      deliver_subject: inbox,
      ack_policy: 'none' as never,
      deliver_policy: 'new' as never,
      mem_storage: true,
      num_replicas: 1,
      flow_control: true,
      idle_heartbeat: limits.logHeartbeatMs * nanosecondsPerMs,
    });
  }
  await connection.flush();
  return {
    reach: (count) =>
      new Promise((resolve) => {
        if (messages >= count) resolve(machineMs());
        else wanted = { messages: count, resolve };
      }),
    cpuMs: async () => ownCpuMs(),
  };
}

interface Window {
  isFull(): boolean;
  whenRoom(): Promise<void>;
  publish(subject: string, frame: Uint8Array): void;
  flush(): Promise<void>;
}

function flushWindow(connection: NatsConnection): Window {
  let wake: () => void = () => undefined;
  const window = new FlushWindow({
    clock: systemClock,
    windowBytes: limits.busWindowBytes,
    flush: () => connection.flush(),
    onRoom: () => wake(),
  });
  return {
    isFull: () => window.full,
    whenRoom: () => new Promise((resolve) => (wake = resolve)),
    publish: (subject, frame) => {
      connection.publish(subject, frame);
      window.sent(frame.length);
    },
    flush: () => connection.flush(),
  };
}

/** Makes the stream, and publishes into it with acknowledgements. */
async function appendWindow(connection: NatsConnection, { cluster, stream, log }: RoleOptions): Promise<Window> {
  const manager = await connection.jetstreamManager();
  await manager.streams.add({
    name: stream as string,
    subjects: [cluster],
    storage: log.storage as never,
    num_replicas: log.replicas,
    max_age: log.retention.ageMs * nanosecondsPerMs,
    max_bytes: log.retention.bytes,
    discard: 'old' as never,
    duplicate_window: 0,
    allow_direct: true,
  });
  const inbox = createInbox();
  const lengths: number[] = [];
  let oldest = 0;
  let bytes = 0;
  let wake: (() => void) | undefined;
  let wakeAt = 0;
  const acknowledged = (message: Msg): void => {
    // An error begins with {"error"; an empty answer says that nobody is there.
    if (message.data.length === 0 || message.data[2] === 0x65) throw new Error(`refused: ${message.string()}`);
    bytes -= lengths[oldest];
    lengths[oldest++] = 0;
    if (wake !== undefined && bytes <= wakeAt) {
      wake();
      wake = undefined;
    }
  };
  connection.subscribe(inbox, { callback: (_error, message) => acknowledged(message) });
  const below = (most: number) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      wakeAt = most;
    });
  return {
    isFull: () => bytes >= limits.appendWindowBytes,
    whenRoom: () => below(limits.appendWindowBytes - 1),
    publish: (subject, frame) => {
      connection.publish(subject, frame, { reply: inbox });
      lengths.push(frame.length);
      bytes += frame.length;
    },
    flush: async () => {
      if (bytes > 0) await below(0);
    },
  };
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

/** The name of the server that leads a stream, as JetStream says. */
export async function leaderOf(url: string, stream: string): Promise<string> {
  const connection = await connect({ servers: url.split(',') });
  try {
    const { cluster } = await (await connection.jetstreamManager()).streams.info(stream);
    return cluster?.leader ?? '';
  } finally {
    await connection.close();
  }
}

/** Whether so many servers keep that stream, all up to date. Without a stream: whether one could be made. */
export async function isReplicated(url: string, stream: string | undefined, servers: number): Promise<boolean> {
  const connection = await connect({ servers: url.split(',') });
  try {
    const manager = await connection.jetstreamManager();
    const name = stream ?? 'probe';
    if (stream === undefined) await manager.streams.add({ name, subjects: [name], num_replicas: servers });
    const { cluster } = await manager.streams.info(name);
    if (stream === undefined) await manager.streams.delete(name);
    const others = cluster?.replicas ?? [];
    return cluster?.leader !== undefined && others.filter(({ current }) => current).length === servers - 1;
  } catch {
    // No leader yet.
    return false;
  } finally {
    await connection.close();
  }
}
