// What is told of flows, where it cannot be confirmed by what was seen: guesses of joiners, and connections that begin anew
// while members ask each other. How a joiner learns what the members hold is in the transcripts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowState } from '../../../../services/dssl/replica/flows/entry.ts';
import { drain, leave } from '../../../../shared/membership/transitions.ts';
import { fin, groupOf, hiOf, syn, type TestGroup, tcp, udp } from '../../../support/group.ts';

for (const [typeOneMethod, flags] of [
  ['fig-6', syn],
  ['fig-7', syn],
  ['fig-7', udp],
] as const) {
  const what = `${typeOneMethod}, ${flags === udp ? 'a datagram' : 'a start'}`;
  test(`hearsay - what a member missed, and got again when it had told all, is no guess of the joiner (${what})`, () => {
    const group = groupOf(1, { typeOneMethod });
    const [a] = group.modules;
    group.now({ flow: 9, flags: udp });
    const b = group.add('b');
    for (const module of group.modules) while (group.deliver(module, 'store'));
    const [missed] = group.send([{ flow: 1, flags }]);
    group.lose(a, 't1');
    while (group.deliver(b, 't1'));
    assert.equal(group.packets.get(missed)?.get('b'), 'ignorePlacedElsewhere');
    // All is told, and b asks once more ...
    for (let step = 0; step < 20 && b.core.learner.questions < 2; step++) {
      group.send([]);
      for (const module of group.modules) for (const source of ['t1', 'a', 'b']) while (group.deliver(module, source));
      group.tick(20);
    }
    // ... and a answers before it gets the packet.
    while (group.deliver(a, 'b'));
    group.tick(20);
    assert.equal(b.core.phase, 'joining');
    assert.equal(group.owner({ flow: 1, flags }), 'a');
    group.settle(10);
    assert.equal(b.core.phase, 'active');
    weigh(group, 'b');
    assert.equal(group.owner({ flow: 1, flags }), 'a');
  });
}

test('hearsay - a connection begins anew on a tuple while members that missed frames tell each other of the last one', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-7' });
  const [a, b] = group.modules;
  weigh(group, 'a');
  for (const flags of [syn, tcp, fin]) assert.equal(group.owner({ flow: 1, flags }), 'a');
  group.now({ flow: 2, flags: udp }, { tier1: 't2' });
  weigh(group, 'b');
  group.settle(50);
  // The next connection begins. b sees that, a not yet; a misses something else and is told by b what has come lately.
  const [start] = group.send([{ flow: 1, flags: syn }]);
  while (group.deliver(b, 't1'));
  const ask = (asker: typeof a, other: typeof a): void => {
    group.send([{ flow: 2, flags: udp }], { tier1: 't2' });
    group.lose(asker, 't2');
    group.send([], { tier1: 't2' });
    for (const module of [a, b]) while (group.deliver(module, 't2'));
    group.tick(20);
    while (group.deliver(other, asker.name));
    group.tick(20);
    while (group.deliver(asker, other.name));
    group.tick(20);
    assert.equal(asker.core.missed.isAny, false);
  };
  ask(a, b);
  // Then b misses something, and a tells it of the last connection, which is all that it knows.
  ask(b, a);
  while (group.deliver(a, 't1'));
  assert.deepEqual(group.acceptedBy(start), ['a']);
  // And b tells a in turn what it has just heard.
  ask(a, b);
  assert.equal(group.owner({ flow: 1, flags: tcp }), 'a');
  group.settle(150);
  assert.equal(
    group.owner({ flow: 1, flags: tcp }),
    'a',
    'open connections are remembered for longer than closing ones',
  );
});

test('hearsay - who has missed the start of a connection tells of the last one on its tuple, which is not the same', () => {
  const group = groupOf(3, { typeOneMethod: 'fig-6' }, 'round-robin');
  const [a, b, c] = group.modules;
  const holder = group.modules.find(({ name }) => name === group.owner({ flow: 1, flags: syn }));
  assert.ok(holder !== undefined);
  const [other, third] = [a, b, c].filter((module) => module !== holder);
  // The last start is remembered by all, and its time is over.
  group.settle(125);
  weigh(group, holder.name);
  const [start] = group.send([{ flow: 1, flags: syn }]);
  group.lose(holder, 't1');
  for (const module of [other, third]) while (group.deliver(module, 't1'));
  assert.equal(group.packets.get(start)?.get(other.name), 'ignorePlacedElsewhere');
  // Another one misses something, and is told of the older start by the holder.
  group.send([{ flow: 2, flags: udp }], { tier1: 't2' });
  group.lose(other, 't2');
  group.send([], { tier1: 't2' });
  for (const module of [other, third]) while (group.deliver(module, 't2'));
  group.tick(20);
  for (const module of [holder, third]) while (group.deliver(module, other.name));
  group.tick(20);
  for (const module of [third, holder]) while (group.deliver(other, module.name));
  weigh(group, other.name);
  // The start comes again: those who saw it first know where it went.
  const [again] = group.send([{ flow: 1, flags: syn }]);
  while (group.deliver(other, 't1'));
  group.settle(5);
  assert.notEqual(group.packets.get(again)?.get(other.name), 'acceptNew');
});

