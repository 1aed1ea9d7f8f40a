// What one detector makes of what it hears; how groups of them fare is in test/services/dssl/steward.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FailureDetector } from '../../../shared/cluster/failureDetector.ts';
import { defaultSettings } from '../../../shared/cluster/settings.ts';
import { defaultRules, type View } from '../../../shared/cluster/view.ts';

const group: View = {
  group: 'g1',
  cluster: 'test',
  number: 1,
  placement: 'rendezvous',
  seed: 1,
  rules: defaultRules,
  members: ['s1', 's2', 's3'].map((server) => ({
    server,
    incarnation: 1,
    state: 'active',
    weight: 100,
    base: 100,
    flows: 0,
  })),
};

test('failureDetector - one that has begun to listen agrees soon that a member never spoke, and judges later itself', () => {
  const detector = new FailureDetector({ server: 's3', incarnation: 1 }, defaultSettings.watching);
  detector.follow(group, 0);
  let toldAtMs = 0;
  let deadAtMs = 0;
  for (let nowMs = 0; nowMs <= 4_000; nowMs += 100) {
    detector.heardSelf(nowMs / 100, nowMs);
    detector.heard({ server: 's1', incarnation: 1 }, nowMs);
    detector.suspected('s1', { server: 's2', incarnation: 1 }, nowMs);
    const { suspects, dead } = detector.tick(nowMs);
    if (suspects.length > 0) toldAtMs ||= nowMs;
    if (dead.length > 0) deadAtMs ||= nowMs;
  }
  assert.deepEqual([toldAtMs, deadAtMs], [1_500, 3_000]);
});
