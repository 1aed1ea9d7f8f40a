// Who takes a new flow: all modules give one answer, by weight, under every policy.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  compilePlacement,
  correctedByFlows,
  type Placement,
} from '../../../../../services/dssl/replica/global/placement.ts';
import { Prng } from '../../../../../shared/base/prng.ts';
import {
  defaultRules,
  type Member,
  memberStates,
  type PlacementName,
  placementNames,
  type View,
} from '../../../../../shared/membership/view.ts';
import { excessOverShares, forFlows } from '../../../../support/shares.ts';

function view(placement: PlacementName, members: readonly Partial<Member>[], seed = 7): View {
  return {
    group: 'g',
    number: 1,
    placement,
    seed,
    rules: defaultRules,
    members: members.map((member, index) => ({
      server: `server-${index}`,
      incarnation: 1,
      number: index,
      state: 'active',
      weight: 1,
      base: 1,
      flows: 0,
      ...member,
    })),
  };
}

const weighted = (weights: readonly number[]) => weights.map((weight) => ({ weight }));

const memberArb = fc.record({
  state: fc.constantFrom(...memberStates, 'active' as const, 'active' as const),
  weight: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 65_535 })),
  flows: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 10_000_000 })),
  incarnation: fc.nat(),
});
const viewArb = fc
  .tuple(
    fc.constantFrom(...placementNames),
    fc.array(memberArb, { maxLength: 9 }),
    fc.integer({ min: 0, max: 0xffffffff }),
  )
  .map(([placement, members, seed]) => view(placement, members, seed));
const hash = fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 });
const ordinal = fc.oneof(fc.constant(-1), fc.nat(1_000), fc.maxSafeNat());

const nameAt = (of: View, index: number) => (index < 0 ? undefined : of.members[index].server);

test('placement - an owner is active, has a weight if anybody has, and there is one if anybody is active', () => {
  fc.assert(
    fc.property(viewArb, hash, hash, ordinal, (of, hi, lo, start) => {
      const owner = compilePlacement(of).place(hi, lo, start);
      const active = of.members.filter(({ state }) => state === 'active');
      if (active.length === 0) return assert.equal(owner, -1);
      assert.equal(of.members[owner].state, 'active');
      assert.ok(of.members[owner].weight > 0 || active.every(({ weight }) => weight === 0));
    }),
    { numRuns: 250 },
  );
});

test('placement - a backup is another active member, and there is one whenever two are active', () => {
  fc.assert(
    fc.property(viewArb, hash, hash, ordinal, (of, hi, lo, start) => {
      const placement = compilePlacement(of);
      const backup = placement.placeBackup(hi, lo, placement.place(hi, lo, start));
      const active = of.members.filter(({ state }) => state === 'active');
      if (active.length < 2) return assert.equal(backup, -1);
      assert.equal(of.members[backup].state, 'active');
      assert.notEqual(backup, placement.place(hi, lo, start));
    }),
    { numRuns: 250 },
  );
});

test('placement - modules that decode the same view place alike', () => {
  fc.assert(
    fc.property(viewArb, hash, hash, ordinal, (of, hi, lo, start) => {
      const [one, two] = [of, structuredClone(of)].map((copy) => compilePlacement(copy));
      assert.equal(one.place(hi, lo, start), two.place(hi, lo, start));
      const owner = one.place(hi, lo, start);
      assert.equal(one.placeBackup(hi, lo, owner), two.placeBackup(hi, lo, owner));
      assert.equal(one.place(hi | 0, lo | 0, start), two.place(hi >>> 0, lo >>> 0, start));
    }),
    { numRuns: 150 },
  );
});

test('placement - the order of the members and their incarnations do not matter', () => {
  fc.assert(
    fc.property(viewArb, fc.nat(), hash, hash, ordinal, (of, seed, hi, lo, start) => {
      const prng = new Prng(seed);
      const members = of.members
        .map((member) => ({ member: { ...member, incarnation: member.incarnation + 1 }, at: prng.i32() }))
        .sort((a, b) => a.at - b.at)
        .map(({ member }) => member);
      const shuffled = { ...of, members };
      const [a, b] = [compilePlacement(of), compilePlacement(shuffled)];
      assert.equal(nameAt(of, a.place(hi, lo, start)), nameAt(shuffled, b.place(hi, lo, start)));
      assert.equal(
        nameAt(of, a.placeBackup(hi, lo, a.place(hi, lo, start))),
        nameAt(shuffled, b.placeBackup(hi, lo, b.place(hi, lo, start))),
      );
    }),
    { numRuns: 150 },
  );
});

