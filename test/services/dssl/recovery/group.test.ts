// Members of a group with a log: joining, failing, leaving, and logs that are lost, on production actors in one process.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeCommand } from '../../../../shared/log/records/command.ts';
import { decodeGossip } from '../../../../shared/membership/gossip.ts';
import { type Actor, GroupOfActors, hashOf } from '../../../support/groupOfActors.ts';

const states = (group: GroupOfActors) => group.actors.map(({ server, actor }) => `${server} ${actor.phase}`);

/** All packets that some server got, sorted: each once, or the assertion fails. */
function gotOnce(group: GroupOfActors): number[] {
  const all = group.actors.flatMap(({ got }) => got).sort((one, other) => one - other);
  assert.equal(new Set(all).size, all.length, 'a packet was accepted twice');
  return all;
}

function assertAlike(actors: readonly Actor[]): void {
  const [first, ...others] = actors.map(({ actor }) => actor.replica);
  assert.ok(first !== undefined);
  for (const other of others) {
    assert.ok(other !== undefined);
    assert.equal(other.position, first.position);
    assert.equal(other.globalFingerprint(), first.globalFingerprint());
    for (let slice = 0; slice < 256; slice++) assert.equal(other.digest(slice), first.digest(slice), `slice ${slice}`);
  }
}

async function started(count: number, group = new GroupOfActors()): Promise<GroupOfActors> {
  for (let index = 1; index <= count; index++) group.start(`s${index}`);
  const areActive = () => group.actors.every(({ actor }) => actor.phase === 'active');
  assert.ok(await group.until(areActive, 5_000), states(group).join(', '));
  return group;
}

const starts = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: from + index, flow: from + index, start: true }));
const packets = (from: number, flow: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: from + index, flow: flow + index }));
const ids = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index);

