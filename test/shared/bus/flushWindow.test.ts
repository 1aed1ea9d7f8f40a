// Backpressure by counting what the server has not confirmed; no server is needed here.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { FlushWindow } from '../../../shared/bus/flushWindow.ts';

/** A line on which the test answers the marks. */
function setUp(windowBytes = 1_600) {
  const clock = new VirtualClock();
  const marks: { confirm: () => void; fail: () => void }[] = [];
  let rooms = 0;
  const window = new FlushWindow({
    clock,
    windowBytes,
    flush: () =>
      new Promise((resolve, reject) => marks.push({ confirm: resolve, fail: () => reject(new Error('broke')) })),
    onRoom: () => rooms++,
  });
  return { clock, marks, window, rooms: () => rooms };
}

describe('flush window', () => {
  it('flush window - fills at its bound and opens when a mark is confirmed', async () => {
    const { clock, marks, window, rooms } = setUp();
    for (let at = 0; at < 15; at++) window.sent(100);
    assert.equal(window.full, false);
    window.sent(100);
    assert.equal(window.full, true);
    assert.equal(marks.length, 16);
    marks[0].confirm();
    await clock.advanceAsync(0);
    assert.equal(window.full, false);
    assert.equal(rooms(), 1);
  });

  it('flush window - a mark confirms everything before it, in whatever order answers are seen', async () => {
    const { clock, marks, window } = setUp();
    for (let at = 0; at < 16; at++) window.sent(100);
    marks[15].confirm();
    marks[3].confirm();
    await clock.advanceAsync(0);
    assert.deepEqual(window.broke(), { messages: 0, bytes: 0 });
  });

  it('flush window - the last bytes get a mark after a moment, and only one', async () => {
    const { clock, marks, window } = setUp();
    window.sent(1);
    window.sent(1);
    assert.equal(marks.length, 0);
    clock.advance(1_000);
    assert.equal(marks.length, 1);
    marks[0].confirm();
    await clock.advanceAsync(1_000);
    assert.equal(marks.length, 1);
    assert.equal(clock.pending, 0);
  });

  it('flush window - a break tells what was not confirmed, and answers from before it count for nothing', async () => {
    const { clock, marks, window } = setUp();
    window.sent(200);
    marks[0].confirm();
    await clock.advanceAsync(0);
    window.sent(300);
    window.sent(7);
    assert.deepEqual(window.broke(), { messages: 2, bytes: 307 });
    assert.equal(window.full, false);
    window.sent(500);
    marks[1].confirm();
    await clock.advanceAsync(0);
    assert.deepEqual(window.broke(), { messages: 1, bytes: 500 });
  });

  it('flush window - flush() confirms, and rejects when the line breaks', async () => {
    const { marks, window } = setUp();
    window.sent(1);
    const flushed = window.flush();
    marks[0].confirm();
    await flushed;
    assert.deepEqual(window.broke(), { messages: 0, bytes: 0 });
    const broken = window.flush();
    marks[1].fail();
    await assert.rejects(broken);
  });
});
