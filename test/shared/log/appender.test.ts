// The appender of frames: its rules one by one in virtual time, and then at random against a log that has bad days.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { errorCodes } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { type AppendDropCause, FrameAppender, type FrameAppenderOptions } from '../../../shared/log/appender.ts';
import type { GroupLog } from '../../../shared/log/log.ts';
import { hasCode } from '../../support/busInbox.ts';
import { EntryBox, testSettings } from '../../support/logReaders.ts';
import { type Fate, ModelLog, messageOf, setFollows } from '../../support/modelLog.ts';

interface Dropped {
  readonly number: number;
  readonly cause: AppendDropCause;
  readonly isUncertain: boolean;
}

class Bench {
  readonly clock = new VirtualClock(1_000_000);
  readonly log: ModelLog;
  readonly appender: FrameAppender;
  readonly acknowledged: number[] = [];
  readonly dropped: Dropped[] = [];
  offered = 0;

  constructor(seed: number, options: Partial<FrameAppenderOptions> = {}) {
    this.log = new ModelLog(this.clock, new Prng(seed));
    this.appender = new FrameAppender({
      log: this.log as unknown as GroupLog,
      clock: this.clock,
      setFollows,
      onDropped: (packets, cause, isUncertain, number) => {
        assert.equal(packets, number % 7);
        this.dropped.push({ number, cause, isUncertain });
      },
      onAcknowledged: ({ number, packets }) => {
        assert.equal(packets, number % 7);
        this.acknowledged.push(number);
      },
      ...options,
    });
  }

  offer(count = 1, bytes = 16): void {
    for (let at = 0; at < count; at++) {
      const number = ++this.offered;
      this.appender.offer(messageOf(number, bytes), number, number % 7);
    }
  }

  get causes(): string {
    return this.dropped.map(({ number, cause, isUncertain }) => `${number} ${cause}${isUncertain ? ' ?' : ''}`).join();
  }
}

