// The log over NATS when servers die, freeze and come back, lines break, and readers stand still.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { connect as connectClient } from 'nats';
import { systemClock } from '../../../../shared/base/clock.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { connectNats, type NatsOptions } from '../../../../shared/bus/nats/nats.ts';
import { FrameAppender } from '../../../../shared/log/appender.ts';
import type { GroupLog, LogSettings } from '../../../../shared/log/log.ts';
import { type LoadOptions, type LoadResult, loadSettings } from '../../../support/logLoad.ts';
import { Appends, EntryBox, realTime, testSettings } from '../../../support/logReaders.ts';
import { messageOf, setFollows } from '../../../support/modelLog.ts';
import { CuttableLine, NatsServer, skipWithoutNatsServer, startNatsCluster } from '../../../support/natsServer.ts';

const { until } = realTime;
const onFile: LogSettings = { ...testSettings, storage: 'file' };

describe('the log over NATS, when something fails', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  const servers: NatsServer[] = [];
  const buses: Bus[] = [];
  after(async () => {
    for (const bus of buses) await bus.close();
    for (const server of servers) await server.stop();
  });
  const start = async (): Promise<NatsServer> => {
    const server = await NatsServer.start();
    servers.push(server);
    return server;
  };
  const connect = async (url: string, options: Partial<NatsOptions> = {}): Promise<Bus> => {
    const bus = await connectNats({ url, name: 'test', ...options });
    buses.push(bus);
    return bus;
  };

  it('jetstream - the server killed under load, storage on file: same positions, no gap, no repeat, nothing lost', async () => {
    const server = await start();
    const [writer, reader] = [await connect(server.url), await connect(server.url)];
    const log = await writer.openLog('c', 'g', onFile);
    const before = await log.bounds();
    const box = new EntryBox(await reader.openLog('c', 'g'), { after: 0 });
    const load = new Load(log);
    await until(() => load.acknowledged > 200);
    await server.kill();
    await until(() => !box.reader.isLive && !load.appender.writable);
    await server.start();
    const meanwhile = load.acknowledged;
    await until(() => load.acknowledged > meanwhile + 200);
    await load.end();
    await until(() => appliedIn(box).length === load.offered);
    box.check();
    assert.deepEqual(appliedIn(box), numbersTo(load.offered));
    assert.deepEqual([load.dropped, box.broken], [0, []]);
    assert.equal((await log.bounds()).identity, before.identity);
  });

  it('jetstream - a server that comes back empty: appends are refused until it is made anew, and old readers are told', async () => {
    const server = await start();
    const bus = await connect(server.url);
    const log = await bus.openLog('c', 'g', testSettings);
    const [old, fresh] = [new EntryBox(log, { after: 0 }), new EntryBox(log, { after: 0 })];
    const appends = new Appends(log);
    for (let at = 0; at < 5; at++) appends.add('frame', `old ${at}`);
    await until(() => old.entries.length === 5 && fresh.entries.length === 5);
    fresh.reader.stop();
    await server.kill();
    await until(() => !old.reader.isLive);
    const down = new Appends(log);
    down.add('command', 'x');
    await until(() => down.areKnown);
    assert.deepEqual(down.outcomes, [{ kind: 'refused', reason: 'disconnected' }]);
    assert.equal(log.writable, false);
    await server.start();
    const waiting = new EntryBox(log, { after: 0 });
    await until(() => log.writable);
    const missing = new Appends(log);
    missing.add('frame', 'x');
    await until(() => missing.areKnown);
    assert.equal(missing.count('refused'), 1);
    assert.deepEqual(old.broken, []);
    assert.equal(await log.make(), true);
    for (let at = 0; at < 7; at++) appends.add('frame', `new ${at}`);
    await until(() => old.broken.length === 1 && waiting.entries.length === 7);
    assert.ok(old.broken[0] === 'other' || old.broken[0] === 'shorter');
    assert.equal(old.entries.length, 5);
    assert.deepEqual(waiting.texts[0], 'frame new 0');
  });

  it('jetstream - appends under way when the server freezes and the line is given up: unknown, each once', async () => {
    const server = await start();
    const bus = await connect(server.url, { pingIntervalMs: 100 });
    const log = await bus.openLog('c', 'g', onFile);
    const box = new EntryBox(log, { after: 0 });
    const appends = new Appends(log);
    appends.add('frame', 'before');
    await until(() => box.entries.length === 1);
    await server.freeze();
    for (let at = 0; at < 20; at++) appends.add('frame', String(at));
    await until(() => appends.areKnown);
    assert.deepEqual([appends.count('stored'), appends.count('unknown')], [1, 20]);
    server.thaw();
    await until(() => box.reader.isLive);
    appends.add('frame', 'after');
    await until(() => box.texts.includes('frame after'));
    assert.equal(appends.repeated, 0);
    assert.equal(log.stats.unknown, 20);
  });

  it('jetstream - no answer in two seconds is unknown, although the line is up; what was stored is read once', async () => {
    const server = await start();
    const bus = await connect(server.url, { pingIntervalMs: 30_000 });
    const log = await bus.openLog('c', 'g', onFile);
    const box = new EntryBox(log, { after: 0 });
    const appends = new Appends(log);
    await until(() => box.reader.isLive);
    await server.freeze();
    for (let at = 0; at < 3; at++) appends.add('frame', String(at));
    const sentMs = performance.now();
    await until(() => appends.areKnown);
    const tookMs = performance.now() - sentMs;
    assert.ok(tookMs > 1_950 && tookMs < 3_500, `${tookMs} ms`);
    assert.deepEqual([appends.count('unknown'), box.reader.isLive], [3, false]);
    server.thaw();
    await until(() => box.entries.length === 3 && box.reader.isLive);
    assert.deepEqual(box.texts, ['frame 0', 'frame 1', 'frame 2']);
    assert.deepEqual([appends.repeated, box.broken], [0, []]);
  });

  it('jetstream - a line that is cut again and again: readers go on where they were, appended is all or dropped', async () => {
    const server = await start();
    const line = await CuttableLine.to(server.port);
    const [writer, reader] = [await connect(line.url), await connect(line.url)];
    const log = await writer.openLog('c', 'g', testSettings);
    const readerLog = await reader.openLog('c', 'g');
    const box = new EntryBox(readerLog, { after: 0 });
    const load = new Load(log);
    for (let cuts = 0; cuts < 3; cuts++) {
      const from = load.acknowledged;
      await until(() => load.acknowledged > from + 50 && box.reader.isLive);
      line.cut();
      await until(() => !log.writable && !box.reader.isLive);
      line.mend();
    }
    await load.end();
    await until(() => appliedIn(box).length === load.offered);
    box.check();
    assert.deepEqual([load.dropped, box.broken, readerLog.stats.readersRestarted >= 3], [0, [], true]);
    line.close();
  });

  it('jetstream - a reader that stands still for three seconds under 40 MB/s: no gap, caught up at once', async () => {
    const server = await start();
    const [owner, bus] = [await connect(server.url), await connect(server.url)];
    await owner.openLog('c', 'g', loadSettings);
    const log = await bus.openLog('c', 'g');
    let last = 0;
    let bytes = 0;
    const faults: string[] = [];
    const reader = log.read(
      { after: 0 },
      {
        onEntry: ({ position, data }) => {
          if (position !== last + 1) faults.push(`${position} follows ${last}`);
          last = position;
          bytes += data.length;
        },
        onBroken: (reason) => faults.push(reason),
      },
    );
    const load = await LoadThread.start({
      url: server.url,
      cluster: 'c',
      group: 'g',
      frameBytes: 20_000,
      framesPerTick: 20,
    });
    await until(() => last > 500);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
    const before = last;
    await until(() => reader.pending === 0 && last > before + 1_000);
    const result = await load.end();
    await until(() => last === result.last);
    assert.deepEqual([faults, result.dropped, result.acknowledged], [[], 0, result.offered]);
    assert.equal(bytes, 20_000 * last);
    // It was not cut off as a slow consumer.
    assert.equal(bus.stats.reconnects, 0);
  });

  it('jetstream - three servers, three copies, the leader killed under load: nothing is lost, nobody is told', async () => {
    const cluster = await startNatsCluster(3);
    servers.push(...cluster);
    const url = cluster.map((server) => server.url).join(',');
    const admin = await connect(url, { requestTimeoutMs: 5_000 });
    const settings = { ...testSettings, replicas: 3 };
    let log: GroupLog | undefined;
    // The cluster has to elect a leader of its own first.
    await until(async () => {
      log = await admin.openLog('c', 'g', settings).catch(() => undefined);
      return log !== undefined;
    });
    const info = await leaderOf(cluster[0].url);
    const leader = cluster[Number(info.slice(1))];
    const others = cluster.filter((server) => server !== leader);
    const [writer, reader] = [await connect(others[0].url), await connect(others[1].url)];
    const readerLog = await reader.openLog('c', 'g');
    const box = new EntryBox(readerLog, { after: 0 });
    const onLeader = new EntryBox(await (await connect(leader.url)).openLog('c', 'g'), { after: 0 });
    const load = new Load(await writer.openLog('c', 'g'));
    await until(() => load.acknowledged > 200 && box.entries.length > 200);
    await leader.kill();
    const atKill = load.acknowledged;
    await until(() => load.acknowledged > atKill + 500);
    await load.end();
    await until(() => [box, onLeader].every((one) => appliedIn(one).length === load.offered));
    for (const one of [box, onLeader]) {
      one.check();
      assert.deepEqual([appliedIn(one), one.broken], [numbersTo(load.offered), []]);
    }
    assert.equal(load.dropped, 0);
  });
});

