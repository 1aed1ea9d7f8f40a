// Members that missed frames: how long others' answers keep them waiting. That they take no packet that is another's is in
// the transcripts of holes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leave } from '../../../../shared/membership/transitions.ts';
import { fin, groupOf, type Row, syn, type TestGroup, tcp, udp } from '../../../support/group.ts';

/** Steps of 100 ms, each with a frame; control messages arrive in every `controlEvery`-th, 0 for never. */
function steps(group: TestGroup, count: number, controlEvery: number, rows: Row[]): void {
  for (let step = 1; step <= count; step++) {
    group.send(rows);
    for (const module of group.modules) {
      while (group.deliver(module, 't1'));
      if (controlEvery === 0 || step % controlEvery !== 0) continue;
      for (const source of [...module.inbox.keys()]) while (group.deliver(module, source));
    }
    group.tick(100);
  }
}

test('missed - two members that both missed frames, and have others waiting in between, do not wait for one another', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-6' });
  const [a, b] = group.modules;
  const lostBy = [a, b, undefined, a, b, undefined];
  const packets = lostBy.map((loser, index) => {
    const [packet] = group.send([{ flow: index + 1, flags: syn }]);
    for (const module of group.modules) {
      if (module === loser) group.lose(module, 't1');
      else group.deliver(module, 't1');
    }
    return packet;
  });
  assert.ok(a.core.streams.get('t1')?.waiting.length === 4 && b.core.streams.get('t1')?.waiting.length === 3);
  group.settle(10);
  for (const { core, name } of group.modules) {
    assert.equal(core.missed.isAny, false, name);
    assert.equal(core.counters.unsureDrops, 0, name);
  }
  for (const [index, packet] of packets.entries()) {
    assert.equal(group.packets.get(packet)?.size, lostBy[index] === undefined ? 2 : 1);
    assert.ok(group.acceptedBy(packet).length <= 1);
  }
});

test('missed - a member that has to give up frames is told all the same, however long answers take', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-6' });
  const [a, b] = group.modules;
  const rows: Row[] = [{ flow: 1, flags: tcp }];
  group.send(rows);
  group.lose(a, 't1');
  // Nobody tells a anything for so long that it gives up frame after frame ...
  steps(group, 25, 0, rows);
  assert.ok(a.core.counters.unsureDrops > 0);
  // ... and then it takes longer to be told than until it gives up the next one.
  steps(group, 12, 3, rows);
  assert.equal(a.core.missed.isAny, false);
  assert.equal(b.core.missed.resyncs, 0);
});

test('missed - an answer from before frames of a tier 1 were missed does not count for them when it is silent on it', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-6' });
  const [a, b] = group.modules;
  // a asks because of t1. The answer of b, which has not heard t2 yet, is under way when a misses a start by t2.
  group.send([]);
  group.send([]);
  group.lose(a, 't1');
  group.deliver(a, 't1');
  while (group.deliver(b, 't1'));
  group.tick(20);
  while (group.deliver(b, 'a'));
  group.tick(20);
  const [start] = group.send([{ flow: 1, flags: syn }], { tier1: 't2' });
  group.lose(a, 't2');
  group.send([], { tier1: 't2' });
  group.deliver(a, 't2');
  group.deliver(a, 'b');
  group.tick(20);
  assert.equal(a.core.missed.isAny, true);
  group.settle(10);
  assert.equal(a.core.missed.isAny, false);
  assert.equal(group.packets.get(start)?.size, 1);
  assert.equal(a.core.decider.recentStarts.size, 1);
});

/** From now on all new flows are this server's. */
function favour(group: TestGroup, server: string): void {
  group.propose((view) => ({
    ...view,
    number: view.number + 1,
    members: view.members.map((member) => ({ ...member, weight: member.server === server ? 100 : 0 })),
  }));
  for (const module of group.modules) while (group.deliver(module, 'store'));
}

