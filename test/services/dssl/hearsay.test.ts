// What a joiner guesses of flows, where what members say cannot confirm it. How it learns what they hold is in the transcripts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupOf, syn, udp } from '../../support/group.ts';

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
    group.propose((view) => ({
      ...view,
      number: view.number + 1,
      members: view.members.map((member) => ({ ...member, weight: member.server === 'b' ? 100 : 0 })),
    }));
    group.settle(1);
    assert.equal(group.owner({ flow: 1, flags }), 'a');
  });
}
