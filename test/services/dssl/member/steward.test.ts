// Who is dead, and who only looks it: groups of stewards that are killed, paused, cut off and made deaf.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Steward } from '../../../../services/dssl/member/steward.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { defaultSettings } from '../../../../shared/config/settings.ts';
import { decodeGossip, encodeGossip } from '../../../../shared/membership/gossip.ts';
import type { Life } from '../../../../shared/membership/transitions.ts';
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

const silent = {
  remove: () => undefined,
  weigh: () => undefined,
  load: () => undefined,
  line: () => undefined,
  lineState: () => undefined,
  digests: () => [],
  onState: () => undefined,
  onDead: () => undefined,
};

const ownLine = {
  state: 'following',
  epochNumber: 2,
  epoch: 'e2',
  position: 90,
  lag: 0,
  lagMs: 0,
  handled: 80,
} as const;

/** One steward that hears itself at once, and what it wants to remove. */
function single() {
  const removed: { readonly life: Life; readonly handled: number }[] = [];
  let atMs = 0;
  const echo = (bytes: Uint8Array): void => steward.onMessage(bytes, atMs);
  const steward = new Steward({ server: 's1', incarnation: 1 }, defaultSettings, {
    ...silent,
    line: () => ownLine,
    lineState: () => ownLine.state,
    beat: echo,
    gossip: echo,
    watch: () => undefined,
    remove: (life, handled) => void removed.push({ life, handled }),
  });
  const at = (nowMs: number): Steward => {
    atMs = nowMs;
    return steward;
  };
  return { steward: { at }, removed };
}

describe('steward', () => {
  for (const members of [2, 3, 4, 12, 40]) {
    test(`steward - one of ${members} is killed: it is out within a second, by one command, and nobody else is`, () => {
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

  test('steward - whoever is about to append the removal dies, one after the other: the next one does it', () => {
    const group = new StewardGroup({ members: 12 });
    group.run(quietMs);
    let deaths = 0;
    group.beforeAppend = (by) => {
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

  test('steward - a removal is proposed as long as the member is silent, and no longer when it has spoken or is out', () => {
    for (const turn of ['none', 'speaks', 'out', 'next life'] as const) {
      const { steward, removed } = single();
      const { view } = new StewardGroup({ members: 2 });
      const members = view.members.map((member, index) => ({ ...member, server: `s${index + 1}` }));
      let nowMs = 0;
      const run = (untilMs: number, stops = () => false) => {
        for (; nowMs < untilMs && !stops(); nowMs += 50) steward.at(nowMs).tick(nowMs, 'active');
      };
      steward.at(nowMs).onView({ ...view, members }, nowMs);
      run(10_000, () => removed.length > 0);
      assert.ok(removed.length > 0);
      if (turn === 'speaks') {
        steward.at(nowMs).onMessage(encodeGossip({ kind: 'beat', server: 's2', incarnation: 1, beat: 1 }), nowMs);
      } else if (turn !== 'none') {
        const next = turn === 'out' ? [members[0]] : [members[0], { ...members[1], incarnation: 2 }];
        steward.at(nowMs).onView({ ...view, number: 2, members: next }, nowMs);
      }
      removed.length = 0;
      run(nowMs + 500);
      assert.equal(removed.length > 0, turn === 'none', turn);
    }
  });

  test('steward - a removal says how far that very life had handled the log, and nothing of a life before it or another line', () => {
    const { view } = new StewardGroup({ members: 2 });
    const members = view.members.map((member, index) => ({
      ...member,
      server: `s${index + 1}`,
      incarnation: index + 1,
    }));
    const removedAfter = (...said: readonly [incarnation: number, epoch: string, handled: number][]) => {
      const { steward, removed } = single();
      let nowMs = 0;
      steward.at(nowMs).onView({ ...view, members }, nowMs);
      for (const [incarnation, epoch, handled] of said) {
        const line = { ...ownLine, epoch, position: 9_000, handled };
        const state = { kind: 'state', server: 's2', incarnation, beat: 1, state: 'active', view: 1 } as const;
        steward.at(nowMs).onMessage(encodeGossip({ ...state, line, load: undefined, digests: [] }), nowMs);
      }
      for (; removed.length === 0 && nowMs < 10_000; nowMs += 50) steward.at(nowMs).tick(nowMs, 'active');
      assert.deepEqual(removed[0]?.life, { server: 's2', incarnation: 2 });
      return removed[0].handled;
    };
    assert.equal(removedAfter([2, ownLine.epoch, 77]), 77);
    assert.equal(
      removedAfter([2, ownLine.epoch, 77], [1, ownLine.epoch, 5_000]),
      77,
      'a former life, held back for long',
    );
    assert.equal(removedAfter([1, ownLine.epoch, 5_000]), 0);
    assert.equal(removedAfter([2, 'another', 77]), 0, 'nobody knows where that is');
    assert.equal(removedAfter([2, 'another', 7_700], [2, ownLine.epoch, 12]), 12, 'it has come over to this line');
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
      ...silent,
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

  test('steward - from a hundred members on, a larger group costs a member nothing more', () => {
    const bytesPerSecond = (members: number) => {
      const group = new StewardGroup({ members });
      group.run(2_000);
      const before = group.deliveredBytes;
      group.run(10_000);
      return (group.deliveredBytes - before) / members / 10;
    };
    const [small, large, largest] = [10, 100, 300].map(bytesPerSecond);
    assert.ok(large < 6 * small, `${large} bytes a second of 100 members, ${small} of 10`);
    assert.ok(largest < 1.1 * large, `${largest} bytes a second of 300 members, ${large} of 100`);
  });
});