/** Appends numbered frames through an appender, a few in every turn of the event loop. */
class Load {
  readonly appender: FrameAppender;
  acknowledged = 0;
  dropped = 0;
  offered = 0;
  #isOver = false;

  constructor(log: GroupLog) {
    this.appender = new FrameAppender({
      log,
      clock: systemClock,
      setFollows,
      onDropped: () => this.dropped++,
      onAcknowledged: () => this.acknowledged++,
    });
    this.#turn();
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.appender.flush();
    assert.equal(this.acknowledged + this.dropped, this.offered);
  }

  #turn(): void {
    if (this.#isOver) return;
    if (this.appender.unacknowledged < 500) {
      const number = ++this.offered;
      this.appender.offer(messageOf(number, 2_000), number, 1);
    }
    systemClock.setTimer(1, () => this.#turn());
  }
}

class LoadThread {
  readonly #worker: Worker;

  private constructor(options: LoadOptions) {
    this.#worker = new Worker(new URL('../../../support/logLoad.ts', import.meta.url), { workerData: options });
  }

  static async start(options: LoadOptions): Promise<LoadThread> {
    const load = new LoadThread(options);
    await load.#message();
    return load;
  }

  async end(): Promise<LoadResult> {
    this.#worker.postMessage('end');
    return (await this.#message()) as LoadResult;
  }

  #message(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#worker.once('message', resolve);
      this.#worker.once('error', reject);
    });
  }
}

/** The numbers that a replica applies, by the rule of frames. */
function appliedIn(box: EntryBox): number[] {
  const applied: number[] = [];
  let last = 0;
  for (const { data } of box.entries) {
    const view = new DataView(data.buffer, data.byteOffset);
    const [follows, number] = [view.getFloat64(0), view.getFloat64(8)];
    if (follows > last || last >= number) continue;
    last = number;
    applied.push(number);
  }
  return applied;
}

function numbersTo(last: number): number[] {
  return Array.from({ length: last }, (_, at) => at + 1);
}

/** Which server leads the stream, as JetStream says. */
async function leaderOf(url: string): Promise<string> {
  const connection = await connectClient({ servers: url });
  const { cluster } = await (await connection.jetstreamManager()).streams.info('fh_c_g');
  await connection.close();
  return cluster?.leader ?? '';
}