// Owners of the same 24 flows among five members of weights 3, 1, 4, 1, 5.
const fixed: Record<PlacementName, string> = {
  rendezvous: '232041413222244402222232',
  maglev: '042210444240120024004121',
  modulo: '244334334102023424013342',
  'weighted-random': '244424200244440204040440',
  'round-robin': '331031413221241402213232',
  'weighted-round-robin': '232041413222244402222232',
  'fewest-flows': '232041413222244402222232',
};

const weights = [1, 2, 3, 10, 4];
const sharesOf: Record<PlacementName, readonly number[]> = {
  rendezvous: weights,
  maglev: weights,
  modulo: [1, 1, 1, 1, 1],
  'weighted-random': weights,
  'round-robin': [1, 1, 1, 1, 1],
  'weighted-round-robin': weights,
  'fewest-flows': weights,
};
for (const policy of placementNames) {
  test(`placement - ${policy}: shares of flows that are no starts, and of backups`, () => {
    const placement = compilePlacement(view(policy, weighted(weights)));
    const counts = weights.map(() => 0);
    const backups = weights.map(() => 0);
    forFlows(100_000, 11, (hi, lo) => {
      const owner = placement.place(hi, lo, -1);
      counts[owner]++;
      if (owner === 3) backups[placement.placeBackup(hi, lo, owner)]++;
    });
    assert.ok(excessOverShares(counts, sharesOf[policy]) < 5, `${counts}`);
    assert.ok(excessOverShares(backups, sharesOf[policy].with(3, 0)) < 5, `backups ${backups}`);
  });
}

test('placement - another seed spreads the flows in another way', () => {
  for (const policy of ['rendezvous', 'maglev', 'modulo', 'weighted-random'] as const) {
    const [a, b] = [1, 2].map((seed) => compilePlacement(view(policy, weighted([1, 1, 1, 1]), seed)));
    let same = 0;
    forFlows(10_000, 12, (hi, lo) => {
      if (a.place(hi, lo, -1) === b.place(hi, lo, -1)) same++;
    });
    assert.ok(Math.abs(same - 2_500) < 250, `${policy}: ${same}`);
  }
});

test('placement - rendezvous: when the owner leaves its backup takes over, and no other flow moves', () => {
  fc.assert(
    fc.property(fc.array(memberArb, { minLength: 1, maxLength: 8 }), fc.nat(), fc.nat(), (members, which, seed) => {
      const before = view('rendezvous', members, seed);
      const gone = which % members.length;
      // Without the last member of weight the others share alike: a change of policy, not of membership.
      const heavy = before.members.filter(({ state, weight }) => state === 'active' && weight > 0);
      fc.pre(heavy.length !== 0);
      const after = { ...before, members: before.members.filter((_, index) => index !== gone) };
      const [a, b] = [compilePlacement(before), compilePlacement(after)];
      forFlows(100, seed, (hi, lo) => {
        const owner = a.place(hi, lo, -1);
        const heir = owner === gone ? a.placeBackup(hi, lo, owner) : owner;
        assert.equal(nameAt(after, b.place(hi, lo, -1)), nameAt(before, heir));
      });
    }),
  );
});

for (const policy of ['rendezvous', 'maglev', 'fewest-flows'] as const) {
  test(`placement - ${policy}: a draining member loses its flows to come, the others keep theirs`, () => {
    const before = compilePlacement(view(policy, weighted(new Array(8).fill(5))));
    const after = compilePlacement(
      view(policy, [...weighted(new Array(7).fill(5)), { weight: 5, state: 'draining' as const }]),
    );
    let moved = 0;
    forFlows(50_000, 13, (hi, lo) => {
      const owner = before.place(hi, lo, -1);
      if (owner !== 7 && owner !== after.place(hi, lo, -1)) moved++;
    });
    if (policy === 'maglev') assert.ok(moved > 0 && moved / 50_000 <= 0.0037, `${moved}`);
    else assert.equal(moved, 0);
  });
}

