// The heir of a dead server reads the log a second time: what it hands out, and what happens when the log does not have it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Replay } from '../../../../services/dssl/failover/replay.ts';
import { limits } from '../../../../shared/base/limits.ts';
import type { LogEntry } from '../../../../shared/log/log.ts';
import { markOf } from '../../../../shared/log/mark.ts';
import { lifeOf, TestLog, udp } from '../replica/support.ts';

/** Frames at positions 1 to 6, of which a replay wants rows of 2, 3 and 5. */
class Case {
  readonly log = new TestLog();
  readonly said: string[] = [];
  readonly replay: Replay;
  mayHand = true;

  constructor() {
    for (let flow = 1; flow <= 6; flow++)
      this.log.frame([
        { flow, flags: udp },
        { flow: flow + 10, flags: udp },
      ]);
    this.replay = new Replay({
      hold: ({ position }) => this.said.push(`hold ${position}`),
      release: () => this.said.push('release'),
      reread: (after) => this.said.push(`read ${after}`),
      stopRereading: () => this.said.push('stop'),
      lookAtLog: () => this.said.push('look'),
      mayHand: () => this.mayHand,
      hand: (frame, due) => this.said.push(`hand ${due.position}: ${due.rows.map((row) => frame.hashLo(row))}`),
      tell: (kind, fields, message) => this.said.push(`${kind}: ${message} ${JSON.stringify(fields)}`),
    });
  }

  entry(position: number): LogEntry {
    return this.log.entries[position - 1];
  }

  begin(isWhole = true, position = 6): void {
    const frames = [2, 3, 5].map((position) => ({
      position,
      mark: markOf(this.entry(position)),
      rows: position === 3 ? [0, 1] : [1],
      hi: [],
      lo: [],
      due: [],
      isRepeat: true,
    }));
    const heritage = {
      life: lifeOf('x'),
      number: 0,
      handled: 1,
      position,
      mark: 9,
      frames,
      packets: 4,
      isWhole,
      since: 0,
    };
    this.replay.begin(heritage, 0);
  }

  give(...positions: readonly number[]): void {
    for (const position of positions) this.replay.onEntry(this.entry(position), 0);
  }

  /** What was said since the last time, without what is for people. */
  take(): string[] {
    return this.said.splice(0).filter((line) => !/^(info|warn):/.test(line));
  }
}

test('replay - a removal that is read again, because older state was fetched, is dealt with once', () => {
  const one = new Case();
  one.begin();
  one.give(2, 3, 4, 5, 6);
  one.take();
  one.begin();
  assert.deepEqual([one.take(), one.replay.isRunning], [[], false]);
  const other = new Case();
  other.begin();
  other.give(2);
  other.replay.onBroken('other', 0);
  other.take();
  other.begin();
  assert.ok(other.replay.isRunning, 'what was given up is tried again');
});

test('replay - the main reader waits until the rows are out, in order', () => {
  const one = new Case();
  one.begin();
  assert.deepEqual(one.take(), ['hold 6', 'read 1']);
  assert.ok(one.replay.isRunning);
  one.give(2, 3, 4);
  assert.deepEqual(one.take(), ['hand 2: 12', 'hand 3: 3,13']);
  one.give(5, 6);
  assert.deepEqual(one.take(), ['hand 5: 15', 'stop', 'release']);
  assert.ok(!one.replay.isRunning);
  assert.deepEqual(one.replay.counters, { replays: 1, replayedRows: 4, unreplayed: 0, partialReplays: 0 });
});

test('replay - whoever inherits nothing goes on; whoever does not remember everything says so', () => {
  const one = new Case();
  const nothing = { life: lifeOf('x'), number: 0, handled: 1, position: 6, mark: 9, frames: [], packets: 0, since: 0 };
  one.replay.begin({ ...nothing, isWhole: true }, 0);
  assert.deepEqual(one.said, []);
  one.replay.begin({ ...nothing, isWhole: false }, 0);
  assert.match(one.said[0], /^warn: .*does not remember/);
  assert.deepEqual([one.replay.counters.replays, one.replay.counters.partialReplays], [0, 1]);
});

