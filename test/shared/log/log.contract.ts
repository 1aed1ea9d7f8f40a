// What every log promises (shared/log/log.ts), as tests that run over any adapter. An adapter's own test file calls
// logContract() with a way to make connections that share their logs; what only some adapters can suffer is tested there.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { errorCodes } from '../../../shared/base/errors.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import type { GroupLog, LogEntry, LogSettings } from '../../../shared/log/log.ts';
import { markOf } from '../../../shared/log/mark.ts';
import { hasCode } from '../../support/busInbox.ts';
import { Appends, EntryBox, type TestTime, testSettings, textOf } from '../../support/logReaders.ts';
import { lifeContract, trimContract } from './lives.contract.ts';

/** One network of the kind under test. */
export interface LogFixture {
  connect(): Promise<Pick<Bus, 'openLog' | 'close'>>;
  readonly time: TestTime;
  readonly settings?: Partial<LogSettings>;
  close(): Promise<void>;
}

export interface LogTools extends TestTime {
  /** Connections of their own to a log that is new, or not there without `settings`. */
  open(count: number, settings?: Partial<LogSettings>): Promise<GroupLog[]>;
  /** The same without making it. */
  openMissing(count: number): Promise<GroupLog[]>;
  closeConnectionOf(log: GroupLog): Promise<void>;
  /** Appends frames with these texts and waits until they are stored. */
  fill(log: GroupLog, texts: readonly string[]): Promise<void>;
}

export function logContract(name: string, makeFixture: () => Promise<LogFixture>, skip: string | false = false): void {
  describe(`log contract over ${name}`, { skip, timeout: 120_000 }, () => {
    let fixture: LogFixture;
    const connections: Pick<Bus, 'close'>[] = [];
    const owners = new Map<GroupLog, Pick<Bus, 'close'>>();
    let groups = 0;
    before(async () => {
      fixture = await makeFixture();
    });
    after(async () => {
      if (fixture === undefined) return;
      for (const connection of connections) await fixture.time.wait(connection.close());
      await fixture.close();
    });

    const openAll = async (count: number, settings?: LogSettings): Promise<GroupLog[]> => {
      const group = `g${++groups}`;
      const logs: GroupLog[] = [];
      for (let at = 0; at < count; at++) {
        const connection = await fixture.time.wait(fixture.connect());
        connections.push(connection);
        const log = await fixture.time.wait(connection.openLog('test', group, settings));
        owners.set(log, connection);
        logs.push(log);
      }
      return logs;
    };
    const tools: LogTools = {
      until: (holds) => fixture.time.until(holds),
      wait: (promise) => fixture.time.wait(promise),
      open: (count, settings) => openAll(count, { ...testSettings, ...fixture.settings, ...settings }),
      openMissing: (count) => openAll(count),
      closeConnectionOf: (log) =>
        fixture.time.wait(owners.get(log)?.close() ?? Promise.reject(new Error('no log of ours'))),
      async fill(log, texts) {
        const appends = new Appends(log);
        for (const text of texts) appends.add('frame', text);
        await fixture.time.until(() => appends.areKnown);
        assert.equal(appends.count('stored'), texts.length);
      },
    };
    describe('appending and reading', () => orderContract(tools));
    describe('what a log no longer holds', () => trimContract(tools));
    describe('lives of a log', () => lifeContract(tools));
    describe('limits and faults of callers', () => limitContract(tools));
  });
}