describe('group of actors', () => {
  it('group of actors - start together in a new log, and share the flows', async () => {
    const group = await started(3);
    await group.send(...starts(0, 300));
    await group.run(50);
    await group.send(...packets(1_000, 0, 300));
    await group.run(50);
    assert.deepEqual(gotOnce(group), [...ids(0, 300), ...ids(1_000, 300)]);
    assert.ok(group.actors.every(({ got }) => got.length > 100));
    assertAlike(group.actors);
    group.stop();
  });

  it('group of actors - a joiner fetches the state while packets flow, and no flow moves', async () => {
    const group = await started(2);
    await group.send(...starts(0, 500));
    const owners = () => new Map(group.actors.flatMap(({ server, got }) => got.map((id) => [id, server] as const)));
    const joiner = group.start('s3');
    for (let round = 1; joiner.actor.phase !== 'active'; round++) {
      assert.ok(round < 200, joiner.lines.join('\n'));
      await group.send(...packets(round * 1_000, 0, 500));
      await group.run(10);
    }
    await group.send(...starts(500_000, 300));
    await group.send(...packets(600_000, 0, 500));
    await group.run(50);
    gotOnce(group);
    const whose = owners();
    for (let flow = 0; flow < 500; flow++) assert.equal(whose.get(600_000 + flow), whose.get(flow));
    assert.ok(joiner.got.length > 50);
    assertAlike(group.actors);
    group.stop();
  });

  it('group of actors - a joiner says that it lives from the moment it asks to join, however late it reads of it', async () => {
    const group = await started(2);
    const states: (string | undefined)[] = [];
    group.hub.connect('ear').subscribe(group.subjects.gossip('g1'), (data) => {
      const message = decodeGossip(data);
      if (message?.kind === 'state' && message.server === 's3') states.push(message.state);
    });
    const joiner = group.start('s3');
    joiner.gate.hold();
    await group.run(5_000);
    assert.equal(joiner.actor.phase, 'outside');
    assert.equal(group.actors[0].actor.view.members.length, 3);
    assert.ok(states.length >= 5 && states.every((state) => state === 'joining'), `${states}`);
    joiner.gate.release();
    assert.ok(await group.until(() => joiner.actor.phase === 'active', 2_000));
    group.stop();
  });

  it('group of actors - a dead member is removed, and its flows are placed anew', async () => {
    const group = await started(3);
    await group.send(...starts(0, 300));
    await group.run(50);
    const [, dead] = group.actors;
    dead.stop();
    const isOut = () => group.actors[0].actor.view.members.length === 2;
    assert.ok(await group.until(isOut, 5_000));
    await group.send(...starts(1_000, 300));
    await group.run(50);
    const living = group.actors.filter((each) => each !== dead);
    assert.equal(living.flatMap(({ got }) => got).filter((id) => id >= 1_000).length, 300);
    assertAlike(living);
    group.stop();
  });

  it('group of actors - a member drains, leaves when its flows have ended, and nobody else notices', async () => {
    const group = await started(2);
    await group.send(...starts(0, 50));
    await group.run(50);
    const [first, second] = group.actors;
    let left = false;
    void second.actor.drain(60_000).then(() => {
      left = true;
    });
    assert.ok(await group.until(() => second.actor.phase === 'draining'));
    const before = second.got.length;
    await group.send(...starts(100, 50));
    await group.run(50);
    assert.equal(second.got.length, before);
    await group.send(...Array.from({ length: 50 }, (_, flow) => ({ id: 200 + flow, flow, end: true })));
    assert.ok(await group.until(() => left, 60_000));
    assert.equal(gotOnce(group).length, 150);
    assert.equal(first.actor.view.members.length, 1);
    group.stop();
  });

  it('group of actors - the log is deleted: it begins again, and flows stay with their servers', async () => {
    const group = await started(3);
    await group.send(...starts(0, 300));
    await group.run(50);
    const before = new Map(group.actors.map(({ server, got }) => [server, [...got]]));
    const log = await group.openLog();
    void log.destroy();
    const isBack = () =>
      group.actors.every(({ actor }) => actor.replica?.epoch?.number === 2 && actor.recovery.isWhole);
    assert.ok(await group.until(isBack, 20_000), group.actors.map(({ lines }) => lines.join('\n')).join('\n\n'));
    await group.send(...packets(1_000, 0, 300));
    await group.run(100);
    for (const { server, got } of group.actors) {
      const mine = got.filter((id) => id >= 1_000).map((id) => id - 1_000);
      assert.deepEqual(mine.sort(), before.get(server)?.sort());
    }
    assertAlike(group.actors);
    group.stop();
  });

  it('group of actors - all have died: a new one asks ten times, then begins empty', async () => {
    const group = await started(2);
    for (const { actor } of group.actors) actor.stop();
    await group.run(500);
    const heir = group.start('s9');
    await group.run(8_000);
    assert.equal(heir.actor.phase, 'outside');
    assert.ok(await group.until(() => heir.actor.phase === 'active', 10_000), heir.lines.join('\n'));
    assert.equal(heir.actor.replica?.epoch?.number, 2);
    group.stop();
  });

  it('group of actors - the last one leaves: the next one begins at once', async () => {
    const group = await started(1);
    const [first] = group.actors;
    let left = false;
    void first.actor.drain(1_000).then(() => {
      left = true;
    });
    assert.ok(await group.until(() => left, 5_000));
    first.stop();
    const next = group.start('s2');
    assert.ok(await group.until(() => next.actor.phase === 'active', 3_000), next.lines.join('\n'));
    group.stop();
  });

  it('group of actors - a replica that is alone with its digest restores the slice from a peer, loudly', async () => {
    const group = await started(3);
    await group.send(...starts(0, 300));
    await group.run(50);
    const [, broken] = group.actors;
    const table = broken.actor.replica?.table;
    const handle = table?.find(hashOf(7, 1), hashOf(7, 2), 1) ?? -1;
    assert.ok(handle >= 0);
    table?.remove(handle);
    const isMended = () => broken.actor.recovery.counters.repairs === 1 && broken.actor.recovery.isWhole;
    assert.ok(await group.until(isMended, 30_000));
    await group.run(1_000);
    assertAlike(group.actors);
    assert.equal(broken.lines.filter((line) => line.includes('digests differ')).length, 1);
    assert.ok(group.actors.every(({ actor }) => actor === broken.actor || actor.recovery.counters.repairs === 0));
    group.stop();
  });

  it('group of actors - one that differs twice in the same slice begins a new life', async () => {
    const group = await started(3);
    await group.send(...starts(0, 300));
    await group.run(50);
    const [, broken] = group.actors;
    for (let times = 0; times < 2; times++) {
      const table = broken.actor.replica?.table;
      const handle = table?.find(hashOf(7, 1), hashOf(7, 2), 1) ?? -1;
      assert.ok(handle >= 0);
      table?.remove(handle);
      assert.ok(await group.until(() => broken.actor.recovery.counters.repairs === times + 1, 30_000));
      await group.run(500);
    }
    assert.equal(broken.actor.phase, 'left');
    assert.match(broken.actor.lostBecause ?? '', /twice in a row/);
    group.stop();
  });

  it('group of actors - of two that remove each other, the order of the entries decides', async () => {
    const group = await started(3);
    const log = await group.openLog();
    const [one, other, third] = group.actors.map(({ actor }) => actor);
    const epoch = one.replica?.epoch?.id ?? '';
    const remove = (by: typeof one, whom: typeof one) =>
      log.append(
        'command',
        encodeCommand({ kind: 'remove', author: by.candidate, epoch, life: whom.candidate, handled: 0 }),
      );
    remove(one, other);
    remove(other, one);
    await group.run(100);
    assert.deepEqual([one.phase, other.phase, third.phase], ['active', 'left', 'active']);
    assert.equal(third.view.members.length, 2);
    group.stop();
  });

  it('group of actors - commands of another epoch change nothing', async () => {
    const group = await started(2);
    const log = await group.openLog();
    const [one, other] = group.actors.map(({ actor }) => actor);
    const life = other.candidate;
    log.append('command', encodeCommand({ kind: 'drain', author: one.candidate, epoch: 'of-old', life }));
    await group.run(100);
    assert.equal(other.phase, 'active');
    assert.equal(one.replica?.counters.ignoredCommands, 1);
    group.stop();
  });
});
