// Tables that have come to differ, by hand, and what the members of a group make of that by themselves. The transcript
// of two owners shows the same of flows that two tier 1s start under different views.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EntropyCounters } from '../../../../services/dssl/old/antiEntropy.ts';
import { encodeEntropy, readEntropy } from '../../../../services/dssl/old/entropyMessages.ts';
import { controlFields } from '../../../../services/dssl/old/sync.ts';
import { TableSums } from '../../../../services/dssl/old/tableSums.ts';
import { FlowState } from '../../../../services/dssl/replica/flows/entry.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { ProtocolClass } from '../../../../shared/flow/frameFlags.ts';
import type { GroupRules } from '../../../../shared/membership/view.ts';
import { fin, groupOf, hiOf, type Module, type Row, syn, type TestGroup, tcp, udp } from '../../../support/group.ts';

/** Steps of 100 ms in which a repair must be done: two rounds of at most eleven seconds, and some more. */
const longEnough = 350;

test('anti-entropy - a flow that is missing in one table is told by its owner', () => {
  const { group, owner, others } = withFlows(fig7);
  const [flow] = flowsOf(owner, 40);
  forget(others[0], flow);
  alive(group, longEnough, (each) => each !== flow);
  assert.equal(ownerIn(others[0], flow), owner.name);
  assert.deepEqual(counts(others[0], 'rowsRepaired', 'bucketsAsked', 'entriesForgotten'), [1, 1, 0]);
  assert.deepEqual(counts(others[1], 'rowsRepaired', 'bucketsAsked', 'bucketsDiffered'), [0, 0, 0]);
  assert.deepEqual(counts(owner, 'bucketsTold'), [1]);
});

test('anti-entropy - a flow that is down for the wrong member is corrected', () => {
  const { group, owner, others } = withFlows(fig7);
  const [flow] = flowsOf(owner, 40);
  const [b, c] = others;
  const { table } = b.core.decider;
  table.setOwner(table.peek(hiOf(flow), flow), b.core.views.numberOf(c.name, 1));
  alive(group, longEnough);
  assert.equal(ownerIn(b, flow), owner.name);
  assert.deepEqual(counts(b, 'rowsRepaired', 'entriesForgotten'), [1, 0]);
});

test('anti-entropy - a flow that its owner does not have is forgotten, and the next packet places it anew', () => {
  for (const isSilent of [true, false]) {
    const { group, owner, others } = withFlows(fig7);
    const [flow] = flowsOf(owner, 40);
    // By this view the owner would not get it. Everybody takes it to be the owner's, the owner to be another one's.
    group.propose((view) => reweighed(view, [0, 100, 100]));
    alive(group, 20);
    forget(owner, flow);
    alive(group, longEnough, (each) => !isSilent || each !== flow);
    const taker = isSilent ? group.owner({ flow, flags: udp }) : flowIn(others, flow);
    assert.ok(taker !== '' && taker !== owner.name);
    assert.equal(group.owner({ flow, flags: udp }), taker);
    for (const each of others) assert.deepEqual(counts(each, 'entriesForgotten', 'twoOwners'), [1, 0]);
  }
});

test('anti-entropy - a flow with packets that its owner would get anew is left to the owner', () => {
  const { group, owner, others } = withFlows(fig7);
  const [flow] = flowsOf(owner, 40);
  forget(owner, flow);
  alive(group, longEnough);
  assert.ok(holds(owner, flow));
  for (const each of others) assert.deepEqual(counts(each, 'entriesForgotten', 'rowsRepaired'), [0, 0]);
});

test('anti-entropy - of two owners of a settled flow the one that joined earlier keeps it, and the other server is told', () => {
  for (const [first, second] of [
    [0, 1],
    [2, 1],
    [2, 0],
  ]) {
    const group = withFlows(fig7).group;
    const [one, other] = [group.modules[first], group.modules[second]];
    const third = group.modules[3 - first - second];
    const [flow] = flowsOf(one, 40);
    hold(other, flow);
    const begun = other.events.length;
    alive(group, longEnough);
    const [older, younger] = first < second ? [one, other] : [other, one];
    assert.deepEqual(
      [one, other, third].map((each) => ownerIn(each, flow)),
      Array(3).fill(older.name),
    );
    assert.deepEqual(counts(younger, 'twoOwners', 'givenUp'), [1, 1]);
    assert.deepEqual(counts(older, 'givenUp'), [0]);
    assert.deepEqual(counts(third, 'twoOwners', 'givenUp'), [0, 0]);
    assert.ok(younger.events.includes(`-${flow} moved`));
    assert.equal(younger === other ? other.events.length : begun + 1, begun + 1);
    assert.equal(group.owner({ flow, flags: udp }), older.name);
  }
});

