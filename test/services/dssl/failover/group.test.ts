// Production actors on one log: servers die, and their heirs get what they had not handled.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Case } from './support.ts';

test('failover - an heir hears of each flow once, and of the end of those that are over', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.group.run(3_000);
  one.crash('c');
  one.told.length = 0;
  const ids = [...(await one.send()), ...(await one.send())];
  await one.untilOut('c');
  const served = one.served();
  assert.ok(ids.every((id) => served.has(id)));
  const promoted = one.told.filter((line) => / promoted /.test(line));
  assert.ok(promoted.length > 5);
  await one.send();
  await one.send({ end: true });
  await one.send({ end: true, isBack: true });
  await one.group.run(3_000);
  assert.deepEqual(
    one.told.filter((line) => / promoted /.test(line)),
    promoted,
    'once',
  );
  assert.equal(new Set(promoted).size, promoted.length);
  one.group.stop();
});

test('failover - flows that do not go on at an heir end there', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  one.crash('c');
  one.told.length = 0;
  await one.send({ start: true });
  await one.untilOut('c');
  const promoted = one.told.filter((line) => / promoted /.test(line));
  assert.ok(promoted.length > 5);
  // Of a connection of which only the start came, the group knows nothing any more after four minutes.
  await one.group.run(250_000);
  for (const line of promoted) assert.ok(one.told.includes(line.replace('promoted', 'idle')), line);
  for (const { actor, isStopped } of one.group.actors) assert.equal(isStopped ? 0 : actor.failover.held.size, 0);
  one.group.stop();
});

test('failover - two servers die at once, one of them the heir of the other: nothing is lost, and connections go on', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c', 'd');
  await one.send({ start: true });
  await one.group.run(2_000);
  one.crash('c', 'd');
  const ids: number[] = [];
  for (let turn = 0; turn < 10; turn++) ids.push(...(await one.send()));
  await one.untilOut('c', 'd');
  ids.push(...(await one.send()));
  const served = one.served();
  assert.deepEqual(
    ids.filter((id) => !served.has(id)),
    [],
  );
  assert.equal(one.counters().unreplayed, 0);
  one.group.stop();
});

test('failover - what a server has said that it is done with is not replayed', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.send();
  await one.group.run(3_000);
  one.crash('c');
  await one.untilOut('c');
  assert.deepEqual(one.counters(), { replays: 0, replayedRows: 0, unreplayed: 0, partialReplays: 0 });
  one.group.stop();
});

test('failover - what the log has trimmed is counted and said, and the group goes on', async () => {
  const one = new Case({ bytes: 3_000 });
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.group.run(2_000);
  one.crash('c');
  const ids: number[] = [];
  for (let turn = 0; turn < 12; turn++) ids.push(...(await one.send()));
  await one.untilOut('c');
  const { unreplayed, replayedRows } = one.counters();
  assert.ok(unreplayed > 0 && replayedRows > 0, `${unreplayed} ${replayedRows}`);
  const served = one.served();
  assert.equal(ids.filter((id) => !served.has(id)).length, unreplayed);
  assert.ok(one.group.actors.some(({ lines }) => lines.some((line) => /could not be replayed/.test(line))));
  const later = await one.send();
  assert.ok(later.every((id) => one.served().has(id)));
  one.group.stop();
});

test('failover - the log is lost while an heir replays: the group goes on, and says what is missing', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.group.run(2_000);
  one.crash('c');
  await one.send();
  const { group } = one;
  let isLost = false;
  const log = await group.openLog();
  group.onApplied = (_, replica, { heritage }) => {
    if (heritage === undefined || isLost) return;
    isLost = true;
    void log.destroy();
    assert.equal(replica.view.members.length, 2);
  };
  assert.ok(await group.until(() => isLost, 10_000));
  group.onApplied = () => undefined;
  const living = () => group.actors.filter(({ isStopped }) => !isStopped);
  assert.ok(
    await group.until(
      () => living().every(({ actor }) => actor.recovery.isWhole && (actor.replica?.epoch?.number ?? 0) > 1),
      60_000,
    ),
  );
  assert.ok(await group.until(() => living().every(({ actor }) => !actor.failover.replay.isRunning), 20_000));
  const { replays, replayedRows, unreplayed } = one.counters();
  assert.ok(replays > 0 && replayedRows + unreplayed > 0);
  const later = await one.send();
  // After so long a silence members look through the log ahead of them first.
  assert.ok(await group.until(() => later.every((id) => one.served().has(id)), 1_000));
  group.stop();
});
