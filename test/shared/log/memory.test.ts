// The log inside one process: the contract that every log keeps, in real and in virtual time, and what is its own.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { errorCodes } from '../../../shared/base/errors.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { hasCode } from '../../support/busInbox.ts';
import { Appends, EntryBox, realTime, testSettings, virtualTime } from '../../support/logReaders.ts';
import { logContract } from './log.contract.ts';

logContract('one process', async () => {
  const hub = new MemoryHub();
  return { connect: async () => hub.connect(), time: realTime, close: async () => undefined };
});

logContract('one process under a virtual clock', async () => {
  const clock = new VirtualClock(1_764_000_000_000);
  const hub = new MemoryHub({ clock });
  return { connect: async () => hub.connect(), time: virtualTime(clock), close: async () => undefined };
});

const small = { ...testSettings, retention: { ageMs: 1_000, bytes: 100_000 } };

describe('the log in one process', () => {
  it('memory log - nothing moves until the clock does, and the same run twice gives the same', async () => {
    const run = async (): Promise<string[]> => {
      const clock = new VirtualClock(5_000);
      const bus = new MemoryHub({ clock }).connect();
      const log = await bus.openLog('c', 'g', testSettings);
      const boxes = [new EntryBox(log, { after: 0 }), new EntryBox(log, { after: 0 })];
      for (const [at, box] of boxes.entries()) {
        box.onEntry = (entry) => {
          if (entry.position < 20) log.append('command', Buffer.from(`${at} saw ${entry.position}`));
        };
      }
      log.append('frame', Buffer.from('first'));
      await new Promise<void>((resolve) => setImmediate(resolve));
      assert.equal(boxes[0].entries.length, 0);
      clock.advance(0);
      assert.equal((await virtualTime(clock).wait(log.bounds())).identity, 'memory-5000-1');
      return boxes.flatMap((box) => box.texts);
    };
    const first = await run();
    assert.ok(first.length >= 2 * 39);
    assert.deepEqual(await run(), first);
  });

  it('memory log - data is a copy at an odd address that the next delivery overwrites', async () => {
    const clock = new VirtualClock();
    const log = await new MemoryHub({ clock }).connect().openLog('c', 'g', testSettings);
    const kept: Uint8Array[] = [];
    log.read({ after: 0 }, { onEntry: ({ data }) => void kept.push(data), onBroken: () => undefined });
    const data = Buffer.from([1, 1]);
    log.append('frame', data);
    data.fill(9);
    log.append('frame', Buffer.from([2, 2]));
    clock.advance(0);
    assert.deepEqual([[...kept[0]], kept[0].byteOffset % 2], [[2, 2], 1]);
    assert.deepEqual([...((await virtualTime(clock).wait(log.get(1)))?.data ?? [])], [1, 1]);
  });

  it('memory log - what a running reader has not read is not trimmed: frames are refused, commands go in', async () => {
    const clock = new VirtualClock();
    const hub = new MemoryHub({ clock });
    const [writer, user] = [hub.connect(), hub.connect()];
    const log = await writer.openLog('c', 'g', small);
    const box = new EntryBox(await user.openLog('c', 'g'), { after: 0 });
    clock.advance(0);
    const appends = new Appends(log);
    // All in one turn: the reader gets nothing meanwhile.
    for (let at = 0; at < 30; at++) appends.add('frame', new Uint8Array(10_000).fill(at));
    appends.add('command', new Uint8Array(20_000));
    assert.equal(log.writable, false);
    clock.advance(0);
    assert.deepEqual([appends.count('stored'), appends.count('refused')], [10, 21]);
    assert.equal(appends.positionOf(30), 10);
    assert.deepEqual([box.entries.length, box.entries[9].kind, log.stats.refused], [10, 'command', 21]);
    box.check();
    assert.equal(log.writable, true);
    appends.add('frame', new Uint8Array(50_000));
    clock.advance(0);
    assert.equal(appends.positionOf(31), 11);
  });

  it('memory log - a reader that is far behind does not keep the others from what is new', async () => {
    const clock = new VirtualClock();
    const log = await new MemoryHub({ clock }).connect().openLog('c', 'g', testSettings);
    for (let at = 0; at < 300; at++) log.append('frame', new Uint8Array(100_000));
    clock.advance(0);
    const order: string[] = [];
    const far = new EntryBox(log, { after: 0 });
    const near = new EntryBox(log, { after: 300 });
    far.onEntry = ({ position }) => position === 301 && order.push('far');
    near.onEntry = () => order.push('near');
    log.append('frame', new Uint8Array(1));
    clock.runAll();
    assert.deepEqual(order, ['near', 'far']);
    assert.equal(far.entries.length, 301);
    far.check();
  });

  it('memory log - a long run through little room keeps positions, bytes and memory', async () => {
    const clock = new VirtualClock();
    const log = await new MemoryHub({ clock }).connect().openLog('c', 'g', small);
    let seen = 0;
    let wrong = 0;
    const onEntry = ({ position, data }: { position: number; data: Uint8Array }): void => {
      seen++;
      if (data.length !== sizeOf(position) || data[0] !== (position & 0xff) || data.at(-1) !== (position & 0xff))
        wrong++;
    };
    log.read({ after: 0 }, { onEntry, onBroken: () => undefined });
    const sizeOf = (position: number): number => 1 + ((position * 7_919) % 40_000);
    for (let position = 1; position <= 20_000; position++) {
      log.append('frame', new Uint8Array(sizeOf(position)).fill(position));
      if (position % 2 === 0) clock.advance(0);
    }
    assert.deepEqual([seen, wrong, log.stats.appended], [20_000, 0, 20_000]);
    const { first, last } = await virtualTime(clock).wait(log.bounds());
    assert.ok(last === 20_000 && first > 19_980 && first < 20_000);
  });

  it('memory log - a closed connection: nothing more is read or taken, and what was appended is told', async () => {
    const clock = new VirtualClock();
    const bus = new MemoryHub({ clock }).connect();
    const log = await bus.openLog('c', 'g', testSettings);
    const box = new EntryBox(log, { after: 0 });
    const appends = new Appends(log);
    appends.add('frame', 'a');
    const closing = bus.close();
    appends.add('frame', 'b');
    await virtualTime(clock).wait(closing);
    assert.deepEqual([appends.count('stored'), appends.count('refused'), box.entries.length], [1, 1, 0]);
    assert.equal(log.writable, false);
    assert.throws(() => log.read({ after: 0 }, { onEntry() {}, onBroken() {} }), hasCode(errorCodes.busClosed));
    await assert.rejects(log.bounds(), hasCode(errorCodes.busClosed));
    await assert.rejects(bus.openLog('c', 'g'), hasCode(errorCodes.busClosed));
  });
});