test('anti-entropy - a start that two tier 1s carry by two views has one owner within a second, by either figure', () => {
  for (const rules of [fig6, fig7]) {
    const group = groupOf(3, rules);
    for (const tier1 of ['t1', 't2']) group.send([], { tier1 });
    group.settle(5);
    const before = group.view.number;
    group.propose((view) => reweighed(view, [1, 1, 100]));
    const flows = [...Array(40).keys()].filter(
      (flow) => placedBy(group, before, flow) === 'a' && placedBy(group, before + 1, flow) === 'c',
    );
    assert.ok(flows.length > 5);
    const [a, b, c] = group.modules;
    for (const module of group.modules) while (group.deliver(module, 'store'));
    for (const flow of flows) {
      group.send([{ flow, flags: syn }], { tier1: 't1', viewNumber: before });
      group.send([{ flow, flags: syn }], { tier1: 't2', viewNumber: before + 1 });
    }
    for (const [module, order] of [
      [a, ['t1', 't2']],
      [b, ['t2', 't1']],
      [c, ['t2', 't1']],
    ] as const)
      for (const tier1 of order) while (group.deliver(module, tier1));
    for (const flow of flows)
      assert.deepEqual(
        [a, c].map((each) => ownerIn(each, flow)),
        ['a', 'c'],
      );
    group.settle(10);
    for (const flow of flows) {
      assert.deepEqual(
        [a, c].map((each) => holds(each, flow)),
        [true, false],
      );
      assert.equal(group.owner({ flow, flags: tcp }, { tier1: 't2' }), 'a');
      // And the client's next copy of the start goes there too, through whichever tier 1.
      assert.equal(group.owner({ flow, flags: syn }, { tier1: 't2' }), 'a');
      assert.ok(c.events.includes(`-${flow} moved`));
    }
    assert.deepEqual(counts(c, 'twoOwners', 'givenUp'), [flows.length, flows.length]);
    assert.deepEqual(counts(a, 'twoOwners', 'givenUp'), [flows.length, 0]);
  }
});

test('anti-entropy - a former holder that has not seen the new start yet does not win the flow back, to drop it then', () => {
  const group = groupOf(3, fig6);
  const [, b, c] = group.modules;
  const flow = [...Array(40).keys()].find((each) => placedBy(group, group.view.number, each) === 'b') ?? -1;
  assert.equal(group.owner({ flow, flags: syn }), 'b');
  group.send([], { tier1: 't2' });
  group.settle(110);
  group.propose((view) => reweighed(view, [1, 1, 1000]));
  assert.equal(placedBy(group, group.view.number, flow), 'c');
  group.settle(3);
  group.send([{ flow, flags: syn }]);
  for (let step = 0; step < 4; step++) {
    group.send([], { tier1: 't2' });
    for (const module of group.modules)
      for (const source of [...module.inbox.keys()])
        if (module !== b || source !== 't1') while (group.deliver(module, source));
    group.tick(100);
  }
  assert.ok(holds(b, flow) && holds(c, flow));
  group.settle(30);
  assert.deepEqual(
    [b, c].map((each) => holds(each, flow)),
    [false, true],
  );
  assert.deepEqual(counts(c, 'givenUp'), [0]);
});