test('replay - what was trimmed is counted and said, and the rest comes', () => {
  const one = new Case();
  one.begin();
  one.replay.onBroken('trimmed', 0);
  assert.deepEqual(one.take(), ['hold 6', 'read 1', 'look']);
  one.replay.onBounds({ identity: 'l', first: 4, last: 6 }, 0);
  assert.deepEqual(one.take(), ['read 4']);
  one.give(5);
  assert.match(one.said.join('\n'), /warn: .*could not be replayed .*"unreplayed":3/);
  assert.deepEqual([one.replay.counters.replayedRows, one.replay.counters.unreplayed], [1, 3]);
});

test('replay - trimmed in the middle without a word, or wholly', () => {
  const one = new Case();
  one.begin();
  one.give(5);
  assert.deepEqual(one.take(), ['hold 6', 'read 1', 'hand 5: 15', 'stop', 'release']);
  assert.equal(one.replay.counters.unreplayed, 3);
  const other = new Case();
  other.begin();
  other.replay.onBroken('trimmed', 0);
  other.replay.onBounds({ identity: 'l', first: 7, last: 6 }, 0);
  assert.deepEqual(other.take().slice(-2), ['stop', 'release']);
  assert.equal(other.replay.counters.unreplayed, 4);
});

test('replay - another log, or another entry in its place, is not taken', () => {
  const one = new Case();
  one.begin();
  one.give(2);
  one.replay.onBroken('other', 0);
  assert.deepEqual(one.take().slice(-2), ['stop', 'release']);
  assert.equal(one.replay.counters.unreplayed, 3);
  const other = new Case();
  other.begin();
  other.replay.onEntry({ ...other.entry(2), data: other.entry(3).data }, 0);
  assert.deepEqual(other.take().slice(-2), ['stop', 'release']);
  assert.equal(other.replay.counters.unreplayed, 4);
});

test('replay - without a lease it waits, asks for nothing, and goes on where it was; what it comes by meanwhile follows', () => {
  const one = new Case();
  one.begin();
  one.give(2);
  one.take();
  one.mayHand = false;
  one.give(3, 5);
  assert.deepEqual(one.take(), ['stop']);
  for (let nowMs = 0; nowMs < 100_000; nowMs += limits.replayQuietMs) one.replay.tick(nowMs);
  one.replay.onBroken('other', 0);
  assert.deepEqual([one.take(), one.replay.isRunning], [[], true]);
  one.begin(true, 9);
  one.begin(true, 12);
  assert.deepEqual(one.take(), ['hold 9', 'hold 12']);
  one.mayHand = true;
  one.replay.goOn(0);
  one.give(3, 5);
  assert.deepEqual(one.take(), ['read 2', 'hand 3: 3,13', 'hand 5: 15', 'stop', 'read 1']);
  one.give(2, 3, 5);
  assert.deepEqual(one.take(), ['hand 2: 12', 'hand 3: 3,13', 'hand 5: 15', 'stop', 'read 1']);
  one.give(2, 3, 5);
  assert.deepEqual(one.take(), ['hand 2: 12', 'hand 3: 3,13', 'hand 5: 15', 'stop', 'release']);
  assert.deepEqual(one.replay.counters, { replays: 3, replayedRows: 12, unreplayed: 0, partialReplays: 0 });
});

test('replay - what waits for a lease is given up where the log is followed from elsewhere on', () => {
  const one = new Case();
  one.begin();
  one.mayHand = false;
  one.give(2);
  one.replay.clear(0);
  assert.deepEqual(one.take().slice(-2), ['stop', 'release']);
  assert.equal(one.replay.counters.unreplayed, 4);
});

test('replay - a log that gives nothing is asked, and given up in the end; a pause counts once', () => {
  const one = new Case();
  one.begin();
  let nowMs = 100_000;
  one.replay.tick(nowMs);
  assert.deepEqual(one.take(), ['hold 6', 'read 1', 'look']);
  one.replay.onBounds({ identity: 'l', first: 1, last: 6 }, nowMs);
  assert.deepEqual(one.take(), [], 'it reads on');
  for (let each = 0; each < limits.replayAsks; each++) one.replay.tick((nowMs += limits.replayQuietMs));
  assert.deepEqual(one.take().slice(-2), ['stop', 'release']);
  assert.equal(one.replay.counters.unreplayed, 4);
  one.give(2);
  assert.deepEqual(one.take(), [], 'too late');
});
