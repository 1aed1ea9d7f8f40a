// Who is dead, and who only looks it: groups of stewards that are killed, paused, cut off and made deaf.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Steward } from '../../../../services/dssl/member/steward.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { defaultSettings } from '../../../../shared/config/settings.ts';
import { decodeGossip, encodeGossip } from '../../../../shared/membership/gossip.ts';
import type { View } from '../../../../shared/membership/view.ts';
import { StewardGroup } from '../../../support/stewards.ts';

/** Nobody is judged in the first moments. */
const quietMs = 4_000;

function killedAfter(group: StewardGroup, number: number, withinMs: number): number {
  const { name } = group.member(number);
  const killedAtMs = group.nowMs;
  group.member(number).isAlive = false;
  group.run(withinMs);
  const change = group.changes.find(({ view }) => !view.members.some(({ server }) => server === name));
  assert.ok(change !== undefined, `${name} is still a member after ${withinMs} ms`);
  return change.atMs - killedAtMs;
}

describe('steward', () => {
  for (const members of [2, 3, 4, 12, 40]) {
    test(`steward - one of ${members} is killed: it is out within a second, by one view, and nobody else is`, () => {
      for (let seed = 1; seed <= 10; seed++) {
        const group = new StewardGroup({ members, seed });
        group.run(quietMs + seed * 17);
        const tookMs = killedAfter(group, 1 + (seed % members), 1_000);
        assert.ok(tookMs > defaultSettings.watching.confirmMs, `${tookMs} ms: it had no time to speak`);
        group.run(5_000);
        assert.deepEqual([group.view.number, group.view.members.length], [2, members - 1]);
      }
    });
  }

  test('steward - most of a group is killed at once, watchers and all: those that are left find out', () => {
    const group = new StewardGroup({ members: 12 });
    group.run(quietMs);
    for (const number of [2, 3, 4, 5, 6, 7, 9, 11]) group.member(number).isAlive = false;
    group.run(10_000);
    assert.deepEqual(group.present, ['s0001', 's0008', 's0010', 's0012']);
  });

  test('steward - whoever is about to write the view dies, one after the other: the next one does it', () => {
    const group = new StewardGroup({ members: 12 });
    group.run(quietMs);
    let deaths = 0;
    group.beforeCommit = (by) => {
      if (deaths >= 2) return true;
      deaths++;
      by.isAlive = false;
      return false;
    };
    group.member(6).isAlive = false;
    group.run(10_000);
    assert.equal(deaths, 2);
    assert.equal(group.present.length, 9);
    assert.ok(!group.present.includes('s0006'));
  });

  test('steward - pauses below the limit cost nobody its place, however often', () => {
    const group = new StewardGroup({ members: 8 });
    let turn = 0;
    group.run(600_000, (nowMs) => {
      if (nowMs % 700 !== 0) return;
      group.members[turn++ % 8].pausedUntilMs = nowMs + 560;
    });
    assert.equal(group.view.number, 1);
  });

  test('steward - the whole machine stands still: nobody is removed, whoever wakes first', () => {
    for (let first = 0; first < 6; first++) {
      const group = new StewardGroup({ members: 6 });
      group.run(quietMs);
      for (const [index, member] of group.members.entries())
        member.pausedUntilMs = group.nowMs + 5_000 + 60 * ((index + first) % 6);
      group.run(20_000);
      assert.equal(group.view.number, 1);
    }
  });

  test('steward - gossip that gets lost costs nobody its place', () => {
    const group = new StewardGroup({ members: 8, loss: 0.2 });
    group.run(600_000);
    assert.equal(group.view.number, 1);
  });

  test('steward - a member that hears little of what is said removes nobody, in a group of any size', () => {
    for (const members of [2, 3, 6]) {
      for (const percent of [50, 70, 80, 90]) {
        const group = new StewardGroup({ members });
        const prng = new Prng(percent);
        group.reaches = (_, to) => to !== 's0001' || !prng.chance(percent, 100);
        group.run(60_000);
        assert.equal(group.view.number, 1, `${members} members, ${percent} % lost`);
      }
    }
  });

  test('steward - NATS is gone for everybody, and they come back at different times', () => {
    const group = new StewardGroup({ members: 8 });
    group.run(quietMs);
    for (const member of group.members) group.cut(member);
    group.run(4_000);
    for (const member of group.members) {
      group.run(200);
      group.reconnect(member);
    }
    group.run(20_000);
    assert.equal(group.view.number, 1);
    assert.ok(killedAfter(group, 3, 1_000) > 0, 'and then the dead are found again');
  });

  test('steward - what one member alone does not hear is no death', () => {
    const group = new StewardGroup({ members: 6 });
    group.run(quietMs);
    group.reaches = (from, to) => !(from === 's0003' && to === 's0004');
    group.run(30_000);
    assert.equal(group.view.number, 1);
    assert.ok(group.member(3).steward.counters.refutations > 0);
    assert.ok(group.member(3).steward.detector.slowness > 0, 'who is suspected is patient');
  });

  test('steward - of two, the one that is deaf does not remove the other', () => {
    const group = new StewardGroup({ members: 2 });
    group.run(quietMs);
    group.reaches = (_, to) => to !== 's0002';
    group.run(30_000);
    assert.equal(group.view.number, 1);
  });

  test('steward - a member that nobody hears is out, and does no harm when it hears of that', () => {
    const group = new StewardGroup({ members: 5 });
    group.run(quietMs);
    group.reaches = (from) => from !== 's0002';
    group.run(1_500);
    assert.deepEqual(group.present, ['s0001', 's0003', 's0004', 's0005']);
    group.reaches = (_, to) => to !== 's0002';
    group.run(30_000);
    assert.equal(group.view.number, 2, 'who is no member removes nobody');
  });

  test('steward - a member that has never spoken is given more time, and not forever', () => {
    for (const members of [2, 3]) {
      const group = new StewardGroup({ members });
      group.member(2).isAlive = false;
      group.run(2_900);
      assert.equal(group.view.number, 1);
      group.run(500);
      assert.ok(
        !group.present.includes('s0002'),
        `one of ${members}: the time in which nobody is judged counts as well`,
      );
    }
  });

  test('steward - what the store was slow to do is not done when the member has spoken, or others have come', () => {
    for (const turn of ['none', 'speaks', 'newcomer'] as const) {
      const steps: ((view: View) => View)[] = [];
      const steward = new Steward({ server: 's1', incarnation: 1 }, defaultSettings, {
        beat: (bytes) => steward.onMessage(bytes, nowMs),
        gossip: (bytes) => steward.onMessage(bytes, nowMs),
        watch: () => undefined,
        propose: (step) => void steps.push(step),
        load: () => undefined,
        onDead: () => undefined,
      });
      const { view } = new StewardGroup({ members: 2 });
      const members = view.members.map((member, index) => ({ ...member, server: `s${index + 1}` }));
      const pair = { ...view, members };
      let nowMs = 0;
      steward.onView(pair, nowMs);
      for (; steps.length === 0 && nowMs < 10_000; nowMs += 50) steward.tick(nowMs, 'active');
      assert.ok(steps.length > 0);
      const three = { ...pair, number: 2, members: [...members, { ...members[0], server: 's3' }] };
      if (turn === 'speaks') {
        steward.onMessage(encodeGossip({ kind: 'beat', server: 's2', incarnation: 1, beat: 1 }), nowMs);
        steward.tick(nowMs, 'active');
      }
      const next = steps[0](turn === 'newcomer' ? three : pair);
      assert.equal(next.members.length, { none: 1, speaks: 2, newcomer: 3 }[turn], turn);
    }
  });

  test('steward - one that was stopped suspects nobody while what came meanwhile is still to be read', () => {
    const underWay: Uint8Array[] = [];
    const said: string[] = [];
    const say = (bytes: Uint8Array): void => {
      underWay.push(bytes);
      said.push(decodeGossip(bytes)?.kind ?? '');
    };
    const steward = new Steward({ server: 's1', incarnation: 1 }, defaultSettings, {
      beat: say,
      gossip: say,
      watch: () => undefined,
      propose: () => undefined,
      load: () => undefined,
      onDead: () => undefined,
    });
    const { view } = new StewardGroup({ members: 3 });
    const members = view.members.map((member, index) => ({ ...member, server: `s${index + 1}` }));
    let nowMs = 0;
    let beat = 0;
    const others = () => {
      for (const server of ['s2', 's3']) underWay.push(encodeGossip({ kind: 'beat', server, incarnation: 1, beat }));
      beat++;
    };
    const read = () => {
      for (const bytes of underWay.splice(0)) steward.onMessage(bytes, nowMs);
    };
    steward.onView({ ...view, members }, nowMs);
    for (; nowMs < 6_000; nowMs += 50) {
      if (nowMs % 100 === 0) others();
      read();
      steward.tick(nowMs, 'active');
    }
    steward.tick(nowMs, 'active');
    for (; nowMs < 9_000; nowMs += 100) others();
    // Its timer comes again after the first message, which is its own.
    const [first] = underWay.splice(0, 1);
    assert.deepEqual(decodeGossip(first)?.server, 's1');
    steward.onMessage(first, nowMs);
    steward.tick(nowMs, 'active');
    assert.deepEqual([said.includes('beat'), said.includes('suspect')], [true, false]);
    read();
    steward.tick(nowMs + 50, 'active');
    assert.equal(said.includes('suspect'), false);
  });

  test('steward - a member says at once where it stands when that changes, and else once a period', () => {
    const group = new StewardGroup({ members: 3 });
    const { counters } = group.member(2).steward;
    group.run(5_000);
    assert.ok(counters.states >= 5 && counters.states <= 6, `${counters.states}`);
    const before = counters.states;
    group.member(2).state = 'draining';
    group.run(20);
    assert.equal(counters.states, before + 1);
  });

  test('steward - a member of a large group sends and hears about as much as one of a small group', () => {
    const bytesPerSecond = (members: number) => {
      const group = new StewardGroup({ members });
      group.run(2_000);
      const before = group.deliveredBytes;
      group.run(10_000);
      return (group.deliveredBytes - before) / members / 10;
    };
    const [small, large] = [bytesPerSecond(10), bytesPerSecond(200)];
    assert.ok(large < 5 * small, `${large} bytes a second of 200 members, ${small} of 10`);
  });
});
