// When tier 1 maps a group out and in again: soon when the whole group is silent, never when it is tier 1 that is deaf.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../../../shared/base/limits.ts';
import { defaultSettings, settingsSchema } from '../../../../shared/config/settings.ts';
import { stateEveryMs } from '../../../../shared/membership/gossip.ts';
import { mirroredAt, Voices } from '../../../support/voices.ts';

const { afterMs, returnMs } = defaultSettings.groupSilence;
const tickMs = limits.groupTickMs;

/** Two groups with a server each, which speak. */
function two() {
  const voices = new Voices(2);
  const [a, b] = [voices.add(0), voices.add(1, 400)];
  assert.deepEqual(voices.pass(2_000), []);
  return { voices, a, b };
}

test('silent groups - out after the set time, in again when it has been heard for the return time', () => {
  const { voices, a } = two();
  voices.mute(a);
  const [out] = voices.pass(10_000);
  assert.deepEqual([out.kind, out.group], ['out', 0]);
  const silentMs = out.kind === 'out' && out.reason === 'silent' ? out.silentMs : 0;
  assert.ok(silentMs >= afterMs && silentMs <= afterMs + tickMs, `${silentMs}`);
  assert.deepEqual([...voices.silent.out], [0]);
  voices.wake(a);
  const wokeMs = voices.nowMs;
  const [back] = voices.pass(10_000);
  assert.deepEqual([back.kind, back.group, voices.changes.length], ['in', 0, 2]);
  const passedMs = back.atMs - wokeMs;
  assert.ok(passedMs >= returnMs && passedMs <= returnMs + 2 * tickMs, `${passedMs}`);
  assert.equal(voices.silent.out.size, 0);
});

test('silent groups - one server that speaks is enough, also one that drains, and one that tells its load alone', () => {
  const voices = new Voices(2);
  voices.add(1);
  const speakers = [voices.add(0), voices.add(0, 300), voices.add(0, 600, 'draining')];
  voices.pass(5_000);
  voices.mute(speakers[0], speakers[1]);
  assert.deepEqual(voices.pass(60_000), []);
  voices.mute(speakers[2]);
  for (let second = 0; second < 30; second++) {
    voices.say(speakers[0], { state: undefined });
    assert.deepEqual(voices.pass(1_000), []);
  }
  assert.equal(voices.pass(10_000).length, 1);
});

test('silent groups - a server that is ahead of the mirror speaks for its group; one that is not may have been removed', () => {
  const { epoch, position } = mirroredAt;
  const line = {
    state: 'following',
    epochNumber: 1,
    epoch,
    position: position + 1,
    lag: 0,
    lagMs: 0,
    handled: 0,
  } as const;
  const cases = [
    { line, isOut: false },
    { line: { ...line, position }, isOut: true },
    { line: { ...line, epoch: 'former' }, isOut: true },
    { line: { ...line, state: 'broken' as const }, isOut: true },
  ];
  for (const each of cases) {
    const { voices, a } = two();
    voices.mute(a);
    const stranger = { ...a, member: { ...a.member, server: 'stranger' } };
    for (let second = 0; second < 10; second++) {
      voices.say(stranger, { line: each.line });
      voices.pass(1_000);
    }
    assert.equal(voices.silent.out.has(0), each.isOut, JSON.stringify(each.line));
  }
});

test('silent groups - those who cannot take packets do not speak for their group', () => {
  const { voices, a } = two();
  const joiner = voices.add(0, 0, 'joining');
  voices.pass(2_000);
  voices.mute(a);
  const speak = () => {
    voices.say(a, { state: 'leaving' });
    voices.say(a, { state: 'restarting' });
    voices.say(a, { state: 'joining' });
    voices.say(a, { incarnation: 2 });
    voices.say(joiner, { state: 'active' });
    return voices.pass(500);
  };
  const changes = Array.from({ length: 20 }, speak).flat();
  assert.deepEqual(
    changes.map(({ kind, group }) => [kind, group]),
    [['out', 0]],
  );
});

test('silent groups - when all fall silent nobody is out; when one is heard again the others have the set time', () => {
  const { voices, a, b } = two();
  voices.mute(a, b);
  assert.deepEqual(voices.pass(60_000), []);
  voices.wake(b);
  const wokeMs = voices.nowMs;
  const [out] = voices.pass(20_000);
  assert.deepEqual([out.kind, out.group], ['out', 0]);
  assert.ok(out.atMs - wokeMs >= afterMs && out.atMs - wokeMs <= afterMs + 2 * tickMs, `${out.atMs - wokeMs}`);
});

