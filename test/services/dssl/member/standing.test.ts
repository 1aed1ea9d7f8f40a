// Which commands a member's standing calls for: when it becomes active, drains and leaves, and who ticks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Proposals } from '../../../../services/dssl/member/proposals.ts';
import { Standing, type StandingFacts } from '../../../../services/dssl/member/standing.ts';
import type { Command } from '../../../../shared/log/records/command.ts';
import { isLifeOf } from '../../../../shared/membership/transitions.ts';
import { defaultRules, type MemberState, type View } from '../../../../shared/membership/view.ts';

const life = (server: string) => ({ server, incarnation: 1 });

function viewOf(...members: readonly [server: string, state: MemberState][]): View {
  return {
    group: 'g1',
    number: 1,
    placement: 'rendezvous',
    seed: 1,
    rules: defaultRules,
    members: members.map(([server, state], number) => ({
      ...{ ...life(server), number, state, weight: 1, base: 1, flows: 0 },
    })),
  };
}

/** The standing of one server; time passes in steps, as an actor's does. */
class Member {
  nowMs = 0;
  readonly appended: { readonly atMs: number; readonly command: Command }[] = [];
  readonly standing: Standing;
  view = viewOf();
  facts: Omit<StandingFacts, 'view'> = {
    epoch: 'e',
    isWhole: true,
    isOnLine: true,
    ownFlows: 0,
    endedFlows: 0,
    lag: 0,
  };

  constructor(server: string, ...members: readonly [server: string, state: MemberState][]) {
    const proposals = new Proposals((command) => this.appended.push({ atMs: this.nowMs, command }));
    this.standing = new Standing(life(server), proposals);
    this.follow(...members);
  }

  follow(...members: readonly [server: string, state: MemberState][]): boolean {
    this.view = viewOf(...members);
    return this.standing.onView(this.view);
  }

  /** Commands other than ticks that were appended meanwhile, in short. */
  pass(ms: number, facts: Partial<Omit<StandingFacts, 'view'>> = {}): string {
    this.facts = { ...this.facts, ...facts };
    const before = this.appended.length;
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += 20;
      this.standing.tick({ view: this.view, ...this.facts }, this.nowMs);
    }
    const kinds = this.appended.slice(before).map(({ command: { kind } }) => kind);
    return [...new Set(kinds.filter((kind) => kind !== 'tick'))].join(' ');
  }

  hear(command: Command): void {
    this.standing.onCommand(command, this.facts.isWhole, this.nowMs);
  }

  /** When it ticked. */
  get ticks(): number[] {
    return this.appended.filter(({ command: { kind } }) => kind === 'tick').map(({ atMs }) => atMs);
  }
}

test('standing - a joiner becomes active when it is whole, near the end of the log, and its server is ready', () => {
  const member = new Member('a', ['a', 'joining'], ['b', 'active']);
  assert.equal(member.standing.phase, 'joining');
  assert.equal(member.pass(1_000, { isWhole: false }), '');
  assert.equal(member.pass(1_000, { isWhole: true, lag: 65 }), '');
  member.standing.mayActivate = false;
  assert.equal(member.pass(1_000, { lag: 64 }), '');
  member.standing.mayActivate = true;
  assert.equal(member.pass(1_000), 'activate');
  assert.deepEqual(member.appended.find(({ command: { kind } }) => kind === 'activate')?.command, {
    ...{ kind: 'activate', author: life('a'), epoch: 'e' },
  });
  assert.equal(member.follow(['a', 'active'], ['b', 'active']), true);
  assert.equal(member.follow(['a', 'active']), false, 'that is about somebody else');
  assert.equal(member.pass(1_000), '');
});

test('standing - one that drains says so, and leaves when its flows have ended or its time is over', () => {
  for (const [ownFlows, leavesAfterMs] of [
    [0, 1_000],
    [5, 10_000],
  ] as const) {
    const member = new Member('a', ['a', 'active'], ['b', 'active']);
    member.standing.drain(10_000);
    assert.equal(member.pass(500, { ownFlows }), 'drain');
    member.follow(['a', 'draining'], ['b', 'active']);
    let said = '';
    while (said === '' && member.nowMs < 20_000) said = member.pass(100);
    assert.equal(said, 'leave');
    assert.ok(member.nowMs >= (ownFlows === 0 ? 0 : leavesAfterMs) && member.nowMs <= leavesAfterMs + 100);
    member.follow(['b', 'active']);
    assert.equal(member.standing.phase, 'left');
    assert.equal(member.pass(1_000), '');
  }
});

test('standing - one that drains and fetches state again has no flows in its table yet, and stays', () => {
  const member = new Member('a', ['a', 'active'], ['b', 'active']);
  member.standing.drain(10_000);
  member.follow(['a', 'draining'], ['b', 'active']);
  assert.equal(member.pass(5_000, { isWhole: false, ownFlows: 0 }), '');
  assert.equal(member.pass(100, { isWhole: true, ownFlows: 3 }), '');
  assert.equal(member.pass(6_000, { isWhole: false, ownFlows: 0 }), 'leave', 'its time is over');
});

