// The in-process bus: the contract that every bus keeps, and what is its own.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { errorCodes } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { hasCode } from '../../support/busInbox.ts';
import { busContract } from './bus.contract.ts';

busContract('the in-process bus', async () => {
  const hub = new MemoryHub();
  return { connect: async (options) => hub.connect('test', options), close: async () => undefined };
});

describe('the in-process bus', () => {
  it('memory - nothing moves until the clock does, and twice the same run gives the same order', () => {
    const run = (): string[] => {
      const clock = new VirtualClock();
      const hub = new MemoryHub({ clock });
      const log: string[] = [];
      const buses = ['a', 'b', 'c'].map((name) => hub.connect(name));
      for (const [at, bus] of buses.entries()) {
        bus.subscribe('x.*', (data, subject) => {
          log.push(`${at} ${subject} ${data[0]}`);
          if (data[0] < 3) bus.publish(subject, Uint8Array.of(data[0] + 1));
        });
      }
      buses[0].publish('x.y', Uint8Array.of(1));
      assert.deepEqual(log, []);
      clock.advance(0);
      return log;
    };
    const first = run();
    assert.equal(first.length, 3 + 9 + 27);
    assert.deepEqual(run(), first);
  });

  it('memory - what a handler publishes goes out in a later delivery, so nobody is starved', () => {
    const clock = new VirtualClock();
    const hub = new MemoryHub({ clock });
    const bus = hub.connect();
    let echoes = 0;
    bus.subscribe('echo', (data) => {
      if (++echoes < 100) bus.publish('echo', data);
    });
    bus.publish('echo', Uint8Array.of(1));
    let between = 0;
    clock.defer(function again() {
      between++;
      if (echoes < 100) clock.defer(again);
    });
    clock.runAll();
    assert.equal(echoes, 100);
    assert.ok(between >= 99);
  });

  it('memory - data kept after the callback is overwritten, as a socket buffer would be', () => {
    const clock = new VirtualClock();
    const bus = new MemoryHub({ clock }).connect();
    const kept: Uint8Array[] = [];
    bus.subscribe('a', (data) => kept.push(data));
    bus.publish('a', Uint8Array.of(1, 1));
    bus.publish('a', Uint8Array.of(2, 2));
    clock.runAll();
    assert.deepEqual([...kept[0]], [2, 2]);
    assert.equal(kept[0].byteOffset % 2, 1);
  });

  it('memory - the publisher may write to a Buffer or a view as soon as it has published', () => {
    const clock = new VirtualClock();
    const bus = new MemoryHub({ clock }).connect();
    const seen: number[][] = [];
    bus.subscribe('a', (data) => seen.push([...data]));
    const buffer = Buffer.from([1, 2, 3, 4]);
    bus.publish('a', buffer);
    bus.publish('a', buffer.subarray(1, 3));
    buffer.fill(0);
    clock.runAll();
    assert.deepEqual(seen, [
      [1, 2, 3, 4],
      [2, 3],
    ]);
  });

  it('memory - the window is what is not delivered, and opens when it is', async () => {
    const clock = new VirtualClock();
    const hub = new MemoryHub({ clock });
    const [one, other] = [hub.connect(), hub.connect()];
    one.publish('nobody', new Uint8Array(1_000_000));
    while (one.writable) one.publish('nobody', new Uint8Array(1_000_000));
    assert.ok(one.stats.publishedBytes >= limits.busWindowBytes);
    assert.ok(one.stats.publishedBytes < limits.busWindowBytes + 1_000_000);
    assert.equal(other.writable, true);
    const opened = one.whenWritable();
    clock.runAll();
    await opened;
    assert.equal(one.writable, true);
  });

  it('memory - key-value operations run under a virtual clock', async () => {
    const clock = new VirtualClock();
    const store = hubStore(clock);
    let revision: number | undefined;
    void store.then(async (kv) => {
      revision = await kv.create('map', Uint8Array.of(1));
    });
    await clock.advanceAsync(1);
    assert.equal(revision, 1);
  });

  it('open - an address without a hub, and one that is no address, are refused', async () => {
    await assert.rejects(openBus('embedded', { name: 'x' }), hasCode(errorCodes.badConfig));
    await assert.rejects(openBus('http://a:1', { name: 'x' }), hasCode(errorCodes.badConfig));
    await assert.rejects(openBus('nats://me:secret@a:1', { name: 'x' }), (error: Error) => {
      return hasCode(errorCodes.badConfig)(error) && !error.message.includes('secret');
    });
    const bus = await openBus('embedded', { name: 'x', hub: new MemoryHub() });
    assert.equal(bus.kind, 'embedded');
    await bus.close();
  });
});

function hubStore(clock: VirtualClock) {
  return new MemoryHub({ clock }).connect().openKeyValue('fh_x');
}