for (const goes of ['is removed', 'drains and leaves'] as const) {
  test(`hearsay - a member tells another one of its start, which nobody else has seen, and ${goes}`, () => {
    const group = groupOf(3, { typeOneMethod: 'fig-6' });
    const [a, b, c] = group.modules;
    weigh(group, 'b');
    group.now({ flow: 9, flags: udp });
    if (goes === 'drains and leaves') {
      group.propose((view) => drain(view, a.core.candidate));
      group.settle(1);
    }
    const [start] = group.send([{ flow: 1, flags: syn }]);
    while (group.deliver(a, 't1'));
    assert.equal(group.packets.get(start)?.get('a'), 'ignorePlacedElsewhere');
    for (const module of [b, c]) group.lose(module, 't1');
    group.send([]);
    for (const module of group.modules) while (group.deliver(module, 't1'));
    group.tick(20);
    // b is told in time, by a alone; c's question comes too late when a is removed.
    for (const module of [a, c]) while (group.deliver(module, 'b'));
    group.tick(20);
    while (group.deliver(b, 'c'));
    const reaches = goes === 'is removed' ? group.lose : group.deliver;
    while (reaches.call(group, a, 'c'));
    group.tick(20);
    for (const module of [b, c]) while (group.deliver(module, 'a'));
    group.crash(a);
    group.propose((view) => leave(view, a.core.candidate));
    weigh(group, 'c');
    group.settle(5);
    assert.deepEqual([b.core.missed.isAny, c.core.missed.isAny], [false, false]);
    // By the view without one that was removed the flow is new on everybody.
    assert.equal(group.owner({ flow: 1, flags: syn }), goes === 'is removed' ? 'c' : 'b');
  });
}

test('hearsay - a joiner sees the end of a connection before it is told of it', () => {
  const group = groupOf(1, { typeOneMethod: 'fig-7', midFlow: 'ignore' });
  const [a] = group.modules;
  for (const flags of [syn, tcp]) group.now({ flow: 1, flags });
  const b = group.add('b');
  for (const module of group.modules) while (group.deliver(module, 'store'));
  group.send([]);
  while (group.deliver(b, 't1'));
  group.tick(20);
  // a tells what it knows, and gets the end afterwards.
  while (group.deliver(a, 'b'));
  group.tick(20);
  const [end] = group.send([{ flow: 1, flags: fin }]);
  while (group.deliver(b, 't1'));
  group.settle(10);
  assert.equal(group.packets.get(end)?.get('b'), 'ignoreMidFlow');
  assert.deepEqual([b.core.phase, group.acceptedBy(end)], ['active', ['a']]);
  group.settle(110);
  weigh(group, 'b');
  assert.equal(group.owner({ flow: 1, flags: syn }), 'b', 'both have forgotten the one that ended');
});

test('hearsay - a flow is told of before its first packet comes, which makes it no older than it is elsewhere', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-7' });
  const [a, b] = group.modules;
  group.now({ flow: 9, flags: udp });
  weigh(group, 'a');
  const [first] = group.send([{ flow: 1, flags: udp }]);
  while (group.deliver(a, 't1'));
  const stateIn = ({ core: { decider } }: typeof a): number => {
    const slot = decider.table.peek(hiOf(1), 1);
    return slot === -1 ? -1 : decider.table.state(slot);
  };
  for (let step = 0; step < 50 && stateIn(b) === -1; step++) {
    group.tick(100);
    while (group.deliver(b, 'a'));
  }
  while (group.deliver(b, 't1'));
  assert.equal(group.packets.get(first)?.get('b'), 'ignoreElsewhere', 'a has told b of it');
  assert.deepEqual([stateIn(a), stateIn(b)], [FlowState.unconfirmed, FlowState.unconfirmed]);
  group.now({ flow: 1, flags: udp });
  assert.deepEqual([stateIn(a), stateIn(b)], [FlowState.established, FlowState.established]);
});

/** From now on all new flows are this server's. */
function weigh(group: TestGroup, heavy: string): void {
  group.propose((view) => ({
    ...view,
    number: view.number + 1,
    members: view.members.map((member) => ({ ...member, weight: member.server === heavy ? 100 : 0 })),
  }));
  for (const module of group.modules) while (group.deliver(module, 'store'));
}
