// What every log promises about entries that it no longer holds, and about logs that end early, are missing, or were made anew: the
// part of the contract (log.contract.ts) in which a reader cannot simply go on.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { errorCodes } from '../../../shared/base/errors.ts';
import { markOf } from '../../../shared/log/mark.ts';
import { hasCode } from '../../support/busInbox.ts';
import { Appends, EntryBox } from '../../support/logReaders.ts';
import type { LogTools } from './log.contract.ts';

export function trimContract({ open, until, wait, fill }: LogTools): void {
  it('log - trimmed by bytes: the newest stay, and who wants what is gone is told', async () => {
    const [log, other] = await open(2, { retention: { ageMs: 60_000, bytes: 200_000 } });
    const text = 'x'.repeat(10_000);
    for (let at = 0; at < 10; at++)
      await fill(
        log,
        Array.from({ length: 10 }, (_, i) => `${10 * at + i}${text}`),
      );
    const { first, last } = await wait(other.bounds());
    assert.equal(last, 100);
    assert.ok(first > 75 && first < 95, `first is ${first}`);
    assert.equal(await wait(other.get(first - 1)), undefined);
    assert.ok((await wait(other.get(first))) !== undefined);
    const [late, just] = [new EntryBox(other, { after: first - 2 }), new EntryBox(other, { after: first - 1 })];
    const fromStart = new EntryBox(other, { after: 0 });
    await until(() => late.broken.length + fromStart.broken.length === 2 && just.entries.length === 101 - first);
    assert.deepEqual([late.broken, fromStart.broken, just.broken], [['trimmed'], ['trimmed'], []]);
    assert.equal(late.entries.length + fromStart.entries.length, 0);
    assert.equal(late.reader.isLive, false);
    just.check();
  });

  it('log - trimmed by age: it becomes empty, positions go on, and who has read all of it goes on too', async () => {
    const [log, other] = await open(2, { retention: { ageMs: 300, bytes: 1_000_000 } });
    await fill(log, ['a', 'b', 'c']);
    await until(async () => (await wait(log.bounds())).first === 4);
    const { first, last } = await wait(log.bounds());
    assert.deepEqual([first, last, await wait(log.get(3))], [4, 3, undefined]);
    const [behind, upToDate] = [new EntryBox(other, { after: 2 }), new EntryBox(other, { after: 3 })];
    const expecting = new EntryBox(other, { after: 3, expect: { position: 3, mark: 12_345 } });
    await until(() => behind.broken.length === 1 && upToDate.reader.isLive && expecting.reader.isLive);
    await fill(log, ['d']);
    await until(() => upToDate.entries.length === 1 && expecting.entries.length === 1);
    assert.deepEqual([behind.broken, upToDate.texts, upToDate.entries[0].position], [['trimmed'], ['frame d'], 4]);
    const tooLate = new EntryBox(other, { after: 3, expect: { position: 3, mark: 12_345 } });
    await until(() => tooLate.broken.length === 1);
    assert.deepEqual([tooLate.broken, tooLate.texts], [['trimmed'], []]);
  });
}

export function lifeContract({ open, openMissing, until, wait, fill }: LogTools): void {
  it('log - a log that ends before the position, and one with another entry there', async () => {
    const [log, other] = await open(2);
    const box = new EntryBox(log, { after: 0 });
    await fill(log, ['a', 'b', 'c', 'd']);
    await until(() => box.entries.length === 4);
    const mark = markOf(box.entries[2]);
    const boxes = [
      new EntryBox(other, { after: 5 }),
      new EntryBox(other, { after: 3, expect: { position: 3, mark: mark ^ 1 } }),
      new EntryBox(other, { after: 3, expect: { position: 3, mark } }),
      new EntryBox(other, { after: 4, expect: { position: 3, mark } }),
      new EntryBox(other, { after: 4, expect: { position: 4, mark } }),
    ];
    await until(() => boxes[0].broken.length + boxes[1].broken.length + boxes[4].broken.length === 3);
    await until(() => boxes[2].entries.length === 1 && boxes[3].reader.isLive);
    await fill(log, ['e', 'f']);
    await until(() => boxes[2].entries.length === 3 && boxes[3].entries.length === 2);
    assert.deepEqual(
      boxes.map((one) => one.broken),
      [['shorter'], ['other'], [], [], ['other']],
    );
    assert.deepEqual(
      boxes.map((one) => one.texts.length),
      [0, 0, 3, 2, 0],
    );
    assert.equal(other.stats.handlerErrors, 0);
  });

  it('log - deleted and made anew: another identity, positions from 1, and old readers are told', async () => {
    const [log, other] = await open(2);
    await fill(log, ['a', 'b', 'c']);
    const before = await wait(log.bounds());
    const [three, none] = [new EntryBox(other, { after: 0 }), new EntryBox(other, { after: 3 })];
    const two = new EntryBox(other, { after: 0 });
    two.onEntry = (entry) => entry.position === 2 && two.reader.stop();
    await until(() => three.entries.length === 3 && two.entries.length === 2 && none.reader.isLive);
    await wait(log.destroy());
    await wait(other.destroy());
    await assert.rejects(wait(log.bounds()), hasCode(errorCodes.logMissing));
    const refused = new Appends(log);
    refused.add('command', 'x');
    await until(() => refused.areKnown);
    assert.equal(refused.count('refused'), 1);
    assert.equal(await wait(log.make()), true);
    assert.equal(await wait(other.make()), false);
    const bounds = await wait(other.bounds());
    assert.notEqual(bounds.identity, before.identity);
    assert.deepEqual([bounds.first, bounds.last], [1, 0]);
    await fill(log, ['A', 'B']);
    const again = new EntryBox(other, { after: 0 });
    await until(() => again.entries.length === 2 && three.broken.length + none.broken.length === 2);
    for (const box of [three, none]) assert.ok(box.broken[0] === 'other' || box.broken[0] === 'shorter');
    assert.deepEqual([again.texts, three.texts.length, two.broken], [['frame A', 'frame B'], 3, []]);
  });

  it('log - the identity stays while the log does, whoever asks', async () => {
    const [log, other] = await open(2);
    const { identity } = await wait(log.bounds());
    await fill(log, ['a']);
    assert.equal((await wait(other.bounds())).identity, identity);
    assert.equal(await wait(other.make()), false);
    assert.equal((await wait(log.bounds())).identity, identity);
    assert.notEqual((await wait((await open(1))[0].bounds())).identity, '');
  });

  it('log - one that is missing: said so, refused, and readers wait until it is made', async () => {
    const [log, other] = await openMissing(2);
    await assert.rejects(wait(log.bounds()), hasCode(errorCodes.logMissing));
    await assert.rejects(wait(log.get(1)), hasCode(errorCodes.logMissing));
    const box = new EntryBox(other, { after: 0 });
    const appends = new Appends(log);
    appends.add('frame', 'early');
    await until(() => appends.areKnown);
    assert.deepEqual([appends.count('refused'), log.stats.refused, box.reader.isLive], [1, 1, false]);
    assert.equal(await wait(log.make()), true);
    await fill(log, ['a', 'b']);
    await until(() => box.entries.length === 2);
    assert.deepEqual([box.texts, box.broken], [['frame a', 'frame b'], []]);
    await wait(log.destroy());
  });
}
