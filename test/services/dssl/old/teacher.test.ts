// What a module tells the others: a joiner that learns from it must know no more than the group does.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fin, groupOf, syn, tcp } from '../../../support/group.ts';

/** Flows enough that some would be placed at any member. */
const flows = Array.from({ length: 12 }, (_, index) => index + 1);

test('teacher - a start that is remembered for longer than its flow is not told as one of a flow that goes on', () => {
  const group = groupOf(2, { typeOneMethod: 'fig-7' });
  const [, b] = group.modules;
  for (const flow of flows) {
    for (const flags of [syn, tcp, fin]) group.owner({ flow, flags });
  }
  // Time passes; b falls behind, and so goes on remembering what the other has forgotten.
  const withoutFramesToB = (ticks: number) => {
    for (let tick = 0; tick < ticks; tick++) {
      group.send([]);
      for (const module of group.modules) {
        for (const source of [...module.inbox.keys()]) {
          if (module !== b || source !== 't1') while (group.deliver(module, source));
        }
      }
      group.tick(100);
    }
  };
  group.settle(120);
  withoutFramesToB(40);
  assert.equal(group.modules[0].core.decider.table.size, 0);
  const joiner = group.add('c');
  withoutFramesToB(5);
  group.settle(10);
  assert.equal(joiner.core.phase, 'active');
  for (const flow of flows) assert.notEqual(group.owner({ flow, flags: syn }), '', `flow ${flow}`);
  assert.ok(joiner.core.ownFlows > 0, 'the joiner takes its share of them');
});