test('anti-entropy - digests that are lost, and messages that come twice or late, do no harm', () => {
  const { group, owner, others } = withFlows(fig7);
  const [flow, second] = flowsOf(owner, 40);
  forget(others[0], flow);
  hold(others[1], second);
  const wire: { message: Uint8Array; to: Module }[] = [];
  for (const to of group.modules) {
    const { core } = to;
    const onControl = core.onControl.bind(core);
    const prng = new Prng(to.name);
    core.onControl = (message, nowMs) => {
      // A third of the messages is lost, and half of the others come twice.
      if (prng.chance(1, 3)) return;
      wire.push({ message, to });
      onControl(message, nowMs);
      if (prng.chance(1, 2)) onControl(message, nowMs);
    };
  }
  alive(group, 12 * longEnough);
  assert.equal(ownerIn(others[0], flow), owner.name);
  assert.equal(group.modules.filter((each) => holds(each, second)).length, 1);
  const before = group.modules.map(holdings);
  for (const { message, to } of wire) to.core.onControl(message, group.nowMs);
  alive(group, 30);
  assert.deepEqual(group.modules.map(holdings), before);
});

test('anti-entropy - while tables agree nobody asks for anything, however much begins and ends', () => {
  for (const rules of [fig6, fig7]) {
    const group = groupOf(3, rules);
    const live = new Map<number, number>();
    let next = 1;
    for (let step = 0; step < 1_600; step++) {
      const rows: Row[] = [];
      for (let count = 0; count < 5; count++) {
        const isConnection = next % 2 === 0;
        live.set(next, step + ((next * 7919) % 400));
        rows.push({ flow: next++, flags: isConnection ? syn : udp });
      }
      for (const [flow, until] of live) {
        if ((step + flow) % 25 !== 0 && until > step) continue;
        const isConnection = flow % 2 === 0;
        if (until <= step) live.delete(flow);
        rows.push({ flow, flags: !isConnection ? udp : until <= step ? fin : tcp });
      }
      group.send(rows, { tier1: `t${1 + (step % 2)}`, timestampMs: group.nowMs - (step % 2) * 700 });
      for (const module of group.modules) {
        // Members are behind one another, and by other tier 1s each time.
        for (const [index, source] of [...module.inbox.keys()].entries())
          if ((step + index + module.name.charCodeAt(0)) % 4 !== 0) while (group.deliver(module, source));
      }
      group.tick(100);
    }
    for (const module of group.modules) {
      const { digestsCompared, bucketsDiffered, bucketsAsked } = module.core.antiEntropy.counters;
      assert.ok(digestsCompared >= 24, `${digestsCompared} compared`);
      // Measured: none at all. One bucket in ten thousand would still not be worth a thought.
      assert.ok(bucketsDiffered <= (digestsCompared * 256) / 10_000, `${bucketsDiffered} of ${digestsCompared * 256}`);
      assert.equal(bucketsAsked, 0);
    }
  }
});

test('anti-entropy - nobody is told to forget, or believed, while frames are missing', () => {
  const { group, owner, others } = withFlows(fig7);
  const [flow] = flowsOf(owner, 40);
  forget(owner, flow);
  const [b] = others;
  for (let step = 0; step < 2 * longEnough; step++) {
    // b misses a frame every now and then, so that it is unsure in every round.
    group.send([]);
    if (step % 3 === 0) group.lose(b, 't1');
    for (const module of group.modules)
      for (const source of [...module.inbox.keys()]) while (group.deliver(module, source));
    group.tick(100);
  }
  // The others know better, but do not hear of b that it does not have the flow: so they keep to what they know, too.
  assert.deepEqual(
    others.map((each) => ownerIn(each, flow)),
    [owner.name, owner.name],
  );
  assert.deepEqual(
    others.flatMap((each) => counts(each, 'entriesForgotten')),
    [0, 0],
  );
  alive(group, longEnough, (each) => each !== flow);
  assert.deepEqual(
    others.map((each) => ownerIn(each, flow)),
    ['', ''],
  );
});

test('anti-entropy - a joiner neither speaks nor listens', () => {
  const { group, owner } = withFlows(fig7);
  const joiner = group.add('j');
  joiner.core.mayActivate = false;
  const [flow] = flowsOf(owner, 40);
  alive(group, 20);
  forget(joiner, flow);
  alive(group, longEnough, (each) => each !== flow);
  assert.equal(joiner.core.phase, 'joining');
  assert.deepEqual(counts(joiner, 'digestsSent', 'digestsCompared', 'rowsRepaired'), [0, 0, 0]);
});

