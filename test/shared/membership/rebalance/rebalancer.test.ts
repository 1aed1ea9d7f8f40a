// The rebalancer: how long a move must be wanted, the pauses between moves, and a closed loop in which load makes moves and moves
// make load: it follows the traffic, and is quiet when that rests.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../../../shared/base/limits.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { defaultSettings, type RebalanceSettings } from '../../../../shared/config/settings.ts';
import type { Load } from '../../../../shared/membership/load.ts';
import { chooseServer, type Move, Rebalancer, summaryKeptMs } from '../../../../shared/membership/rebalance/policy.ts';
import { summarize } from '../../../../shared/membership/rebalance/summary.ts';
import { takesFlows } from '../../../../shared/membership/standbys.ts';
import { activate, drain, join, leave, move } from '../../../../shared/membership/transitions.ts';
import { emptyView, type Member, type View } from '../../../../shared/membership/view.ts';
import { loadOf, viewOf } from '../../../support/weights.ts';

const auto: RebalanceSettings = { ...defaultSettings.rebalance, mode: 'auto' };

const spare = { from: 'g1', to: 'g2' };

/** A group of three servers with so much processor time in all; `more` of its members, and who says it. */
function said(group: string, cpu: number, more: { moving?: number; view?: number; sender?: string } = {}) {
  const view = { ...viewOf([100, 100, 100]), group, number: more.view ?? 1 };
  const loads = new Map(view.members.map(({ server }) => [server, loadOf({ cpu: cpu / 3 })]));
  const sender = { server: more.sender ?? `${group}-0`, incarnation: 1 };
  const { moving = 0 } = more;
  return { ...summarize(view, loads), moving, leaving: moving, sender };
}

type Said = ReturnType<typeof said>;

/** The rebalancer hears what the groups say, and is asked, every second in [fromMs, toMs). Returns when it proposed what. */
function drive(rebalancer: Rebalancer, settings: RebalanceSettings, fromMs: number, toMs: number, says = needy) {
  const proposed: { atMs: number; move: Move }[] = [];
  for (let nowMs = fromMs; nowMs < toMs; nowMs += 1_000) {
    for (const message of says(nowMs)) rebalancer.heard(message, nowMs);
    const move = rebalancer.propose(settings, nowMs);
    if (move !== undefined) proposed.push({ atMs: nowMs, move });
  }
  return proposed;
}

/** One group is idle and one is busy. */
const needy = (_nowMs: number): readonly Said[] => [said('g1', 0.3), said('g2', 2.4)];
const timesOf = (proposed: readonly { atMs: number }[]) => proposed.map(({ atMs }) => atMs);

test('rebalancer - a move is proposed when it has been wanted for a while, and again after the pause when nothing came of it', () => {
  const proposed = drive(new Rebalancer(), auto, 0, 140_000);
  assert.deepEqual(timesOf(proposed), [10_000, 70_000, 130_000]);
  const [{ move }] = proposed;
  assert.deepEqual({ from: move.from, to: move.to }, spare);
  assert.equal(move.why, 'g2 has 0.8 cpu a server, g1 0.1, and 0.15 after giving one');
});

test('rebalancer - it proposes nothing while it is off, and waits anew when it is turned on', () => {
  const rebalancer = new Rebalancer();
  assert.deepEqual(drive(rebalancer, { ...auto, mode: 'off' }, 0, 60_000), []);
  assert.deepEqual(timesOf(drive(rebalancer, auto, 60_000, 80_000)), [70_000]);
});

test('rebalancer - advice is told once, and again when the need has gone and come', () => {
  const rebalancer = new Rebalancer();
  const advise: RebalanceSettings = { ...auto, mode: 'advise' };
  // Each of the idle groups is the best giver in turn.
  const idlers = (nowMs: number) => {
    const [one, other] = nowMs % 2_000 === 0 ? [0.3, 0.33] : [0.33, 0.3];
    return [said('g1', one), said('g2', 2.4), said('g3', other)];
  };
  assert.deepEqual(timesOf(drive(rebalancer, advise, 0, 300_000, idlers)), [10_000]);
  const calm = () => [said('g1', 0.3), said('g2', 0.3), said('g3', 0.3)];
  assert.deepEqual(drive(rebalancer, advise, 300_000, 302_000, calm), []);
  assert.deepEqual(timesOf(drive(rebalancer, advise, 302_000, 400_000, idlers)), [312_000]);
});

