// An actor's hold on the log: one reader and one scout at a time, and a log that is made when it turns out to be missing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogLine } from '../../../services/dssl/logLine.ts';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import type { GroupLog, LogSettings } from '../../../shared/log/log.ts';
import { type Command, decodeCommand } from '../../../shared/log/records/command.ts';

const settings: LogSettings = { retention: { ageMs: 10_000, bytes: 2 ** 20 }, storage: 'memory', replicas: 1 };
const tick: Command = { kind: 'tick', author: { server: 'a', incarnation: 1 }, epoch: 'e' };

async function opened({ isMade = true } = {}) {
  const clock = new VirtualClock(1_000_000);
  const hub = new MemoryHub({ clock });
  const opening = hub.connect('a').openLog('c', 'g1', isMade ? settings : undefined);
  await clock.advanceAsync(1);
  const log: GroupLog = await opening;
  const told: string[] = [];
  const line = new LogLine(log, clock, {
    onEntry: ({ position, kind }) => told.push(`entry ${position} ${kind}`),
    onBroken: (reason) => told.push(`broken ${reason}`),
    onScouted: ({ position, data }) => told.push(`scouted ${position} ${decodeCommand(data)?.kind}`),
    onScoutBroken: () => told.push('scout broken'),
    onBounds: (bounds) => told.push(bounds === undefined ? 'no log' : `bounds ${bounds.first} ${bounds.last}`),
    onMade: (problem) => told.push(problem === undefined ? 'made' : `not made: ${problem}`),
  });
  /** What was told since it was asked last. */
  const next = async (ms = 1): Promise<string[]> => {
    await clock.advanceAsync(ms);
    return told.splice(0);
  };
  return { clock, hub, log, line, next };
}

test('log line - the reader gets all entries behind its position, the scout commands alone', async () => {
  const { log, line, next } = await opened();
  for (let times = 0; times < 2; times++) {
    log.append('frame', Buffer.from('frame'));
    line.append(tick);
  }
  line.read(1, undefined);
  assert.deepEqual(await next(), ['entry 2 command', 'entry 3 frame', 'entry 4 command']);
  assert.equal(line.isScoutCurrent, false, 'there is none yet');
  line.scout(0);
  assert.deepEqual(await next(), ['scouted 2 tick', 'scouted 4 tick']);
  assert.deepEqual([line.isScoutCurrent, line.isLive, line.pending], [true, true, 0]);
  line.append(tick);
  assert.equal(line.pending, 1);
  assert.deepEqual((await next()).sort(), ['entry 5 command', 'scouted 5 tick']);
});

test('log line - reading anew ends what was read before, and so do stops', async () => {
  const { line, next } = await opened();
  line.append(tick);
  line.read(0, undefined);
  line.read(0, undefined);
  line.scout(0);
  line.scout(0);
  assert.deepEqual((await next()).sort(), ['entry 1 command', 'scouted 1 tick']);
  line.stopReading();
  line.stopScouting();
  line.append(tick);
  assert.deepEqual(await next(), []);
  assert.deepEqual([line.isLive, line.isScoutCurrent, line.pending], [false, false, 0]);
});

test('log line - an entry that is another one than expected breaks the reader, a log that is gone the scout', async () => {
  const { log, line, next } = await opened();
  line.append(tick);
  line.read(1, { position: 1, mark: 12345 });
  assert.deepEqual(await next(), ['broken other']);
  line.scout(1);
  await next();
  void log.destroy();
  await next();
  void log.make();
  assert.deepEqual(await next(), ['scout broken']);
});

test('log line - looking at the log tells what it holds, or that there is none', async () => {
  const { log, line, next } = await opened();
  line.append(tick);
  line.look();
  assert.deepEqual(await next(), ['bounds 1 1']);
  void log.destroy();
  await next();
  line.look();
  assert.deepEqual(await next(), ['no log']);
});

test('log line - a log that takes nothing because it is gone is made, and looked at twice a second at most', async () => {
  const { log, line, next } = await opened();
  void log.destroy();
  await next();
  line.append(tick);
  line.append(tick);
  assert.deepEqual(await next(), ['made']);
  assert.equal(line.refused, 2);
  void log.destroy();
  await next();
  line.append(tick);
  assert.deepEqual(await next(), [], 'it was looked at a moment ago');
  await next(500);
  line.append(tick);
  assert.deepEqual(await next(), ['made']);
});

test('log line - one that may not make it says why; one that was there already is nothing to tell', async () => {
  const { line, next, log } = await opened();
  line.make();
  assert.deepEqual(await next(), []);
  const refusing: GroupLog = Object.assign(Object.create(log), {
    make: () => Promise.reject(new Error('not allowed')),
  });
  const told: (string | undefined)[] = [];
  const nothing = () => undefined;
  const other = new LogLine(refusing, new VirtualClock(), {
    ...{ onEntry: nothing, onBroken: nothing, onScouted: nothing, onScoutBroken: nothing, onBounds: nothing },
    onMade: (problem) => told.push(problem),
  });
  other.make();
  await next();
  assert.deepEqual(told, ['not allowed']);
});

test('log line - one that was stopped reads, appends, makes and tells nothing', async () => {
  const { log, line, next } = await opened();
  line.look();
  line.read(0, undefined);
  line.stop();
  line.append(tick);
  line.read(0, undefined);
  line.scout(0);
  log.append('frame', Buffer.from('frame'));
  assert.deepEqual(await next(100), []);
});