for (const typeOneMethod of ['fig-6', 'fig-7'] as const) {
  test(`missed - a start that was missed comes again through another tier 1, by a newer view (${typeOneMethod})`, () => {
    const group = groupOf(2, { typeOneMethod });
    const [a, b] = group.modules;
    favour(group, 'a');
    group.now({ flow: 9, flags: tcp }, { tier1: 't2' });
    const [missed] = group.send([{ flow: 1, flags: syn }]);
    group.lose(b, 't1');
    group.send([]);
    for (const module of [a, b]) while (group.deliver(module, 't1'));
    favour(group, 'b');
    const [again] = group.send([{ flow: 1, flags: syn }], { tier1: 't2' });
    for (const module of [a, b]) while (group.deliver(module, 't2'));
    group.settle(5);
    assert.deepEqual([group.acceptedBy(missed), group.acceptedBy(again)], [['a'], ['a']]);
    assert.equal(group.packets.get(again)?.size, 2, 'b has decided it');
  });

  test(`missed - frames that waited for what was missed are decided in the order in which they came (${typeOneMethod})`, () => {
    const group = groupOf(2, { typeOneMethod });
    const [a, b] = group.modules;
    favour(group, 'a');
    group.now({ flow: 9, flags: tcp });
    group.now({ flow: 9, flags: tcp }, { tier1: 't2' });
    favour(group, 'a');
    // By t2, which b has heard later than t1, so that t1 would have its turn first.
    group.send([], { tier1: 't2' });
    group.lose(b, 't2');
    const [first] = group.send([{ flow: 1, flags: syn }], { tier1: 't2' });
    group.deliver(b, 't2');
    group.tick(20);
    // What a tells does not say where the flow has begun: it has decided only what b missed.
    group.deliver(a, 't2');
    while (group.deliver(a, 'b'));
    group.tick(20);
    group.deliver(a, 't2');
    favour(group, 'b');
    const [again] = group.send([{ flow: 1, flags: syn }]);
    for (const module of [a, b]) while (group.deliver(module, 't1'));
    assert.equal(b.core.streams.get('t1')?.waiting.length, 1);
    group.settle(5);
    assert.deepEqual([group.acceptedBy(first), group.acceptedBy(again)], [['a'], ['a']]);
    assert.equal(group.packets.get(again)?.size, 2, 'b has decided it');
  });
}

/** Flow 1 is a's and was closing, and began again in a frame that b has missed. b hears the peers in this order. */
function beganAgainUnseen(order: readonly string[], afterwards: readonly Row[]): TestGroup {
  const group = groupOf(3, { typeOneMethod: 'fig-7' });
  const [a, b, c] = group.modules;
  assert.equal(group.owner({ flow: 1, flags: syn }), 'a');
  group.now({ flow: 1, flags: fin });
  group.tick(1_000);
  group.send([{ flow: 1, flags: syn }]);
  group.lose(b, 't1');
  group.send([{ flow: 1, flags: tcp }]);
  for (const module of group.modules) while (group.deliver(module, 't1'));
  group.tick(20);
  for (const peer of [a, c]) while (group.deliver(peer, 'b'));
  group.tick(100);
  for (const row of afterwards) {
    group.send([row]);
    for (const module of group.modules) while (group.deliver(module, 't1'));
  }
  for (const peer of order) while (group.deliver(b, peer));
  group.settle(5);
  assert.equal(b.core.missed.isAny, false);
  return group;
}

for (const order of [
  ['a', 'c'],
  ['c', 'a'],
]) {
  test(`missed - a flow that was closing has begun again in a hole: it is not forgotten early (${order.join(', then ')})`, () => {
    for (const afterwards of [[], [{ flow: 1, flags: tcp }]]) {
      const group = beganAgainUnseen(order, afterwards);
      group.settle(150);
      assert.equal(group.now({ flow: 1, flags: tcp }).b, 'ignoreElsewhere');
    }
  });

  test(`missed - one that has ended since the peers said that it goes on is forgotten with them (${order.join(', then ')})`, () => {
    const group = beganAgainUnseen(order, [{ flow: 1, flags: fin }]);
    group.settle(150);
    const verdicts = Object.values(group.now({ flow: 1, flags: syn }));
    assert.deepEqual(verdicts.sort(), ['acceptNew', 'ignorePlacedElsewhere', 'ignorePlacedElsewhere']);
  });
}

/** b is cut off, takes a for dead and removes it; a tier 1, which sends meanwhile, and a itself hear of that later. */
function whileRemoved(group: TestGroup, order: 'before that' | 'after that', send: () => string[]): string[] {
  const [a, b] = group.modules;
  const remove = (): void => {
    group.propose((view) => leave(view, a.core.candidate));
    while (group.deliver(b, 'store'));
  };
  if (order === 'after that') remove();
  const packets = send();
  if (order === 'before that') remove();
  while (group.deliver(a, 'store'));
  group.settle(40);
  return packets;
}

/** Sends a frame by t1, stamped with that view, and delivers it. */
function sendNow(group: TestGroup, rows: readonly Row[], viewNumber: number): string[] {
  const packets = group.send(rows, { viewNumber });
  for (const module of group.modules) while (group.deliver(module, 't1'));
  return packets;
}