test('rebalancer - a break begins the wait anew: of the need, of the summaries, of the one who asks', () => {
  const need = (nowMs: number) => (nowMs === 8_000 ? [said('g1', 0.3), said('g2', 0.5)] : needy(nowMs));
  assert.deepEqual(timesOf(drive(new Rebalancer(), auto, 0, 30_000, need)), [19_000]);

  const silent = (nowMs: number) => (nowMs > 2_000 && nowMs < 9_000 ? [said('g2', 2.4)] : needy(nowMs));
  assert.deepEqual(timesOf(drive(new Rebalancer(), auto, 0, 30_000, silent)), [19_000]);

  const paused = new Rebalancer();
  drive(paused, auto, 0, 9_000);
  assert.deepEqual(timesOf(drive(paused, auto, 20_000, 40_000)), [30_000]);
});

test('rebalancer - a summary counts for five seconds', () => {
  const settings = { ...auto, forMs: 0 };
  for (const [laterMs, isProposed] of [
    [summaryKeptMs, true],
    [summaryKeptMs + 1, false],
  ] as const) {
    const rebalancer = new Rebalancer();
    for (const message of needy(0)) rebalancer.heard(message, 0);
    assert.equal(rebalancer.propose(settings, laterMs) !== undefined, isProposed, `${laterMs} ms later`);
  }
});

test('rebalancer - where two idle groups take turns as the best giver, one gives', () => {
  const idlers = (nowMs: number) => {
    const [one, other] = nowMs % 2_000 === 0 ? [0.3, 0.33] : [0.33, 0.3];
    return [said('g1', one), said('g2', 2.4), said('g3', other)];
  };
  assert.deepEqual(timesOf(drive(new Rebalancer(), auto, 0, 30_000, idlers)), [10_000]);
});

test('rebalancer - a move that somebody else has begun is waited for, and the pause counts from its begin', () => {
  const moved = (nowMs: number) =>
    nowMs < 5_000 || nowMs >= 15_000 ? needy(nowMs) : [said('g1', 0.3, { moving: 1 }), said('g2', 2.4)];
  assert.deepEqual(timesOf(drive(new Rebalancer(), auto, 0, 90_000, moved)), [65_000]);
  // A move that is long over leaves only the time that it must be wanted.
  assert.deepEqual(timesOf(drive(new Rebalancer(), { ...auto, everyMs: 1_000 }, 0, 26_000, moved)), [25_000]);
  const noted = new Rebalancer();
  noted.noteMove(0);
  assert.deepEqual(timesOf(drive(noted, auto, 0, 90_000)), [60_000]);
});

test('rebalancer - of two that speak for a group, the one with the older view is not heeded while the other speaks', () => {
  const late = (nowMs: number) => [
    ...[said('g1', 0.3), said('g2', 0.3, { view: 5, sender: 'new' })],
    ...(nowMs < 20_000 ? [] : [said('g2', 2.4, { view: 4, sender: 'old' })]),
  ];
  assert.deepEqual(drive(new Rebalancer(), auto, 0, 60_000, late), []);
  const alone = (nowMs: number) => late(nowMs).filter(({ sender }) => nowMs < 20_000 || sender.server !== 'new');
  // From 25 s on nothing newer than the older view is known.
  assert.deepEqual(timesOf(drive(new Rebalancer(), auto, 0, 60_000, alone)), [35_000]);
});

test('rebalancer - who speaks for a group is heeded when its view begins anew', () => {
  const anew = (nowMs: number) =>
    nowMs < 5_000 ? [said('g1', 0.3), said('g2', 0.3, { view: 9 })] : [said('g1', 0.3), said('g2', 2.4)];
  assert.deepEqual(timesOf(drive(new Rebalancer(), auto, 0, 30_000, anew)), [15_000]);
});

