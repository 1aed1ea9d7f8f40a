// A worker thread that appends numbered frames to a log at a steady pace through a FrameAppender, for tests in which the main
// thread stands still. It is told to stop by a message, and answers with what it has appended.

import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../shared/base/clock.ts';
import { connectNats } from '../../shared/bus/nats/nats.ts';
import { FrameAppender } from '../../shared/log/appender.ts';
import { testSettings } from './logReaders.ts';
import { messageOf, setFollows } from './modelLog.ts';

export interface LoadOptions {
  readonly url: string;
  readonly cluster: string;
  readonly group: string;
  readonly frameBytes: number;
  readonly framesPerTick: number;
}

export interface LoadResult {
  readonly offered: number;
  readonly acknowledged: number;
  readonly dropped: number;
  readonly last: number;
}

async function run(options: LoadOptions): Promise<void> {
  const bus = await connectNats({ url: options.url, name: 'load' });
  const result = { offered: 0, acknowledged: 0, dropped: 0, last: 0 };
  const log = await bus.openLog(options.cluster, options.group);
  const appender = new FrameAppender({
    log,
    clock: systemClock,
    setFollows,
    onDropped: () => result.dropped++,
    onAcknowledged: ({ position }) => {
      result.acknowledged++;
      result.last = position;
    },
  });
  const ticks = setInterval(() => {
    // A server that gets no processor for a while must not cost frames.
    for (let at = 0; at < options.framesPerTick && appender.writable; at++) {
      const number = ++result.offered;
      appender.offer(messageOf(number, options.frameBytes), number, 1);
    }
  }, 10);
  parentPort?.once('message', async () => {
    clearInterval(ticks);
    await appender.flush();
    parentPort?.postMessage(result);
    await bus.close();
  });
  parentPort?.postMessage('ready');
}

/** Large enough for what a test appends while a reader stands still. */
export const loadSettings = { ...testSettings, retention: { ageMs: 60_000, bytes: 512 * 1024 * 1024 } };

if (workerData !== null) void run(workerData as LoadOptions);
