// Probes and signs of life: who answers which, what the messages may be, and that the silence of one life is not held
// against the next.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { Learner } from '../../../../../services/dssl/old/learner.ts';
import { heardLatelyMs, Streams } from '../../../../../services/dssl/old/streams.ts';
import { decodeSync, encodeLife } from '../../../../../services/dssl/old/sync.ts';
import { leave } from '../../../../../shared/membership/transitions.ts';
import { defaultRules, type MemberState, type View } from '../../../../../shared/membership/view.ts';
import { groupOf, syn, TestGroup, udp } from '../../../../support/group.ts';

/** Whether the module answers a probe for this life. */
function answers(group: TestGroup, name: string, life: { server: string; incarnation: number }): boolean {
  const module = group.modules.find((each) => each.name === name);
  const witness = group.modules.find((each) => each.name !== name);
  assert.ok(module !== undefined && witness !== undefined);
  const before = witness.inbox.get(name)?.length ?? 0;
  module.core.onControl(encodeLife({ kind: 'probe', ...life, nonce: 7 }), group.nowMs);
  return (witness.inbox.get(name)?.length ?? 0) > before;
}

test('life - a module answers for its own life and no other, in every state, until it is no member', () => {
  const group = groupOf(3);
  const self = { server: 'b', incarnation: 1 };
  assert.ok(answers(group, 'b', self));
  assert.ok(!answers(group, 'b', { server: 'b', incarnation: 2 }), 'another life of its name');
  assert.ok(!answers(group, 'b', { server: 'a', incarnation: 1 }), 'another server');
  // A flow keeps it from leaving.
  for (let flow = 0; group.owner({ flow, flags: syn }) !== 'b'; flow++);
  group.modules[1].core.drain(Number.POSITIVE_INFINITY);
  group.settle(1);
  assert.equal(group.modules[1].core.phase, 'draining');
  assert.ok(answers(group, 'b', self), 'while it drains');
  group.propose((view) => leave(view, self));
  group.settle(1);
  assert.equal(group.modules[1].core.phase, 'left');
  assert.ok(!answers(group, 'b', self), 'it may not speak for what has another place now');
});

test('life - a joining module answers too', () => {
  const group = groupOf(1);
  group.add('j');
  assert.ok(answers(group, 'j', { server: 'j', incarnation: 1 }));
});

test('life - signs of life are nothing to a module, and what it does not know is counted', () => {
  const { core } = new TestGroup().add('a');
  core.onControl(encodeLife({ kind: 'alive', server: 'a', incarnation: 1, nonce: 1 }), 0);
  assert.equal(core.counters.badControl, 0);
  const packr = new Packr({ useRecords: false });
  for (const bad of [
    [1, 5, 'a', 1, 1],
    [2, 3, 'a', 1],
    [2, 3, 'a', 1, 1, 1],
    [2, 3, 'a.b', 1, 1],
    [2, 4, 'a', -1, 1],
    [2, 4, 'a', 1, 0.5],
    [3, 3, 'a', 1, 1],
  ]) {
    const before: number = core.counters.badControl;
    core.onControl(Uint8Array.from(packr.pack(bad)), 0);
    assert.equal(core.counters.badControl, before + 1, JSON.stringify(bad));
  }
});

test('life - messages come out as they went in', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('probe' as const, 'alive' as const),
      fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
      fc.maxSafeNat(),
      fc.maxSafeNat(),
      (kind, server, incarnation, nonce) => {
        const message = { kind, server, incarnation, nonce };
        assert.deepEqual(decodeSync(encodeLife(message)), message);
      },
    ),
  );
});

test('life - a server whose former life was given up as silent is waited for again', () => {
  const view = (incarnation: number, state: MemberState): View => ({
    group: 'g1',
    cluster: 'c',
    placement: 'rendezvous',
    seed: 7,
    rules: defaultRules,
    number: incarnation,
    members: [{ server: 'd', incarnation, state, weight: 100, base: 100, flows: 0 }],
  });
  const learner = new Learner('j');
  const streams = new Streams();
  learner.requests(view(1, 'active'), streams, 0);
  assert.deepEqual(learner.late(1_000), []);
  assert.deepEqual(learner.late(3_000), ['d']);
  learner.requests(view(1, 'active'), streams, 10_001);
  assert.deepEqual([...learner.silent], ['d']);
  assert.deepEqual(learner.late(10_001), [], 'not waited for any more');
  assert.ok(learner.isComplete(view(1, 'active'), streams, 10_001));
  assert.ok(learner.isComplete(view(2, 'joining'), streams, 10_002));
  assert.ok(!learner.isComplete(view(2, 'active'), streams, 10_003), 'the next life holds flows and lives');
});

test('life - a tier 1 that was killed keeps a joiner waiting only while its peers may take it to be alive', () => {
  const group = groupOf(2);
  group.now({ flow: 1, flags: udp }, { tier1: 'killed' });
  const joiner = group.add('c');
  const diedAtMs = group.nowMs;
  while (joiner.core.phase !== 'active' && group.nowMs - diedAtMs < 60_000) {
    for (const module of group.modules) {
      for (const source of [...module.inbox.keys()]) while (group.deliver(module, source));
    }
    group.tick(100);
  }
  assert.ok(group.nowMs - diedAtMs < heardLatelyMs + 1_500, `${group.nowMs - diedAtMs} ms`);
  assert.equal(joiner.core.learner.silent.size, 0, 'it has learnt from all');
});