for (const order of ['before that', 'after that'] as const) {
  test(`missed - a member that was removed and had not told may have taken what came before it went (seen ${order})`, () => {
    const group = groupOf(2, { typeOneMethod: 'fig-7' });
    const [a, b] = group.modules;
    favour(group, 'b');
    group.now({ flow: 2, flags: udp });
    favour(group, 'a');
    group.now({ flow: 9, flags: udp });
    const [first] = group.send([{ flow: 1, flags: udp }]);
    group.lose(b, 't1');
    while (group.deliver(a, 't1'));
    favour(group, 'b');
    const before = group.view.number;
    const send = () =>
      sendNow(
        group,
        [1, 2].map((flow) => ({ flow, flags: udp })),
        before,
      );
    const [second, known] = whileRemoved(group, order, send);
    assert.deepEqual(
      [first, second, known].map((packet) => group.acceptedBy(packet)),
      [['a'], ['a'], ['b']],
    );
    assert.equal(group.packets.get(second)?.get('b'), 'dropUnsure');
    const [later] = send();
    assert.deepEqual(group.acceptedBy(later), ['a'], 'a decides frames of the view in which it was a member');
    const [third] = group.send([{ flow: 1, flags: udp }]);
    group.settle(5);
    assert.deepEqual(group.acceptedBy(third), ['b'], 'by the view without a it is new on everybody');
  });
}

for (const order of ['before that', 'after that'] as const) {
  test(`missed - what was closing may have begun anew with a member that was removed and had not told (seen ${order})`, () => {
    const group = groupOf(2, { typeOneMethod: 'fig-6' });
    const [a, b] = group.modules;
    favour(group, 'b');
    for (const flags of [syn, tcp]) assert.equal(group.owner({ flow: 1, flags }), 'b');
    // Until nobody remembers the start any more.
    group.settle(150);
    assert.equal(group.owner({ flow: 1, flags: fin }), 'b');
    favour(group, 'a');
    group.now({ flow: 9, flags: udp });
    const [start] = group.send([{ flow: 1, flags: syn }]);
    group.lose(b, 't1');
    while (group.deliver(a, 't1'));
    assert.deepEqual(group.acceptedBy(start), ['a']);
    favour(group, 'b');
    const before = group.view.number;
    const send = () => sendNow(group, [{ flow: 1, flags: tcp }], before);
    const [next] = whileRemoved(group, order, send);
    assert.deepEqual([group.acceptedBy(next), group.packets.get(next)?.get('b')], [['a'], 'dropUnsure']);
    const [later] = send();
    assert.deepEqual(group.acceptedBy(later), ['a'], 'a decides frames of the view in which it was a member');
  });
}

test('missed - a tier 1 that was silent while a member joined goes on where the others had told of it', () => {
  const group = groupOf(1);
  for (let frame = 0; frame < 5; frame++) group.now({ flow: frame, flags: udp }, { tier1: 't2' });
  const b = group.add('b');
  for (let step = 0; step < 60; step++) {
    group.send([]);
    for (const module of group.modules)
      for (const source of ['store', 't1', 'a', 'b']) while (group.deliver(module, source));
    group.tick(100);
  }
  assert.equal(b.core.phase, 'active');
  group.now({ flow: 1, flags: udp }, { tier1: 't2' });
  assert.deepEqual([b.core.streams.lostFrames, b.core.missed.resyncs], [0, 0]);
  // What it misses from then on it has missed.
  group.send([], { tier1: 't2' });
  group.lose(b, 't2');
  group.now({ flow: 1, flags: udp }, { tier1: 't2' });
  assert.deepEqual([b.core.streams.lostFrames, b.core.missed.resyncs], [1, 1]);
});

test('missed - a start that a removed member may have taken is its own by older views, also when it is repeated', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-6' });
  const [a, b] = group.modules;
  favour(group, 'a');
  group.now({ flow: 9, flags: udp });
  group.send([{ flow: 2, flags: udp }]);
  group.lose(b, 't1');
  while (group.deliver(a, 't1'));
  favour(group, 'b');
  const before = group.view.number;
  const [first] = group.send([{ flow: 1, flags: syn }]);
  const [again] = group.send([{ flow: 1, flags: syn }]);
  while (group.deliver(b, 't1'));
  group.propose((view) => leave(view, a.core.candidate));
  while (group.deliver(b, 'store'));
  group.settle(40);
  assert.deepEqual(
    [first, again].map((packet) => group.packets.get(packet)?.get('b')),
    ['dropUnsure', 'ignoreNotMine'],
  );
  const [late] = group.send([{ flow: 1, flags: syn }], { viewNumber: before });
  const [next] = group.send([{ flow: 1, flags: syn }]);
  group.settle(5);
  assert.deepEqual([group.packets.get(late)?.get('b'), group.acceptedBy(next)], ['ignoreNotMine', ['b']]);
});
