// The reader over JetStream, in virtual time against a stream that shows the faults a real server shows only now and then.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import { JetStreamLog } from '../../../../shared/log/jetstream/log.ts';
import type { EntryMark, LogEntry, ReadOptions } from '../../../../shared/log/log.ts';
import { markOf } from '../../../../shared/log/mark.ts';
import { EntryBox } from '../../../support/logReaders.ts';
import { FakeJetStream } from './fakeJetStream.ts';

class Bench {
  readonly clock = new VirtualClock(1_764_512_345_678);
  readonly stream = new FakeJetStream(this.clock);
  readonly log = new JetStreamLog(this.stream, 'c', 'g', undefined);
  box!: EntryBox;

  read(options: ReadOptions = { after: 0 }): Promise<void> {
    this.box = new EntryBox(this.log, options);
    return this.pass(1);
  }

  /** Lets time pass, with a heartbeat and what there is to push every 100 ms. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      this.stream.push();
      this.stream.heartbeat();
      await this.clock.advanceAsync(Math.min(100, left));
    }
    this.stream.push();
  }

  add(...texts: string[]): void {
    for (const text of texts) this.stream.add(text);
  }

  get texts(): string {
    return this.box.texts.map((text) => text.replace('frame ', '')).join('');
  }

  get restarted(): number {
    return this.log.stats.readersRestarted;
  }
}

const markAt = (position: number, text: string): EntryMark => {
  const entry: LogEntry = { position, timeMs: 1_764_512_345_678, timeNs: 42, kind: 'frame', data: Buffer.from(text) };
  return { position, mark: markOf(entry) };
};

describe('JetStream reader', () => {
  it('reader - in good weather it asks once and gets everything', async () => {
    const bench = new Bench();
    bench.add('a', 'b');
    await bench.read();
    bench.add('c', 'd');
    await bench.pass(500);
    assert.deepEqual([bench.texts, bench.restarted, bench.box.reader.pending], ['abcd', 0, 0]);
    assert.deepEqual(bench.box.entries[3].timeNs, 42);
    assert.deepEqual(bench.stream.requests, ['$JS.API.STREAM.INFO.fh_c_g', '$JS.API.CONSUMER.CREATE.fh_c_g']);
    bench.box.reader.stop();
    await bench.pass(10_000);
    assert.equal(bench.clock.pending, 0);
  });

  it('reader - a message lost on the way is read again, by the gap or by the heartbeat', async () => {
    const bench = new Bench();
    await bench.read();
    bench.stream.lost.add(2);
    bench.add('a', 'b', 'c', 'd');
    await bench.pass(300);
    assert.deepEqual([bench.texts, bench.restarted], ['abcd', 1]);
    bench.stream.lost.add(6);
    bench.add('e', 'f');
    await bench.pass(300);
    assert.deepEqual([bench.texts, bench.restarted], ['abcdef', 2]);
    assert.equal(bench.stream.consumers, 1);
  });

  it('reader - a consumer that is gone: three heartbeats are missing, then another one', async () => {
    const bench = new Bench();
    bench.add('a');
    await bench.read();
    await bench.pass(700);
    assert.equal(bench.box.reader.isLive, true);
    bench.stream.forgetConsumers();
    bench.add('b');
    await bench.pass(1_300);
    assert.deepEqual([bench.box.reader.isLive, bench.restarted, bench.texts], [false, 0, 'a']);
    await bench.pass(1_000);
    assert.deepEqual([bench.box.reader.isLive, bench.restarted, bench.texts], [true, 1, 'ab']);
  });

  it('reader - the server says that the consumer was deleted', async () => {
    const bench = new Bench();
    await bench.read();
    bench.stream.heartbeat({}, '', 409);
    bench.stream.forgetConsumers();
    bench.add('a');
    await bench.pass(400);
    assert.equal(bench.texts, 'a');
  });

  it('reader - flow control is answered, and a consumer that is stalled', async () => {
    const bench = new Bench();
    await bench.read();
    bench.stream.heartbeat({}, '$JS.FC.1');
    bench.stream.heartbeat({ 'Nats-Consumer-Stalled': '$JS.FC.2' });
    assert.deepEqual(bench.stream.answered, ['$JS.FC.1', '$JS.FC.2']);
    assert.deepEqual([bench.restarted, bench.box.entries.length], [0, 0]);
  });

  it('reader - trimmed while it stood still: a consumer would skip ahead silently', async () => {
    const bench = new Bench();
    bench.add('a', 'b');
    await bench.read();
    bench.add('c', 'd', 'e');
    bench.stream.trim(5);
    await bench.pass(300);
    assert.deepEqual([bench.texts, bench.box.broken], ['ab', ['trimmed']]);
    await bench.pass(5_000);
    assert.equal(bench.stream.consumers, 0);
  });

  it('reader - a hole in the middle is trimmed too, not a reason to begin for ever', async () => {
    const bench = new Bench();
    bench.add('a', 'b', 'c', 'd');
    bench.stream.kept.splice(2, 1);
    await bench.read();
    await bench.pass(10_000);
    assert.deepEqual([bench.texts, bench.box.broken], ['ab', ['trimmed']]);
    assert.ok(bench.restarted < 10);
  });

  it('reader - shorter, found while it waits beyond the end', async () => {
    const bench = new Bench();
    bench.add('a', 'b', 'c');
    await bench.read();
    bench.stream.kept = [];
    bench.stream.last = 1;
    await bench.pass(900);
    assert.deepEqual(bench.box.broken, []);
    await bench.pass(1_500);
    assert.deepEqual([bench.texts, bench.box.broken], ['abc', ['shorter']]);
  });

  it('reader - a new leader of several that does not know all of it yet is given time', async () => {
    for (const staleMs of [700, 60_000]) {
      const bench = new Bench();
      bench.stream.replicas = 3;
      bench.add('a', 'b', 'c');
      await bench.read();
      bench.log.disconnected();
      bench.stream.staleLast = 2;
      bench.log.reconnected();
      await bench.pass(staleMs > 700 ? 5_000 : staleMs);
      bench.stream.staleLast = undefined;
      bench.add('d');
      await bench.pass(2_000);
      assert.deepEqual([bench.texts, bench.box.broken], staleMs === 700 ? ['abcd', []] : ['abc', ['shorter']]);
    }
  });

  it('reader - another entry at its position, found when it is connected again', async () => {
    const bench = new Bench();
    bench.add('a', 'b', 'c');
    await bench.read();
    bench.log.disconnected();
    bench.add('d');
    bench.log.reconnected();
    await bench.pass(100);
    assert.deepEqual([bench.texts, bench.box.broken], ['abcd', []]);
    bench.log.disconnected();
    // The server lost its last entries, and others have taken their positions.
    bench.stream.kept.splice(2, 2);
    bench.stream.last = 2;
    bench.add('C', 'D', 'E');
    bench.log.reconnected();
    await bench.pass(1_000);
    assert.deepEqual([bench.texts, bench.box.broken], ['abcd', ['other']]);
  });

  it('reader - made anew and grown past its position: the time of creation tells', async () => {
    const bench = new Bench();
    bench.add('a');
    await bench.read();
    bench.log.disconnected();
    bench.stream.created = 'another time';
    bench.add('b', 'c');
    bench.log.reconnected();
    await bench.pass(1_000);
    assert.deepEqual([bench.texts, bench.box.broken], ['a', ['other']]);
  });

  it('reader - what is expected is compared before the first entry', async () => {
    for (const [text, broken] of [
      ['b', 0],
      ['x', 1],
    ] as const) {
      const bench = new Bench();
      bench.add('a', 'b', 'c');
      await bench.read({ after: 2, expect: markAt(2, text) });
      assert.deepEqual([bench.texts, bench.box.broken.length], [broken === 0 ? 'c' : '', broken]);
    }
  });

  it('reader - nine seconds without a leader are survived silently', async () => {
    const bench = new Bench();
    bench.stream.replicas = 3;
    bench.add('a');
    await bench.read();
    bench.stream.hasLeader = false;
    bench.stream.isSilent = true;
    await bench.pass(9_000);
    assert.equal(bench.box.reader.isLive, false);
    bench.stream.hasLeader = true;
    bench.stream.isSilent = false;
    bench.add('b');
    await bench.pass(1_300);
    assert.deepEqual([bench.texts, bench.box.broken, bench.box.reader.isLive], ['ab', [], true]);
  });

  it('reader - the stream is gone and comes back as it was', async () => {
    const bench = new Bench();
    bench.add('a');
    await bench.read();
    bench.stream.exists = false;
    bench.stream.forgetConsumers();
    await bench.pass(5_000);
    assert.equal(bench.box.reader.isLive, false);
    bench.stream.exists = true;
    bench.add('b');
    await bench.pass(1_300);
    assert.deepEqual([bench.texts, bench.box.broken], ['ab', []]);
  });

  it('reader - an entry of a kind that nobody knows is passed over and counted', async () => {
    const bench = new Bench();
    await bench.read();
    bench.add('a');
    bench.stream.add('?', 'other');
    await bench.pass(100);
    assert.deepEqual([bench.box.entries.length, bench.box.reader.position, bench.log.stats.handlerErrors], [1, 2, 1]);
    assert.match(bench.stream.failures[0], /entry 2 on fh\.c\.log\.g\.other/);
  });

  it('reader - stopped inside its handler, at whatever point, it is silent', async () => {
    const bench = new Bench();
    bench.add('a', 'b', 'c');
    bench.box = new EntryBox(bench.log, { after: 0 });
    bench.box.onEntry = () => bench.box.reader.stop();
    await bench.pass(3_000);
    assert.deepEqual([bench.texts, bench.stream.consumers, bench.clock.pending], ['a', 0, 0]);
    const early = new EntryBox(bench.log, { after: 0 });
    early.reader.stop();
    await bench.pass(3_000);
    assert.deepEqual([early.entries.length, bench.clock.pending], [0, 0]);
  });
});