test('standing - one that drains waits for another one that holds state: the others may all have lost it', () => {
  const member = new Member('a', ['a', 'active'], ['b', 'active']);
  member.standing.drain(1_000);
  member.follow(['a', 'draining'], ['b', 'active']);
  assert.equal(member.pass(5_000, { othersFollow: () => false }), '');
  assert.equal(member.pass(100, { othersFollow: () => true }), 'leave');
});

test('standing - a joiner that is to go leaves at once, whole or not', () => {
  const member = new Member('a', ['a', 'joining'], ['b', 'active']);
  member.standing.drain(60_000);
  assert.equal(member.pass(100, { isWhole: false }), 'leave');
});

test('standing - one that an operator drains leaves when its flows have ended, like any other', () => {
  const member = new Member('a', ['a', 'draining'], ['b', 'active']);
  assert.equal(member.pass(100, { ownFlows: 1 }), '');
  assert.equal(member.pass(100, { ownFlows: 0 }), 'leave');
});

test('standing - the only one that takes flows waits with draining for those that join, until its time is over', () => {
  const member = new Member('a', ['a', 'active'], ['b', 'joining']);
  member.standing.drain(5_000);
  assert.equal(member.pass(4_900), '');
  assert.equal(member.pass(200), 'drain');
  const other = new Member('a', ['a', 'active'], ['b', 'joining']);
  other.standing.drain(5_000);
  other.follow(['a', 'active'], ['b', 'active']);
  assert.equal(other.pass(100), 'drain');
});

test('standing - the last one that holds state waits for a joiner to fetch it, but not for ever', () => {
  const member = new Member('a', ['a', 'draining'], ['b', 'joining']);
  member.standing.drain(1_000);
  assert.equal(member.pass(15_900), '');
  assert.equal(member.pass(200), 'leave');
  const withAnother = new Member('a', ['a', 'draining'], ['b', 'joining'], ['c', 'draining']);
  assert.equal(withAnother.pass(100), 'leave', 'c holds it, too');
  const alone = new Member('a', ['a', 'draining']);
  assert.equal(alone.pass(100), 'leave', 'nobody needs it');
});

test('standing - one that does not follow the line appends nothing: it would pass for one that does', () => {
  const member = new Member('a', ['a', 'joining'], ['b', 'active']);
  member.standing.drain(0);
  member.pass(5_000, { isOnLine: false });
  assert.deepEqual(member.appended, []);
});

test('standing - the first member ticks after a second of silence, each one behind it a moment later', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  const members = names.map(
    (name) => new Member(name, ...names.map((each) => [each, 'active'] as [string, MemberState])),
  );
  for (const member of members) member.pass(3_000);
  const first = members.map(({ ticks }) => ticks[0]);
  // Counted from the first time it looked.
  assert.deepEqual(
    first.map((atMs) => atMs - 20),
    [1_000, 1_160, 1_300, 1_460, 1_600, 1_760, 1_760],
  );
});

test('standing - whoever speaks in the log spares the others the tick', () => {
  const member = new Member('a', ['a', 'active'], ['b', 'active']);
  for (let times = 0; times < 10; times++) {
    member.pass(900);
    member.hear({ kind: 'tick', author: life('b'), epoch: 'e' });
  }
  assert.deepEqual(member.ticks, []);
});

test('standing - somebody asks who holds state: whoever does ticks at once, and who does not, does not', () => {
  const ask: Command = { kind: 'ask', author: life('new'), epoch: '' };
  const member = new Member('a', ['a', 'active']);
  member.pass(500);
  member.hear(ask);
  member.pass(40);
  assert.equal(member.ticks.length, 1);
  const asking = new Member('a', ['a', 'active']);
  asking.pass(500);
  asking.hear({ ...ask, author: life('a') });
  asking.pass(100);
  assert.deepEqual(asking.ticks, [], 'it asks itself');
  const fetching = new Member('a', ['a', 'joining'], ['b', 'active']);
  fetching.pass(500, { isWhole: false });
  fetching.hear(ask);
  fetching.pass(5_000);
  assert.deepEqual(fetching.ticks, []);
});

test('standing - one that is no member ticks only where there is none, or none does', () => {
  const empty = new Member('x');
  empty.pass(1_100);
  assert.equal(empty.ticks.length, 1);
  const beside = new Member('x', ['a', 'active']);
  beside.pass(1_800);
  assert.deepEqual(beside.ticks, []);
  beside.pass(300);
  assert.equal(beside.ticks.length, 1);
  assert.ok(isLifeOf(beside.appended[0].command.author, life('x')));
});
