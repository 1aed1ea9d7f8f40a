// Joining: when a module knows what the group knows, whom it waits for until then, and for how long.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../../../shared/base/limits.ts';
import { findMember } from '../../../../shared/membership/view.ts';
import { groupOf, udp } from '../../../support/group.ts';

test('joining - a joiner waits for a tier 1 that its peers hear and it does not yet', () => {
  const group = groupOf(2);
  group.now({ flow: 1, flags: udp }, { tier1: 'far' });
  const joiner = group.add('c');
  const withoutFar = () => {
    for (const module of group.modules) {
      for (const source of [...module.inbox.keys()]) while (group.deliver(module, source));
    }
    group.tick(100);
  };
  for (let tick = 0; tick < 10; tick++) withoutFar();
  assert.equal(joiner.core.phase, 'joining', 'what "far" sent last may still be on its way to a peer');
  group.send([], { tier1: 'far' });
  for (let tick = 0; tick < 10; tick++) withoutFar();
  assert.equal(joiner.core.phase, 'active');
  assert.equal(joiner.core.decider.table.size, 1, 'and it knows the flow that began before it came');
});

test('joining - a joiner does not wait long for a tier 1 that has gone', () => {
  const group = groupOf(2);
  group.now({ flow: 1, flags: udp });
  group.now({ flow: 2, flags: udp }, { tier1: 'gone' });
  const joiner = group.add('c');
  let waitedMs = 0;
  for (; joiner.core.phase !== 'active' && waitedMs < 10_000; waitedMs += 100) {
    group.send([]);
    for (const module of group.modules) {
      for (const source of [...module.inbox.keys()]) while (group.deliver(module, source));
    }
    group.tick(100);
  }
  assert.ok(waitedMs >= 1_000 && waitedMs <= 2_000, `${waitedMs} ms`);
  assert.equal(joiner.core.decider.table.size, 2);
});

test('joining - a joiner that lost a frame, or gave one up, asks again before it takes flows', () => {
  for (const how of ['lost', 'given up'] as const) {
    const group = groupOf(2);
    group.now({ flow: 1, flags: udp });
    const joiner = group.add('c');
    const deliver = () => {
      for (const module of group.modules) {
        for (const source of [...module.inbox.keys()]) while (group.deliver(module, source));
      }
    };
    // The joiner hears t1, asks, and the peers' answers are on their way ...
    group.send([]);
    deliver();
    group.tick(100);
    deliver();
    group.tick(100);
    // ... when a flow begins in a frame that the joiner alone does not decide.
    if (how === 'given up') {
      group.propose((view) => ({ ...view, number: view.number + 1 }));
      joiner.inbox.delete('store');
    }
    group.send([{ flow: 2, flags: udp }]);
    if (how === 'lost') {
      joiner.inbox.get('t1')?.pop();
      group.send([]);
    }
    joiner.inbox.delete('store');
    for (const source of ['t1', 'a', 'b']) while (group.deliver(joiner, source));
    if (how === 'given up') joiner.core.tick(group.nowMs + limits.waitingFrameMs + 1);
    group.settle(30);
    assert.equal(joiner.core.phase, 'active', how);
    assert.equal(joiner.core.decider.table.size, 2, `${how}: it knows the flow that it did not see begin`);
  }
});

test('joining - a joiner that has to wait for a view it cannot read does not become active meanwhile', () => {
  const group = groupOf(1);
  group.propose((view) => ({ ...view, number: view.number + 1 }));
  group.now({ flow: 1, flags: udp });
  const unread = group.view.number;
  const b = group.add('b');
  // The store tells it of the first view and of the one in which it joins, and not yet of the one between them.
  while (b.core.views.newest?.view.number !== unread - 1) group.deliver(b, 'store');
  group.lose(b, 'store');
  while (group.deliver(b, 'store'));
  const step = (viewNumber: number): void => {
    group.send([], { viewNumber });
    while (group.lose(b, 'store'));
    for (const module of group.modules) {
      for (const source of ['store', 't1', 'a', 'b']) while (group.deliver(module, source));
    }
    group.tick(100);
  };
  step(unread);
  let waitedMs = 100;
  for (; b.core.streams.areAnyWaiting && waitedMs < 5_000; waitedMs += 100) {
    assert.equal(findMember(group.view, 'b')?.state, 'joining');
    step(unread + 1);
  }
  assert.ok(waitedMs >= limits.waitingFrameMs && waitedMs <= limits.waitingFrameMs + 300, `${waitedMs} ms`);
  group.settle(5);
  assert.equal(b.core.phase, 'active');
});

test('joining - a member that a joiner has given up answers in the end: it stays, and tells first what it holds', () => {
  const group = groupOf(1);
  const [a] = group.modules;
  for (let flow = 1; flow <= 5; flow++) group.now({ flow, flags: udp });
  const b = group.add('b');
  while (group.deliver(b, 'store'));
  // It guesses, so it will ask twice; a hears nothing of it.
  group.send([{ flow: 9, flags: udp }]);
  while (group.deliver(b, 't1'));
  group.tick(20);
  b.core.learner.giveUp(a.core.candidate);
  group.tick(20);
  group.tick(20);
  assert.equal(b.core.learner.questions, 2);
  group.settle(30);
  assert.deepEqual(
    group.view.members.map(({ server, state }) => `${server} ${state}`),
    ['a active', 'b active'],
  );
  assert.equal(b.core.decider.table.size, a.core.decider.table.size);
});

test('joining - a joiner gives up on a member that does not answer, after a while, and says which', () => {
  const group = groupOf(2);
  group.modules[1].listening = false;
  const joiner = group.add('c');
  group.settle(90);
  assert.equal(joiner.core.phase, 'joining');
  group.settle(20);
  assert.equal(joiner.core.phase, 'active');
  assert.deepEqual([...joiner.core.learner.silent], ['b']);
});