describe('appender', () => {
  it('appender - in good weather: in order, nothing twice, no timer left', () => {
    const bench = new Bench(1);
    bench.log.answerMs = 5;
    for (let at = 0; at < 50; at++) {
      bench.offer(4);
      assert.equal(bench.appender.isIdle, false);
      bench.clock.advance(1);
    }
    bench.clock.advance(100);
    assert.deepEqual(bench.log.applied, numbers(1, 200));
    assert.deepEqual(bench.acknowledged, numbers(1, 200));
    assert.deepEqual([bench.log.entries, bench.dropped.length, bench.appender.isIdle], [200, 0, true]);
    assert.deepEqual([bench.appender.unacknowledged, bench.clock.pending], [0, 0]);
  });

  it('appender - a refusal: the rest is stored and ignored, one probe a pause, then everything again', () => {
    const bench = new Bench(1);
    bench.offer(2);
    bench.log.fates = ['refused'];
    bench.offer(1);
    bench.log.fates = ['stored'];
    bench.offer(2);
    bench.clock.advance(10);
    assert.deepEqual([bench.log.applied, bench.acknowledged, bench.log.entries], [[1, 2], [1, 2], 4]);
    assert.equal(bench.appender.writable, false);
    bench.log.fates = ['refused'];
    bench.clock.advance(3_000);
    // After 250, 500, 1,000 and 1,000 ms.
    assert.equal(bench.log.ends.refused, 1 + 4);
    bench.log.fates = ['stored'];
    bench.offer(1);
    bench.clock.advance(1_000);
    assert.deepEqual([bench.log.applied, bench.acknowledged], [numbers(1, 6), numbers(1, 6)]);
    assert.equal(bench.appender.writable, true);
    assert.equal(bench.log.entries, 8);
  });

  it('appender - an answer that is lost: sent again, applied once, acknowledged in order', () => {
    const bench = new Bench(1);
    bench.log.fates = ['answerLost'];
    bench.offer(1);
    bench.log.fates = ['stored'];
    bench.offer(3);
    bench.clock.advance(1_900);
    assert.deepEqual([bench.log.applied, bench.acknowledged], [numbers(1, 4), []]);
    bench.clock.advance(1_000);
    assert.deepEqual([bench.log.applied, bench.acknowledged, bench.log.entries], [numbers(1, 4), numbers(1, 4), 8]);
  });

  it('appender - too old: dropped and counted, and what comes next follows the number before the gap', () => {
    const bench = new Bench(1);
    bench.offer(3);
    bench.clock.advance(10);
    bench.log.fates = ['refused'];
    bench.offer(3);
    bench.clock.advance(limits.appendAgeMs - 5_000);
    bench.offer(2);
    bench.clock.advance(5_001);
    assert.equal(bench.causes, '4 log-down,5 log-down,6 log-down');
    bench.log.fates = ['stored'];
    bench.clock.advance(2_000);
    bench.offer(1);
    bench.clock.advance(10);
    assert.equal(bench.log.lastFollows, 8);
    assert.deepEqual(bench.log.applied, [1, 2, 3, 7, 8, 9]);
    assert.deepEqual(bench.acknowledged, [1, 2, 3, 7, 8, 9]);
  });

  it('appender - dropped although a copy of it was stored: said to be uncertain, and the next one applies all the same', () => {
    for (const fate of ['answerLost', 'lost'] as const) {
      const bench = new Bench(1);
      bench.log.fates = [fate];
      bench.offer(1);
      bench.log.fates = ['refused'];
      bench.offer(1);
      bench.clock.advance(limits.appendAgeMs + 2_000);
      assert.equal(bench.causes, '1 log-down ?,2 log-down');
      bench.log.fates = ['stored'];
      bench.offer(1);
      bench.clock.advance(2_000);
      assert.deepEqual(bench.log.applied, fate === 'lost' ? [3] : [1, 3]);
      assert.equal(bench.log.lastFollows, 0);
      assert.deepEqual(bench.acknowledged, [3]);
    }
  });

  it('appender - nothing is dropped while a copy of it is under way', () => {
    const bench = new Bench(1);
    bench.log.fates = ['refused'];
    bench.offer(1);
    bench.clock.advance(limits.appendAgeMs - 500);
    bench.log.fates = ['stored'];
    bench.log.answerMs = 0;
    bench.log.fates = ['answerLost'];
    bench.clock.advance(1_600);
    assert.deepEqual([bench.log.applied, bench.dropped, bench.appender.unacknowledged], [[1], [], 1]);
    bench.clock.advance(1_000);
    assert.equal(bench.causes, '1 log-down ?');
  });

  it('appender - the window is full: dropped as such, and it takes again when there is room', async () => {
    const bench = new Bench(1, { windowBytes: 10_000 });
    bench.log.fates = ['refused'];
    bench.offer(12, 1_000);
    assert.equal(bench.causes, '11 log-full,12 log-full');
    assert.deepEqual([bench.appender.unacknowledged, bench.appender.unacknowledgedBytes], [10, 10_000]);
    bench.log.fates = ['stored'];
    let opened = false;
    void bench.appender.whenWritable().then(() => {
      opened = true;
    });
    await bench.clock.advanceAsync(200);
    assert.equal(opened, false);
    await bench.clock.advanceAsync(100);
    assert.equal(opened, true);
    bench.offer(2);
    bench.clock.advance(10);
    assert.deepEqual(bench.log.applied, [...numbers(1, 10), 13, 14]);
  });

  it('appender - a log that is not writable is not asked; what waits goes out when it is', async () => {
    const bench = new Bench(1);
    bench.log.writable = false;
    bench.offer(5);
    bench.clock.advance(3_000);
    assert.deepEqual([bench.log.ends.refused, bench.appender.unacknowledged], [0, 5]);
    let opened = false;
    void bench.appender.whenWritable().then(() => {
      opened = true;
    });
    bench.log.writable = true;
    await bench.clock.advanceAsync(20);
    assert.deepEqual([bench.log.applied, opened], [numbers(1, 5), true]);
    bench.log.writable = false;
    const late = bench.appender.whenWritable();
    bench.clock.advance(20);
    bench.log.writable = true;
    await bench.clock.advanceAsync(20);
    await late;
  });

  it('appender - a log that was made anew, with positions from 1, is no reason to wait for ever', () => {
    const bench = new Bench(1);
    bench.offer(5);
    bench.log.startAgain();
    bench.offer(5);
    bench.clock.advance(2_000);
    assert.deepEqual([bench.log.applied, bench.acknowledged], [numbers(1, 10), numbers(1, 10)]);
  });

  it('appender - flush and stop: both end, what is left is dropped, late outcomes change nothing', async () => {
    const bench = new Bench(1);
    bench.log.answerMs = 50;
    bench.offer(3);
    let flushed = 0;
    const flush = (): void => {
      void bench.appender.flush().then(() => flushed++);
    };
    flush();
    await bench.clock.advanceAsync(60);
    assert.equal(flushed, 1);
    flush();
    bench.log.fates = ['answerLost'];
    bench.offer(1);
    flush();
    const waiting = bench.appender.whenWritable();
    await waiting;
    bench.log.writable = false;
    const never = assert.rejects(bench.appender.whenWritable(), hasCode(errorCodes.busClosed));
    bench.offer(1);
    bench.appender.stop();
    bench.appender.stop();
    await never;
    await bench.clock.advanceAsync(30_000);
    assert.equal(flushed, 3);
    bench.offer(1);
    assert.equal(bench.causes, '4 log-down ?,5 log-down,6 log-down');
    await assert.rejects(bench.appender.whenWritable(), hasCode(errorCodes.busClosed));
    assert.deepEqual([bench.appender.isIdle, bench.clock.pending], [true, 0]);
  });

  it('appender - offering inside the hooks, hooks that throw, and a message above the limit', () => {
    const bench: Bench = new Bench(1, {
      onAcknowledged: ({ number }) => {
        if (number < 50) bench.offer(1);
        if (number === 20) throw new Error('a hook that throws');
      },
    });
    const guarded = bench.log.append.bind(bench.log);
    bench.log.append = (kind, data, onOutcome) =>
      guarded(kind, data, (outcome) => {
        try {
          onOutcome?.(outcome);
        } catch {
          // every log guards its callbacks
        }
      });
    bench.offer(1);
    bench.clock.advance(200);
    assert.deepEqual(bench.log.applied, numbers(1, 50));
    assert.throws(() => bench.appender.offer(new Uint8Array(2_000_000), 99, 1), hasCode(errorCodes.messageTooBig));
  });

  it('appender - over the log in one process', () => {
    const clock = new VirtualClock();
    const hub = new MemoryHub({ clock });
    void hub.connect().openLog('c', 'g', testSettings).then(run);
    let sum = 0;
    function run(log: GroupLog): void {
      const box = new EntryBox(log, { after: 0 });
      const appender = new FrameAppender({
        log,
        clock,
        setFollows,
        onDropped: () => assert.fail('dropped'),
        onAcknowledged: ({ position, bytes }) => {
          sum += position + bytes;
        },
      });
      for (let number = 1; number <= 100; number++) appender.offer(messageOf(number), number, 1);
      clock.advance(1);
      assert.equal(box.entries.length, 100);
      assert.equal(sum, 100 * 16 + 5_050);
    }
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => assert.ok(sum > 0));
  });
});