test('silent groups - who is out stays out while this tier 1 is deaf', () => {
  const { voices, a, b } = two();
  voices.mute(a);
  assert.equal(voices.pass(5_000).length, 1);
  voices.mute(b);
  assert.deepEqual(voices.pass(60_000), []);
  assert.deepEqual([...voices.silent.out], [0]);
});

test('silent groups - a group that lives is never out, however long and often this tier 1 is deaf, if it hears for a second in between', () => {
  const deafness = fc.record({
    afterMs: fc.integer({ min: 1_000, max: 6_000 }),
    ms: fc.integer({ min: 0, max: 9_000 }),
  });
  const phases = fc.array(fc.integer({ min: 0, max: 999 }), { minLength: 2, maxLength: 5 });
  fc.assert(
    fc.property(
      phases,
      fc.array(deafness, { maxLength: 8 }),
      fc.integer({ min: 700, max: 1_000 }),
      (delays, spells, everyMs) => {
        const voices = new Voices(delays.length);
        for (const [group, delayMs] of delays.entries()) voices.add(group, delayMs).everyMs = everyMs;
        voices.pass(1_500);
        for (const spell of spells) {
          voices.pass(spell.afterMs);
          voices.hears = false;
          voices.pass(spell.ms);
          voices.hears = true;
        }
        voices.pass(10_000);
        assert.deepEqual(voices.changes, []);
      },
    ),
    { numRuns: 60 },
  );
});

test('silent groups - a group that died is out in time after any deafness, and no other one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999 }), fc.integer({ min: 0, max: 9_000 }), (phaseMs, deafMs) => {
      const voices = new Voices(3);
      const dead = voices.add(0);
      voices.add(1, phaseMs);
      voices.add(2, (7 * phaseMs) % 1_000);
      voices.pass(3_000);
      voices.hears = false;
      voices.mute(dead);
      voices.pass(deafMs);
      voices.hears = true;
      const hearsMs = voices.nowMs;
      voices.pass(10_000);
      assert.deepEqual(
        voices.changes.map(({ kind, group }) => [kind, group]),
        [['out', 0]],
      );
      assert.ok(voices.changes[0].atMs - hearsMs <= afterMs + 1_000 + 2 * tickMs);
    }),
    { numRuns: 60 },
  );
});

test('silent groups - nobody is judged for the set time after a connection was lost', () => {
  const { voices, a } = two();
  voices.mute(a);
  voices.pass(2_500);
  voices.silent.startAnew(voices.nowMs);
  assert.deepEqual(voices.pass(afterMs - 2 * tickMs), []);
  assert.equal(voices.pass(4 * tickMs).length, 1);
});

test('silent groups - a group that was silent before this tier 1 started is out in time, if anybody is heard', () => {
  const voices = new Voices(3);
  const dead = voices.add(0);
  const others = [voices.add(1), voices.add(2, 500)];
  voices.mute(dead, ...others);
  assert.deepEqual(voices.pass(60_000), []);
  voices.wake(...others);
  const wokeMs = voices.nowMs;
  const [out, ...more] = voices.pass(60_000);
  assert.deepEqual([out.kind, out.group, more], ['out', 0, []]);
  const passedMs = out.atMs - wokeMs;
  assert.ok(passedMs >= afterMs && passedMs <= afterMs + 2 * tickMs, `${passedMs}`);
  voices.wake(dead);
  const [back] = voices.pass(60_000);
  assert.deepEqual([back.kind, back.group], ['in', 0]);
});

test('silent groups - a group without a server is out at once, also one that was never heard; a new one waits for its first', () => {
  const voices = new Voices(3);
  const a = voices.add(0);
  voices.mute(a);
  voices.add(1);
  assert.deepEqual(voices.pass(1_000), []);
  voices.remove(a);
  assert.deepEqual(voices.changes, [{ group: 0, kind: 'out', reason: 'no-server', atMs: voices.nowMs }]);
  assert.equal(voices.pass(20_000).length, 0);
  const joiner = voices.add(0, 0, 'joining');
  assert.equal(voices.pass(20_000).length, 0);
  voices.remove(joiner);
  const next = voices.add(0);
  const fromMs = voices.nowMs;
  const [back] = voices.pass(20_000);
  assert.deepEqual([back.kind, back.group, back.atMs - fromMs], ['in', 0, returnMs]);
  voices.remove(next);
  assert.deepEqual(voices.changes.slice(2), [{ group: 0, kind: 'out', reason: 'no-server', atMs: voices.nowMs }]);
  voices.mute(voices.add(0));
  assert.deepEqual(voices.pass(60_000), [], 'a view says that there is a server, and nobody hears it');
});