test('rebalancer - it looks twice a second at most, and a move that is wanted by another load is another one', () => {
  const settings = { ...auto, forMs: 0 };
  const rebalancer = new Rebalancer();
  assert.equal(rebalancer.propose(settings, 0), undefined);
  for (const message of needy(0)) rebalancer.heard(message, 0);
  assert.equal(rebalancer.propose(settings, 499), undefined);
  assert.notEqual(rebalancer.propose(settings, 500), undefined);

  const switched = new Rebalancer();
  const both = (nowMs: number) =>
    needy(nowMs).map((each) => ({ ...each, loads: { ...each.loads, handler: each.loads.cpu } }));
  drive(switched, auto, 0, 9_000, both);
  assert.deepEqual(timesOf(drive(switched, { ...auto, by: 'handler' }, 9_000, 30_000, both)), [19_000]);
});

test('rebalancer - a clock that is set back only makes the pause begin anew', () => {
  const rebalancer = new Rebalancer();
  assert.equal(drive(rebalancer, auto, 9_000_000, 9_011_000).length, 1);
  assert.deepEqual(timesOf(drive(rebalancer, auto, 0, 70_000)), [60_000]);
});

test('rebalancer - groups without end do not fill the memory, and those that go on speaking are remembered', () => {
  const crowd = (count: number) => (nowMs: number) => [
    ...needy(nowMs),
    ...Array.from({ length: count }, (_, index) => said(`x${nowMs}-${index}`, 0.6)),
  ];
  assert.deepEqual(timesOf(drive(new Rebalancer(), auto, 0, 11_000, crowd(limits.groups - 2))), [10_000]);
  assert.deepEqual(drive(new Rebalancer(), { ...auto, forMs: 0 }, 0, 3_000, crowd(limits.groups)), []);
});

/** A model of a cluster: the load of a group is shared by its servers that take flows, and told with noise; a move takes 5 s. */
class Cluster {
  views: View[];
  moves = 0;
  readonly #rebalancer = new Rebalancer();
  readonly #prng = new Prng('rebalance');
  readonly #settings: RebalanceSettings;
  #underWay: { readonly member: Member; readonly from: number; readonly to: number; readonly atMs: number }[] = [];
  #number = 100;

  constructor(settings: RebalanceSettings, servers: readonly number[] = [3, 3, 3, 3]) {
    this.#settings = settings;
    this.views = servers.map((count, group) => {
      const view = viewOf(Array.from({ length: count }, (_, index) => ({ server: `g${group}-s${index}` })));
      return { ...emptyView({ ...view, group: `g${group}` }), number: 1, members: view.members };
    });
  }

  /** A second passes; `work` is what each group has to do, in cores. Returns the largest load a server over the average. */
  pass(nowMs: number, work: readonly number[]): number {
    this.#goOn(nowMs);
    for (const view of this.views) {
      const loads = this.#loads(work);
      const sender = { server: view.members[0].server, incarnation: 1 };
      this.#rebalancer.heard({ ...summarize(view, loads), sender }, nowMs);
    }
    const wanted = this.#rebalancer.propose(this.#settings, nowMs);
    if (wanted !== undefined) this.#begin(wanted, nowMs);
    const each = this.views.map((view, group) => work[group] / view.members.filter(takesFlows).length);
    const servers = this.views.reduce((sum, view) => sum + view.members.filter(takesFlows).length, 0);
    return Math.max(...each) / (work.reduce((a, b) => a + b) / servers);
  }

  sizes(): number[] {
    return this.views.map(({ members }) => members.length);
  }

  #begin({ from, to }: Move, nowMs: number): void {
    const [giver, taker] = [from, to].map((group) => this.views.findIndex((view) => view.group === group));
    const member = chooseServer(this.views[giver], new Map())!;
    this.views[giver] = move(this.views[giver], member, to, member);
    const terms = { replaces: undefined, needAt: undefined };
    this.views[taker] = join(this.views[taker], { ...member, weight: 100 }, this.#number++, terms);
    this.#underWay.push({ member, from: giver, to: taker, atMs: nowMs });
    this.moves++;
  }

  #goOn(nowMs: number): void {
    for (const { member, from, to, atMs } of this.#underWay) {
      if (nowMs >= atMs + 3_000) this.views[to] = activate(this.views[to], member);
      if (nowMs >= atMs + 3_000) this.views[from] = drain(this.views[from], member);
      if (nowMs >= atMs + 5_000) this.views[from] = leave(this.views[from], member);
    }
    this.#underWay = this.#underWay.filter(({ atMs }) => nowMs < atMs + 5_000);
  }

  /** What each server tells: its part of the work, within a tenth of the truth. */
  #loads(work: readonly number[]): Map<string, Load> {
    const loads = new Map<string, Load>();
    for (const [group, { members }] of this.views.entries()) {
      const taking = members.filter(takesFlows);
      for (const { server } of taking) {
        const noise = 0.9 + (0.2 * this.#prng.below(1_001)) / 1_000;
        loads.set(server, loadOf({ cpu: (noise * work[group]) / taking.length }));
      }
    }
    return loads;
  }
}

