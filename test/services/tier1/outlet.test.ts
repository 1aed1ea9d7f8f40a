// The way of one group's frames to the log: numbers, lives, and frames that wait for those of an earlier life.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Appender, type AppenderHooks, Outlet } from '../../../services/tier1/outlet.ts';
import { limits } from '../../../shared/base/limits.ts';

/** An appender whose log answers when the test says so. */
class HandAppender implements Appender {
  writable = true;
  readonly window: { readonly number: number; readonly packets: number; readonly bytes: number }[] = [];
  readonly #hooks: AppenderHooks;
  #position = 0;
  #isStopped = false;

  constructor(hooks: AppenderHooks) {
    this.#hooks = hooks;
  }

  get isIdle(): boolean {
    return this.window.length === 0;
  }

  get unacknowledgedBytes(): number {
    return this.window.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  offer(message: Uint8Array, number: number, packets: number): boolean {
    if (!this.#isStopped && this.writable) return this.window.push({ number, packets, bytes: message.length }) > 0;
    this.#hooks.onDropped(packets, this.#isStopped ? 'log-down' : 'log-full', false, number);
    return false;
  }

  /** The log has stored so many of what is under way. */
  store(count = this.window.length): void {
    for (const each of this.window.splice(0, count))
      this.#hooks.onAcknowledged?.({ ...each, position: ++this.#position });
  }

  drop(): void {
    const { number, packets } = this.window.shift()!;
    this.#hooks.onDropped(packets, 'log-down', true, number);
  }

  whenWritable(): Promise<void> {
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  stop(): void {
    this.#isStopped = true;
    for (const { number, packets } of this.window.splice(0)) this.#hooks.onDropped(packets, 'log-down', false, number);
  }
}

function outlet({ windowBytes = 1_000, maxFrameBytes = 500 } = {}) {
  const appenders: HandAppender[] = [];
  const said: string[] = [];
  const made = new Outlet({
    tier1Id: 't1',
    windowBytes,
    maxFrameBytes,
    makeAppender: (hooks) => {
      const appender = new HandAppender(hooks);
      appenders.push(appender);
      return appender;
    },
    onSend: undefined,
    onStored: ({ life, number }) => said.push(`${life} ${number} stored`),
    onLost: ({ life, number }, cause, isUncertain) =>
      said.push(`${life} ${number} ${cause}${isUncertain ? ', perhaps' : ''}`),
    onSettled: () => said.push('settled'),
  });
  let nowMs = 1_000;
  let wallMs = 5_000_000;
  return {
    outlet: made,
    appenders,
    said,
    pass: (ms: number, wall = ms) => {
      nowMs += ms;
      wallMs += wall;
    },
    send: (bytes = 100) => {
      const { life, number } = made.next(nowMs, wallMs);
      made.take(new Uint8Array(bytes), 1);
      return `${life} ${number}`;
    },
  };
}

test('outlet - frames are numbered from 1, and told as stored in order', () => {
  const { send, said, appenders } = outlet();
  assert.deepEqual([send(), send(), send()], ['t1 1', 't1 2', 't1 3']);
  appenders[0].store(2);
  assert.deepEqual(said, ['t1 1 stored', 't1 2 stored']);
  appenders[0].store();
  assert.deepEqual(said.slice(2), ['t1 3 stored', 'settled']);
});

test('outlet - the number of a frame that was not taken is used again', () => {
  const { send, said, appenders } = outlet();
  send();
  appenders[0].writable = false;
  assert.deepEqual([send(), send()], ['t1 2', 't1 2']);
  appenders[0].writable = true;
  assert.equal(send(), 't1 2');
  assert.equal(send(501), 't1 3');
  assert.equal(send(500), 't1 3');
  assert.deepEqual(said, ['t1 2 log-full', 't1 2 log-full', 't1 3 oversize']);
});

test('outlet - after a long silence a life of numbers begins anew; shorter ones do not', () => {
  const { send, pass, appenders } = outlet();
  pass(2 * limits.lifeSilentMs);
  assert.equal(send(), 't1 1', 'a life without a frame needs no other');
  appenders[0].store();
  pass(limits.lifeSilentMs - 1);
  assert.equal(send(), 't1 2');
  appenders[0].store();
  pass(limits.lifeSilentMs);
  assert.deepEqual([send(), send()], ['t1.2 1', 't1.2 2']);
  assert.equal(appenders.length, 2);
});

test('outlet - the machine slept: monotonic time stood still, wall time tells', () => {
  const { send, pass, appenders } = outlet();
  send();
  appenders[0].store();
  pass(10, limits.lifeSilentMs);
  assert.equal(send(), 't1.2 1');
  appenders[1].store();
  pass(10, -limits.lifeSilentMs);
  assert.equal(send(), 't1.3 1', 'a clock that was set back may hide a silence');
});

test('outlet - another line of the group: the next frame is of a new life, at once when nothing is under way', () => {
  const { outlet: made, send, appenders } = outlet();
  made.renew();
  assert.equal(send(), 't1 1');
  appenders[0].store();
  made.renew();
  assert.equal(send(), 't1.2 1');
  assert.deepEqual([appenders[0].window.length, appenders[1].window.length], [0, 1]);
});

test('outlet - frames of a new life wait until those of the old one are stored or lost, and keep their order', () => {
  const { outlet: made, send, said, appenders } = outlet();
  send();
  send();
  made.renew();
  assert.deepEqual([send(), send()], ['t1.2 1', 't1.2 2']);
  assert.deepEqual([made.isHolding, made.writable, made.isIdle], [true, false, false]);
  made.renew();
  assert.equal(send(), 't1.2 3', 'a life that has not begun in the log needs no other');
  appenders[0].store(1);
  assert.equal(appenders.length, 1);
  appenders[0].drop();
  assert.deepEqual(
    appenders[1].window.map(({ number }) => number),
    [1, 2, 3],
  );
  assert.deepEqual([made.isHolding, made.writable, made.isIdle], [false, true, false]);
  assert.deepEqual(said, ['t1 1 stored', 't1 2 log-down, perhaps'], 'it is not settled yet');
  for (let frame = 0; frame < 3; frame++) appenders[1].store(1);
  assert.deepEqual(said.slice(2), ['t1.2 1 stored', 't1.2 2 stored', 't1.2 3 stored', 'settled']);
});

test('outlet - what is held is bounded', () => {
  const { outlet: made, send, said, appenders } = outlet({ windowBytes: 250 });
  send();
  made.renew();
  assert.deepEqual([send(), send(), made.hasRoom], ['t1.2 1', 't1.2 2', true]);
  assert.equal(send(), 't1.2 3');
  assert.deepEqual(said, ['t1.2 3 log-full']);
  assert.equal(send(50), 't1.2 3');
  assert.ok(!made.hasRoom);
  appenders[0].store();
  assert.equal(appenders[1].window.length, 3);
});

test('outlet - at its end everything is lost and said, what is held too, and nothing is taken any more', () => {
  const { outlet: made, send, said } = outlet();
  send();
  made.renew();
  send();
  made.stop();
  assert.deepEqual(said, ['t1 1 log-down', 't1.2 1 log-down']);
  assert.ok(made.isIdle);
  send();
  assert.match(said[2], /log-down/);
});