function orderContract({ open, until, wait, fill }: LogTools): void {
  it('log - two appenders, two kinds, two readers: one order, the appenders own kept, outcomes say where', async () => {
    const [one, other, third] = await open(3);
    const boxes = [new EntryBox(one, { after: 0 }), new EntryBox(third, { after: 0 })];
    const appends = [new Appends(one), new Appends(other)];
    for (let at = 0; at < 400; at++) {
      for (const [who, from] of appends.entries()) from.add((at + who) % 3 === 0 ? 'command' : 'frame', `${who} ${at}`);
    }
    await until(() => boxes.every((box) => box.entries.length >= 800) && appends.every((from) => from.areKnown));
    assert.deepEqual(boxes[0].texts, boxes[1].texts);
    assert.deepEqual(boxes[0].entries, boxes[1].entries);
    for (const [who, from] of appends.entries()) {
      const texts = boxes[0].texts.filter((text) => text.split(' ')[1] === String(who));
      const sent = Array.from({ length: 400 }, (_, at) => `${(at + who) % 3 === 0 ? 'command' : 'frame'} ${who} ${at}`);
      assert.deepEqual(texts, sent);
      for (const [at, text] of sent.entries()) assert.equal(textOf(boxes[0].entries[from.positionOf(at) - 1]), text);
    }
    assert.deepEqual([one.stats.appended, third.stats.delivered, third.stats.handlerErrors], [400, 800, 0]);
    assert.equal(one.writable, true);
    const bounds = await wait(one.bounds());
    assert.deepEqual([bounds.first, bounds.last], [1, 800]);
  });

  it('log - reading begins behind any position, the last one too, and says what is pending', async () => {
    const [log, other] = await open(2);
    await fill(log, ['a', 'b', 'c', 'd', 'e']);
    for (const after of [0, 1, 4]) {
      const box = new EntryBox(other, { after });
      assert.equal(box.reader.position, after);
      await until(() => box.entries.length === 5 - after);
      assert.equal(box.texts.join(), ['frame a', 'frame b', 'frame c', 'frame d', 'frame e'].slice(after).join());
      assert.deepEqual([box.reader.position, box.reader.pending, box.reader.isLive], [5, 0, true]);
    }
    const box = new EntryBox(other, { after: 5 });
    let pendingAtFirst = -1;
    box.onEntry = () => {
      if (pendingAtFirst < 0) pendingAtFirst = box.reader.pending;
    };
    await until(() => box.reader.isLive);
    await fill(log, ['f', 'g']);
    await until(() => box.entries.length === 2);
    assert.deepEqual(box.texts, ['frame f', 'frame g']);
    assert.ok(pendingAtFirst === 0 || pendingAtFirst === 1);
  });

  it('log - a reader of some kinds gets those alone, in order, also behind a position', async () => {
    const [log, other] = await open(2);
    const appends = new Appends(log);
    for (let at = 1; at <= 20; at++) appends.add(at % 5 === 0 ? 'command' : 'frame', `entry ${at}`);
    await until(() => appends.areKnown);
    const box = new EntryBox(other, { after: 5, kinds: ['command'] });
    await until(() => box.entries.length === 3 && box.reader.pending === 0);
    appends.add('frame', 'entry 21');
    appends.add('command', 'entry 22');
    await until(() => box.entries.length === 4);
    assert.deepEqual(
      box.entries.map(({ position, kind }) => `${position} ${kind}`),
      ['10 command', '15 command', '20 command', '22 command'],
    );
  });

  it('log - an empty entry is an entry, and stamps are those of the log', async () => {
    const [log, other] = await open(2);
    const box = new EntryBox(other, { after: 0 });
    const appends = new Appends(log);
    for (const kind of ['frame', 'command'] as const) appends.add(kind, '');
    await until(() => box.entries.length === 2);
    assert.deepEqual(box.texts, ['frame ', 'command ']);
    for (const { position, timeMs, timeNs } of box.entries) {
      assert.ok(Number.isSafeInteger(timeMs) && Number.isSafeInteger(timeNs) && timeNs >= 0 && timeNs < 1_000_000);
      const got = await wait(log.get(position));
      assert.deepEqual([got?.timeMs, got?.timeNs], [timeMs, timeNs]);
    }
  });

  it('log - get: what a reader was given, with the same mark, and a copy', async () => {
    const [log, other] = await open(2);
    const box = new EntryBox(log, { after: 0 });
    const appends = new Appends(log);
    const data = Uint8Array.from({ length: 30_000 }, (_, at) => at * 31);
    appends.add('frame', data);
    appends.add('command', 'x');
    await until(() => box.entries.length === 2);
    for (const entry of box.entries) {
      const got = await wait(other.get(entry.position));
      assert.ok(got !== undefined);
      assert.deepEqual({ ...got, data: new Uint8Array(got.data) }, entry);
      assert.equal(markOf(got), markOf(entry));
      got.data.fill(0);
    }
    assert.deepEqual(new Uint8Array((await wait(other.get(1)))?.data ?? []), data);
    for (const position of [0, 3, 1_000]) assert.equal(await wait(other.get(position)), undefined);
  });

  it('log - a reader that reads in pieces, and one that is always there, see the same', async () => {
    const [log, other, third] = await open(3);
    const whole = new EntryBox(other, { after: 0 });
    const pieces: LogEntry[] = [];
    const appends = new Appends(log);
    let sent = 0;
    while (pieces.length < 300) {
      for (let at = 0; at < 25 && sent < 300; at++) appends.add('frame', String(sent++));
      const before = pieces.length;
      const box = new EntryBox(third, { after: before });
      box.onEntry = (entry) => {
        if (entry.position === before + 20) box.reader.stop();
      };
      const wanted = Math.min(20, sent - before);
      await until(() => box.entries.length >= wanted);
      assert.equal(box.entries.length, wanted, 'a reader that was stopped goes on');
      box.reader.stop();
      pieces.push(...box.entries);
    }
    await until(() => whole.entries.length === 300);
    assert.deepEqual(pieces, whole.entries);
  });

  it('log - the data of one reader is not that of another', async () => {
    const [log, other] = await open(2);
    const boxes = [log, log, other, other].map((one) => new EntryBox(one, { after: 0 }));
    for (const box of boxes) box.onEntry = (entry) => void entry.data.fill(0xee);
    const data = Uint8Array.of(1, 2, 3);
    new Appends(log).add('frame', data);
    await until(() => boxes.every((box) => box.entries.length === 1));
    for (const box of boxes) assert.deepEqual([...box.entries[0].data], [1, 2, 3]);
    assert.deepEqual([...((await wait(log.get(1)))?.data ?? [])], [1, 2, 3]);
  });
}