/** One group of four has four times the work of the others; the next one has it after so long. */
function hotspot(periodMs: number): (nowMs: number) => number[] {
  return (nowMs) => [0, 1, 2, 3].map((group) => (Math.floor(nowMs / periodMs) % 4 === group ? 2.4 : 0.6));
}

/** Runs the model, and says how far the busiest group was above the average, on average, and how many moves that took. */
function run(settings: RebalanceSettings, work: (nowMs: number) => number[], seconds: number) {
  const cluster = new Cluster(settings);
  let sum = 0;
  let worst = 0;
  for (let second = 0; second < seconds; second++) {
    const ratio = cluster.pass(second * 1_000, work(second * 1_000));
    sum += ratio;
    worst = Math.max(worst, ratio);
  }
  return { mean: sum / seconds, worst, moves: cluster.moves, sizes: cluster.sizes() };
}

test('rebalancer loop - servers follow a hot spot that moves every minute, if the pause is short against that', () => {
  const quick = { ...auto, forMs: 3_000, everyMs: 6_000 };
  const minute = hotspot(60_000);
  const fixed = run({ ...auto, mode: 'off' }, minute, 2_400);
  const followed = run(quick, minute, 2_400);
  assert.ok(Math.abs(fixed.mean - 2.29) < 0.01, `${fixed.mean} without moves`);
  assert.ok(followed.mean < 1.7, `${followed.mean} with moves`);
  // The group that becomes hot has given a server before, so it is worse off than without moves until it gets some.
  assert.ok(followed.worst < 3.5, `${followed.worst} at worst`);
  // Four servers go to each hot spot, and none goes back and forth.
  assert.ok(followed.moves <= 4 * 40, `${followed.moves} moves`);
  assert.deepEqual(
    [...followed.sizes].sort((a, b) => a - b),
    [2, 2, 2, 6],
  );
});

test('rebalancer loop - with the usual pauses a hot spot of a minute is over before a server helps, and a lasting one is followed', () => {
  const late = run(auto, hotspot(60_000), 2_400);
  assert.ok(late.mean < 2.4 && late.moves <= 40, `${late.mean} after ${late.moves} moves`);
  const fiveMinutes = run(auto, hotspot(300_000), 6_000);
  assert.ok(fiveMinutes.mean < 1.7 && fiveMinutes.moves <= 4 * 20, `${fiveMinutes.mean}, ${fiveMinutes.moves} moves`);
  const twentyMinutes = run(auto, hotspot(1_200_000), 12_000);
  assert.ok(twentyMinutes.mean < 1.4 && twentyMinutes.moves <= 4 * 10, `${twentyMinutes.mean}`);
});

test('rebalancer loop - at rest there are no moves, however long, with loads that tremble by a tenth', () => {
  const even = run({ ...auto, everyMs: 6_000, forMs: 3_000 }, () => [1.5, 1.5, 1.5, 1.5], 14_400);
  assert.equal(even.moves, 0);
});

test('rebalancer loop - where the work is uneven and stays so, moves come to an end', () => {
  const prng = new Prng('uneven');
  for (let round = 0; round < 20; round++) {
    const work = [0, 1, 2, 3].map(() => (1 + prng.below(40)) / 10);
    const cluster = new Cluster({ ...auto, everyMs: 6_000, forMs: 3_000 });
    for (let second = 0; second < 600; second++) cluster.pass(second * 1_000, work);
    const { moves } = cluster;
    assert.ok(moves <= 8, `${moves} moves for ${work}`);
    // Where a move is nearly wanted, chance can make it wanted for long enough, but not back again.
    for (let second = 600; second < 3_000; second++) cluster.pass(second * 1_000, work);
    assert.ok(cluster.moves <= moves + 1, `${cluster.moves - moves} moves for ${work} when all was settled`);
  }
});
