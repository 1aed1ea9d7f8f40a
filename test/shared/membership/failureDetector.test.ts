// What one detector makes of what it hears; how groups of them fare is in test/services/dssl/member/steward.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultSettings } from '../../../shared/config/settings.ts';
import { FailureDetector } from '../../../shared/membership/failureDetector.ts';
import { defaultRules, type View } from '../../../shared/membership/view.ts';

const group: View = {
  group: 'g1',
  number: 1,
  placement: 'rendezvous',
  seed: 1,
  rules: defaultRules,
  members: ['s1', 's2', 's3'].map((server, number) => ({
    server,
    incarnation: 1,
    number,
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
    detector.suspected('s1', { life: { server: 's2', incarnation: 1 }, isSure: true }, nowMs);
    const { suspects, dead } = detector.tick(nowMs);
    if (suspects.length > 0) toldAtMs ||= nowMs;
    if (dead.length > 0) deadAtMs ||= nowMs;
  }
  assert.deepEqual([toldAtMs, deadAtMs], [1_500, 3_000]);
});

test('failureDetector - what another watcher suspects counts when that one is sure: before, it may hear the member again', () => {
  const deaths = (isSure: boolean): number[] => {
    const detector = new FailureDetector({ server: 's3', incarnation: 1 }, defaultSettings.watching);
    detector.follow(group, 0);
    const found: number[] = [];
    for (let nowMs = 0; nowMs <= 10_000; nowMs += 100) {
      detector.heardSelf(nowMs / 100, nowMs);
      detector.heard({ server: 's1', incarnation: 1 }, nowMs);
      // This member alone does not hear s2 from the sixth second on. It is paused briefly in the ninth, and s1 says so.
      if (nowMs < 6_000) detector.heard({ server: 's2', incarnation: 1 }, nowMs);
      if (nowMs === 8_500) detector.suspected('s1', { life: { server: 's2', incarnation: 1 }, isSure }, nowMs);
      if (detector.tick(nowMs).dead.length > 0) found.push(nowMs);
    }
    return found;
  };
  assert.deepEqual(deaths(false), []);
  assert.equal(deaths(true)[0], 8_500);
});

test('failureDetector - a watcher tells that it suspects, again when it is sure, and from then on now and then', () => {
  const detector = new FailureDetector({ server: 's3', incarnation: 1 }, defaultSettings.watching);
  detector.follow(group, 0);
  const told: [number, boolean][] = [];
  for (let nowMs = 0; nowMs <= 6_500; nowMs += 50) {
    detector.heardSelf(nowMs / 50, nowMs);
    detector.heard({ server: 's1', incarnation: 1 }, nowMs);
    if (nowMs < 5_000) detector.heard({ server: 's2', incarnation: 1 }, nowMs);
    for (const { isSure } of detector.tick(nowMs).suspects) told.push([nowMs - 4_950, isSure]);
  }
  assert.deepEqual(told, [
    [400, false],
    [750, true],
    [1_150, true],
    [1_550, true],
  ]);
});

test('failureDetector - a watcher that misses some of its own signs of life is sure of nobody', () => {
  const detector = new FailureDetector({ server: 's3', incarnation: 1 }, defaultSettings.watching);
  detector.follow(group, 0);
  const told: boolean[] = [];
  let dead = 0;
  for (let beat = 0; beat <= 200; beat++) {
    const nowMs = beat * 100;
    if (beat % 7 !== 0) detector.heardSelf(beat, nowMs);
    detector.heard({ server: 's1', incarnation: 1 }, nowMs);
    detector.suspected('s1', { life: { server: 's2', incarnation: 1 }, isSure: true }, nowMs);
    const found = detector.tick(nowMs);
    told.push(...found.suspects.map(({ isSure }) => isSure));
    dead += found.dead.length;
  }
  assert.ok(told.length > 10);
  assert.deepEqual([told.includes(true), dead], [false, 0]);
});

test('failureDetector - what a former life of a watcher was sure of counts no more', () => {
  const removedAfter = (otherLives: boolean): boolean => {
    const detector = new FailureDetector({ server: 's3', incarnation: 1 }, defaultSettings.watching);
    detector.follow(group, 0);
    let dead = 0;
    for (let nowMs = 0; nowMs <= 8_000; nowMs += 100) {
      detector.heardSelf(nowMs / 100, nowMs);
      detector.heard({ server: 's1', incarnation: nowMs > 7_000 && otherLives ? 2 : 1 }, nowMs);
      // This member does not hear s2 any more, and s1 was sure of it once.
      if (nowMs < 6_000) detector.heard({ server: 's2', incarnation: 1 }, nowMs);
      if (nowMs === 6_700) detector.suspected('s1', { life: { server: 's2', incarnation: 1 }, isSure: true }, nowMs);
      if (nowMs === 6_700 && otherLives) {
        const members = group.members.map((member) =>
          member.server === 's1' ? { ...member, incarnation: 2 } : member,
        );
        detector.follow({ ...group, number: 2, members }, nowMs);
      }
      dead += detector.tick(nowMs).dead.length;
    }
    return dead > 0;
  };
  assert.deepEqual([removedAfter(false), removedAfter(true)], [true, false]);
});

test('failureDetector - whoever reads an old view removes nobody alone whose watchers live, each in another life than that view has', () => {
  const deaths = (incarnation: number | undefined): number[] => {
    const detector = new FailureDetector({ server: 's3', incarnation: 1 }, defaultSettings.watching);
    detector.follow(group, 0);
    const found: string[] = [];
    for (let nowMs = 0; nowMs <= 8_000; nowMs += 100) {
      detector.heardSelf(nowMs / 100, nowMs);
      for (const server of ['s1', 's2']) if (nowMs < 5_000) detector.heard({ server, incarnation: 1 }, nowMs);
      if (incarnation !== undefined && nowMs >= 5_000) detector.heard({ server: 's1', incarnation }, nowMs);
      for (const { life } of detector.tick(nowMs).dead) if (!found.includes(life.server)) found.push(life.server);
    }
    return found.map((name) => Number(name.slice(1)));
  };
  assert.deepEqual(deaths(undefined), [2, 1]);
  assert.deepEqual(deaths(2), [1], 'the former life of s1 itself is dead');
});