test('anti-entropy - messages say what was put into them, and others are none', () => {
  const sums = new TableSums();
  sums.add(-5, 77);
  const life = { server: 's1', incarnation: 3 };
  const positions = new Map([['t1', 7]]);
  const rows = new Uint8Array(40).fill(1);
  const messages = [
    { kind: 'digest', ...life, tick: -9, positions, sums },
    { kind: 'digest', ...life, tick: -9, positions, sums: new TableSums() },
    { kind: 'ask', to: 's1', from: 's2', bucket: 255 },
    {
      kind: 'bucket',
      ...life,
      joinedIn: 4,
      bucket: 0,
      nonce: 1,
      tick: 5,
      view: 3,
      chunk: 0,
      isLast: true,
      positions,
      rows,
    },
    { kind: 'claim', ...life, joinedIn: 4, positions, rows },
  ] as const;
  for (const message of messages) {
    const bytes = encodeEntropy(message);
    assert.deepEqual(readEntropy(controlFields(bytes) ?? []), message);
    assert.ok(bytes.length < 2_200, `${bytes.length} bytes`);
    for (let length = 0; length < bytes.length; length++)
      assert.equal(readEntropy(controlFields(bytes.slice(0, length)) ?? []), undefined);
  }
  const [a] = groupOf(1).modules;
  for (const bad of [
    { ...messages[2], bucket: 256 },
    { ...messages[4], rows: new Uint8Array(3) },
  ])
    a.core.onControl(encodeEntropy(bad), 0);
  assert.equal(a.core.counters.badControl, 2);
});

const fig6: Partial<GroupRules> = { typeOneMethod: 'fig-6' };
const fig7: Partial<GroupRules> = { typeOneMethod: 'fig-7' };

/** Three servers with forty flows that began some time ago; the first one is the one that repairs are about. */
function withFlows(rules: Partial<GroupRules>): { group: TestGroup; owner: Module; others: Module[] } {
  const group = groupOf(3, rules);
  alive(group, 150);
  const [owner, ...others] = group.modules;
  return { group, owner, others };
}

/** Time passes, and every two seconds all the flows have a packet. */
function alive(group: TestGroup, steps: number, isAlive: (flow: number) => boolean = () => true): void {
  for (let step = 0; step < steps; step++) {
    const flows = step % 20 === 0 ? [...Array(41).keys()].slice(1).filter(isAlive) : [];
    group.send(flows.map((flow) => ({ flow, flags: udp })));
    group.settle(1);
  }
}

function flowsOf(module: Module, upTo: number): number[] {
  return [...Array(upTo + 1).keys()].filter((flow) => holds(module, flow));
}

function ownerIn({ core }: Module, flow: number): string {
  const { table, tick } = core.decider;
  const slot = table.find(hiOf(flow), flow, tick);
  return slot === -1 ? '' : core.views.serverName(table.owner(slot));
}

function flowIn(modules: readonly Module[], flow: number): string {
  return modules.find((each) => holds(each, flow))?.name ?? '';
}

function holds(module: Module, flow: number): boolean {
  return ownerIn(module, flow) === module.name;
}

function holdings(module: Module): string[] {
  return [...Array(41).keys()].map((flow) => ownerIn(module, flow));
}

function forget({ core }: Module, flow: number): void {
  const { table } = core.decider;
  table.remove(table.peek(hiOf(flow), flow));
}

/** The module believes that it has the flow. */
function hold({ core }: Module, flow: number): void {
  const { decider, views } = core;
  decider.table.insert(hiOf(flow), flow, decider.tick, views.self, FlowState.established, ProtocolClass.UDP);
}

function counts({ core }: Module, ...names: (keyof EntropyCounters)[]): number[] {
  return names.map((name) => core.antiEntropy.counters[name]);
}

function placedBy(group: TestGroup, view: number, flow: number): string {
  const { views } = group.modules[0].core;
  while (group.deliver(group.modules[0], 'store'));
  return views.serverName(views.get(view)?.place(hiOf(flow), flow, 0) ?? -1);
}

function reweighed(view: TestGroup['view'], weights: number[]): TestGroup['view'] {
  const members = view.members.map((member, index) => ({ ...member, weight: weights[index] }));
  return { ...view, number: view.number + 1, members };
}