function limitContract({ open, until, wait, fill, closeConnectionOf }: LogTools): void {
  it('log - the largest entry goes through, one byte more is refused at once', async () => {
    const [log, other] = await open(2);
    const box = new EntryBox(other, { after: 0 });
    const most = new Uint8Array(log.maxEntryBytes).fill(7);
    assert.ok(most.length > 256 * 1024);
    const appends = new Appends(log);
    appends.add('frame', most);
    await until(() => appends.areKnown && box.entries.length === 1);
    assert.equal(appends.count('stored'), 1);
    assert.deepEqual(box.entries[0].data, most);
    assert.equal((await wait(log.get(1)))?.data.length, most.length);
    assert.throws(() => log.append('frame', new Uint8Array(most.length + 1)), hasCode(errorCodes.messageTooBig));
    await fill(log, ['after']);
    assert.equal((await wait(log.bounds())).last, 2);
  });

  it('log - callbacks that throw cost that entry, are counted, and nobody else notices', async () => {
    const [log, other] = await open(2);
    const [bad, good] = [new EntryBox(other, { after: 0 }), new EntryBox(other, { after: 0 })];
    bad.onEntry = () => {
      throw new Error('a handler that throws');
    };
    let told = 0;
    for (const text of ['a', 'b', 'c']) {
      log.append('frame', Buffer.from(text), () => {
        told++;
        throw new Error('an outcome that throws');
      });
    }
    other.read(
      { after: 999 },
      {
        onEntry: () => undefined,
        onBroken: () => {
          told++;
          throw new Error('an end that throws');
        },
      },
    );
    await until(() => bad.entries.length === 3 && good.entries.length === 3 && told === 4);
    assert.deepEqual([log.stats.handlerErrors, other.stats.handlerErrors], [3, 4]);
    await fill(log, ['d']);
    await until(() => bad.entries.length === 4 && good.entries.length === 4);
    assert.deepEqual(bad.texts, good.texts);
  });

  it('log - 16 MiB under way make it unwritable, every outcome comes once, and commands go in meanwhile', async () => {
    const [log] = await open(1);
    const appends = new Appends(log);
    let appended = 0;
    while (log.writable) {
      appends.add('frame', new Uint8Array(200_000));
      appended++;
    }
    assert.ok(appended > 20 && appended < 200, `${appended} entries of 200 kB`);
    appends.add('command', 'x');
    await until(() => appends.areKnown);
    assert.equal(appends.count('stored'), appended + 1);
    assert.equal(log.writable, true);
  });

  it('log - a reader that was stopped gets nothing more, and others go on', async () => {
    const [log, other] = await open(2);
    await fill(log, ['a']);
    const box = new EntryBox(other, { after: 0 });
    await until(() => box.entries.length === 1);
    box.reader.stop();
    box.reader.stop();
    await fill(log, ['b', 'c']);
    const later = new EntryBox(other, { after: 0 });
    await until(() => later.entries.length === 3);
    assert.deepEqual([box.entries.length, box.reader.isLive, box.broken], [1, false, []]);
  });

  it('log - a connection that was closed: every outcome comes, nothing is read or taken any more', async () => {
    const [log, other] = await open(2);
    const [box, elsewhere] = [new EntryBox(log, { after: 0 }), new EntryBox(other, { after: 0 })];
    await fill(log, ['a', 'b']);
    await until(() => box.entries.length === 2);
    const appends = new Appends(log);
    for (const text of ['c', 'd']) appends.add('frame', text);
    await closeConnectionOf(log);
    appends.add('frame', 'e');
    await until(() => appends.areKnown);
    assert.ok(appends.count('refused') >= 1 && appends.outcomes[2]?.kind === 'refused');
    assert.deepEqual([log.writable, box.reader.isLive], [false, false]);
    assert.throws(() => log.read({ after: 0 }, { onEntry() {}, onBroken() {} }), hasCode(errorCodes.busClosed));
    await assert.rejects(wait(log.bounds()), hasCode(errorCodes.busClosed));
    await assert.rejects(wait(log.make()), hasCode(errorCodes.busClosed));
    await fill(other, ['f']);
    await until(() => elsewhere.texts.includes('frame f'));
    assert.ok(!box.texts.includes('frame f'));
  });
}