test('silent groups - a server that is new in the view has the set time for its first report', () => {
  const { voices, a } = two();
  voices.mute(a);
  assert.deepEqual(voices.pass(afterMs - 500), []);
  voices.add(0, 900);
  assert.deepEqual(voices.pass(20_000), []);
  voices.mute(voices.add(0));
  assert.deepEqual(voices.pass(20_000), []);
});

test('silent groups - a return that is interrupted begins anew', () => {
  const { voices, a } = two();
  voices.mute(a);
  voices.pass(10_000);
  voices.wake(a);
  assert.equal(voices.pass(returnMs - 500).length, 0);
  voices.mute(a);
  assert.equal(voices.pass(afterMs).length, 0);
  voices.wake(a);
  assert.equal(voices.pass(returnMs - 500).length, 0);
  assert.equal(voices.pass(1_000).length, 1);
});

test('silent groups - each relapse doubles the return time, up to a minute; a quiet time makes it forgotten', () => {
  const { voices, a } = two();
  const times: number[] = [];
  const relapse = () => {
    voices.mute(a);
    voices.pass(5_000);
    voices.wake(a);
    const wokeMs = voices.nowMs;
    const [back] = voices.pass(70_000);
    times.push(Math.round((back.atMs - wokeMs) / 1_000));
  };
  for (let round = 0; round < 6; round++) relapse();
  voices.pass(limits.groupQuietMs);
  relapse();
  assert.deepEqual(times, [5, 10, 20, 40, 60, 60, 5]);
  assert.equal(voices.silent.timesOut, 7);
});

test('silent groups - where no other group that serves its type is in, a group is back at its first word', () => {
  const voices = new Voices([
    { weight: 1, serves: 'type-1' },
    { weight: 1, serves: 'type-2' },
    { weight: 0, serves: 'both' },
  ]);
  const speakers = [voices.add(0), voices.add(1, 300), voices.add(2, 600)];
  voices.pass(2_000);
  voices.mute(speakers[0]);
  assert.equal(voices.pass(10_000).length, 1);
  voices.wake(speakers[0]);
  const [back] = voices.pass(tickMs);
  assert.deepEqual([back.kind, back.group], ['in', 0]);
});

test('silent groups - two that die one after the other: the first that speaks again is in as soon as the other is out', () => {
  const { voices, a, b } = two();
  voices.mute(a);
  voices.pass(10_000);
  voices.mute(b);
  voices.pass(10_000);
  voices.wake(a);
  voices.pass(4_000);
  assert.deepEqual(
    voices.changes.map(({ kind, group }) => [kind, group]),
    [
      ['out', 0],
      ['out', 1],
      ['in', 0],
    ],
  );
  assert.equal(voices.changes[1].atMs, voices.changes[2].atMs);
});

test('silent groups - the larger a group, the rarer each member reports, and the longer the patience', () => {
  const { voices, a } = two();
  const large = Array.from({ length: 300 }, (_, index) => voices.add(0, 10 * index));
  for (const speaker of large) speaker.everyMs = stateEveryMs(300, 1_000) + 100;
  voices.pass(5_000);
  // One of all is left, while the view still has the others.
  voices.mute(a, ...large.slice(1));
  assert.equal(voices.pass(60_000).length, 0);
});

test('silent groups - new settings hold from the next judgement on', () => {
  const { voices, a } = two();
  voices.silent.retune(settingsSchema.parse({ groupSilence: { afterMs: 20_000, returnMs: 1_000 } }));
  voices.mute(a);
  assert.equal(voices.pass(18_000).length, 0);
  assert.equal(voices.pass(3_000).length, 1);
  voices.wake(a);
  assert.equal(voices.pass(1_500).length, 1);
  voices.silent.retune(settingsSchema.parse({ groupSilence: { afterMs: 10_000 }, watching: { stateMs: 5_000 } }));
  voices.mute(a);
  assert.equal(voices.pass(13_000).length, 0, 'three reports at least');
});