describe('appender at random', () => {
  const weathers: readonly (readonly Fate[])[] = [
    ['stored'],
    ['stored'],
    ['stored', 'stored', 'stored', 'stored', 'stored', 'stored', 'stored', 'stored', 'refused'],
    ['stored', 'stored', 'stored', 'stored', 'answerLost', 'lost', 'storedLate', 'refused'],
    ['refused'],
    ['lost'],
    ['answerLost'],
    ['storedLate'],
    ['stored', 'storedLate'],
    ['stored', 'refused'],
    ['stored', 'slow'],
    ['slow', 'refused', 'stored', 'answerLost'],
  ];
  /** A log that was made anew can be told from entries that overtook one another only where they never do. */
  const ordered = weathers.filter((fates) => !fates.includes('slow'));
  const isDefinite = (fate: Fate): boolean => fate === 'stored' || fate === 'slow' || fate === 'refused';
  const definite = weathers.filter((fates) => fates.every(isDefinite));

  /** One story: offers and weather, then good weather, or the end. Returns how many were dropped, and how many had been stored. */
  function story(seed: number, choices: readonly (readonly Fate[])[]): { dropped: number; both: number } {
    const prng = new Prng(seed);
    const bench = new Bench(seed, { windowBytes: 2_000 + prng.below(40_000), ageMs: 2_000 + prng.below(15_000) });
    for (let turn = 2 + prng.below(30); turn > 0; turn--) {
      bench.log.fates = choices[prng.below(choices.length)];
      bench.log.writable = prng.below(8) > 0;
      bench.log.answerMs = [0, 3, 200, 1_500][prng.below(4)];
      if (choices === ordered && prng.below(10) === 0) bench.log.startAgain();
      const pauseMs = [1, 50, 1_000][prng.below(3)];
      for (let at = prng.below(40); at > 0; at--) {
        bench.offer(prng.below(4), 16 + prng.below(500));
        bench.clock.advance(prng.below(pauseMs));
      }
    }
    const isStopped = prng.below(4) === 0;
    if (isStopped) bench.appender.stop();
    bench.log.fates = ['stored'];
    bench.log.writable = true;
    bench.clock.advance(60_000);
    assert.equal(bench.appender.isIdle, true);
    assert.equal(bench.clock.pending, 0);

    const { applied } = bench.log;
    const acknowledged = new Set(bench.acknowledged);
    const dropped = new Map(bench.dropped.map((one) => [one.number, one]));
    assert.deepEqual(
      applied,
      applied.toSorted((one, other) => one - other),
      'out of order',
    );
    assert.equal(new Set(applied).size, applied.length, 'applied twice');
    assert.deepEqual(
      bench.acknowledged,
      bench.acknowledged.toSorted((one, other) => one - other),
    );
    assert.equal(acknowledged.size + dropped.size, bench.offered, 'each is acknowledged or dropped');
    assert.equal(bench.acknowledged.length + bench.dropped.length, bench.offered, 'nothing is told twice');
    const isApplied = new Set(applied);
    for (const number of acknowledged) assert.ok(isApplied.has(number), `${number} acknowledged and not applied`);
    let both = 0;
    for (const number of applied) {
      if (!dropped.has(number)) continue;
      both++;
      assert.equal(dropped.get(number)?.isUncertain, true, `${number} was surely dropped, and is applied`);
    }
    if (bench.log.ends.unknown === 0 && !isStopped) assert.equal(both, 0, 'both, and nothing was unknown');
    return { dropped: dropped.size, both };
  }

  it('appender - every message is applied once and in order, or dropped and counted', () => {
    let dropped = 0;
    let both = 0;
    for (let seed = 1; seed <= 1_500; seed++) {
      const end = inSeed(seed, () => story(seed, seed % 3 === 0 ? ordered : weathers));
      dropped += end.dropped;
      both += end.both;
    }
    // The stories must have been hard enough to say something.
    assert.ok(dropped > 1_000 && both > 10, `${dropped} dropped, ${both} of them stored`);
  });

  it('appender - where every outcome is definite nothing is both applied and dropped', () => {
    let dropped = 0;
    for (let seed = 1; seed <= 500; seed++) dropped += inSeed(seed, () => story(seed, definite)).dropped;
    assert.ok(dropped > 100);
  });
});

function inSeed<T>(seed: number, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => from + at);
}
