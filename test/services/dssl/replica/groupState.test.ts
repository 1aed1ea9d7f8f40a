// The parts of a group's state together: what a view's change means for the table, and what the passing of time does.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Command, encodeCommand } from '../../../../shared/log/records/command.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';
import { lifeOf, syn, TestGroup } from './support.ts';

test('group state - in a group where nothing but ticks happens, expired flows are swept nevertheless', () => {
  const group = new TestGroup(1, { idle: { ...defaultIdle, 'tcp-opening': 30 } });
  for (let flow = 0; flow < 300; flow++) group.now({ flow, flags: syn });
  const replica = group.replica('a');
  assert.equal(replica.ownFlows, 300);
  group.pass(29_000);
  assert.equal(replica.ownFlows, 300, 'none of them has been idle for long enough');
  group.pass(30_000);
  assert.equal(replica.ownFlows, 0);
});

test('group state - positions begin again with a line: a member that joined at one of those of old has not joined now', () => {
  const group = new TestGroup(3);
  for (let flow = 0; flow < 60; flow++) group.now({ flow, flags: syn });
  const replica = group.replica('c');
  const before = replica.ownFlows;
  assert.ok(before > 5);
  const { epoch, timeMs } = replica;
  const append = (position: number, command: Command) => ({
    position,
    timeMs: group.log.nowMs,
    timeNs: 0,
    kind: 'command' as const,
    data: encodeCommand(command),
  });
  const { birth } = group.log;
  const donor = lifeOf('c');
  const began = replica.beginEpoch(
    append(1, {
      ...{
        kind: 'epoch',
        author: donor,
        epoch: '',
        id: 'e2',
        number: 2,
        previous: epoch?.id ?? '',
        since: 0,
        donor,
        birth,
      },
    }),
  );
  assert.deepEqual([began, replica.timeMs], [true, timeMs]);
  // Each of these changes the view, at the positions at which a, b and c have joined.
  for (let position = 2; position <= 10; position++) {
    const { viewChanged } = replica.apply(
      append(position, { kind: 'configure', author: donor, epoch: 'e2', life: lifeOf('a'), weight: position }),
    );
    assert.ok(viewChanged);
  }
  assert.equal(replica.ownFlows, before);
});