test('placement - a standby with weight 0 backs up the only member that takes flows', () => {
  for (const policy of placementNames) {
    const placement = compilePlacement(view(policy, [{ weight: 0 }, { weight: 3 }, { weight: 1, state: 'draining' }]));
    forFlows(20, 14, (hi, lo, flow) => {
      assert.equal(placement.place(hi, lo, flow), 1);
      assert.equal(placement.placeBackup(hi, lo, 1), 0);
    });
  }
});

test('placement - round robin takes turns in the order of names, whatever the hash', () => {
  const placement = compilePlacement(
    view('round-robin', [{ server: 'b' }, { server: 'c', weight: 9 }, { server: 'a' }]),
  );
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5].map((start) => placement.place(start * 77, 5, start)),
    [2, 0, 1, 2, 0, 1],
  );
  assert.equal(placement.place(1, 2, 3 * 2 ** 40 + 1), 0);
});

test('placement - weighted round robin gives every member exactly its turns in one cycle, and spreads them', () => {
  const placement = compilePlacement(view('weighted-round-robin', weighted([50, 10, 10])));
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6].map((start) => placement.place(0, 0, start)),
    [0, 1, 0, 0, 0, 2, 0],
  );
});

test('placement - fewest flows: up to twice the share for who holds few, down to a quarter for who holds many', () => {
  const corrected = (flows: number[], weight: number[]) =>
    correctedByFlows(flows.map((count, index) => ({ name: `s${index}`, weight: weight[index], flows: count }))).map(
      (candidate) => candidate.weight,
    );
  assert.deepEqual(corrected([0, 0], [1, 1]), [65_535, 65_535]);
  assert.deepEqual(corrected([500, 500, 500], [1, 1, 1]), [65_535, 65_535, 65_535]);
  assert.deepEqual(corrected([100, 200], [1, 2]), [32_767, 65_535]);
  // Fair are 1,000 flows each: twice for the empty one, 1 for the full one, then 1/4 and 1/2.
  assert.deepEqual(corrected([0, 1_000, 1_750, 1_250], [1, 1, 1, 1]), [65_535, 32_767, 8_191, 16_383]);
  assert.deepEqual(corrected([0, 10 ** 15], [65_535, 1]), [65_535, 1]);
});

test('placement - fewest flows: views with fresh counts bring uneven members together, without herding', () => {
  const flows = [9_000, 1_000, 0, 2_000];
  for (let number = 1; number <= 100; number++) {
    const placement = compilePlacement(
      view(
        'fewest-flows',
        flows.map((count) => ({ flows: count })),
      ),
    );
    const before = [...flows];
    forFlows(500, number, (hi, lo) => flows[placement.place(hi, lo, -1)]++);
    for (const [index, count] of flows.entries()) assert.ok(count - before[index] < 350, `view ${number}: ${index}`);
  }
  // By weight alone the first would still lead by 9,000.
  assert.ok(Math.max(...flows) < 1.1 * Math.min(...flows), `${flows}`);
});

test('placement - groups of 1,024 members work under every policy', () => {
  for (const policy of placementNames) {
    const of = view(
      policy,
      Array.from({ length: 1_024 }, (_, index) => ({ weight: 65_535 - index, flows: index * 1_000 })),
    );
    const placement: Placement = compilePlacement(of);
    const owners = new Set<number>();
    forFlows(500, 15, (hi, lo, flow) => {
      owners.add(placement.place(hi, lo, flow));
      owners.add(placement.placeBackup(hi, lo, flow));
    });
    assert.ok(owners.size > 400, `${policy}: ${owners.size}`);
    assert.ok(!owners.has(-1));
  }
});

test('placement - results are fixed, since modules of different builds meet in one group', () => {
  const of = (policy: PlacementName) => {
    const placement = compilePlacement(view(policy, weighted([3, 1, 4, 1, 5])));
    let owners = '';
    forFlows(24, 16, (hi, lo) => (owners += placement.place(hi, lo, -1)));
    return owners;
  };
  assert.deepEqual(Object.fromEntries(placementNames.map((policy) => [policy, of(policy)])), fixed);
});
