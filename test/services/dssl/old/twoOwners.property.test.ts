// Whatever the order in which members that hold one flow hear of each other, and whatever is lost or repeated on the way:
// in the end exactly one has it, the same for everybody, and at no moment nobody.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FlowState } from '../../../../services/dssl/replica/flows/entry.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { ProtocolClass } from '../../../../shared/flow/frameFlags.ts';
import { groupOf, hiOf, type Module, type TestGroup } from '../../../support/group.ts';

const flow = 7;

test('two owners - the oldest claim stays, and at no moment nobody has the flow', () => {
  const claim = fc.record({ isStartKnown: fc.boolean(), view: fc.integer({ min: 1, max: 9 }) });
  fc.assert(
    fc.property(fc.array(claim, { minLength: 2, maxLength: 4 }), fc.nat(), fc.boolean(), (claims, seed, isFig7) => {
      const group = groupOf(4, { typeOneMethod: isFig7 ? 'fig-7' : 'fig-6' });
      group.send([]);
      group.settle(1);
      const since = claims.map(({ isStartKnown, view }, index) => {
        const module = group.modules[index];
        hold(module, isStartKnown ? view : undefined);
        return isStartKnown ? view : joinedIn(module);
      });
      const oldest = since
        .map((view, index) => ({ view, module: group.modules[index] }))
        .sort((one, other) => one.view - other.view || joinedIn(one.module) - joinedIn(other.module))[0].module;
      // Each hears of the others at some moment; claims are lost, doubled and mixed up.
      const prng = new Prng(seed);
      for (let step = 0; step < 80; step++) {
        if (prng.chance(1, 6)) prng.pick(group.modules).core.hearsay.onClaim(hiOf(flow), flow);
        for (const module of group.modules) {
          while (group.deliver(module, 't1'));
          for (const source of [...module.inbox.keys()]) shake(group, module, source, prng);
          assert.notEqual(group.modules.filter(holds).length, 0);
        }
        group.send([]);
        group.tick(50);
      }
      // When nothing is lost any more, what is said once more is enough.
      for (let round = 0; round < 3; round++) {
        for (const { core } of group.modules) core.hearsay.onClaim(hiOf(flow), flow);
        group.settle(12);
      }
      assert.deepEqual(group.modules.filter(holds), [oldest]);
      const givenUp = group.modules.reduce((sum, { core }) => sum + core.antiEntropy.counters.givenUp, 0);
      assert.equal(givenUp, claims.length - 1);
    }),
    { numRuns: 60 },
  );
});

function shake(group: TestGroup, module: Module, source: string, prng: Prng): void {
  const queue = module.inbox.get(source) ?? [];
  const next = queue[0];
  if (next === undefined || prng.chance(1, 3)) return;
  const fate = prng.pick(['lost', 'twice', 'arrives', 'arrives'] as const);
  if (fate === 'lost') group.lose(module, source);
  else if (fate === 'twice') next();
  else group.deliver(module, source);
}

/** The module holds the flow, and remembers by which view it began, or not. */
function hold({ core }: Module, view: number | undefined): void {
  const { decider, views } = core;
  const { table, recentStarts, tick } = decider;
  table.insert(hiOf(flow), flow, tick, views.self, FlowState.established, ProtocolClass.UDP);
  if (view === undefined) recentStarts.remove(hiOf(flow), flow);
  else recentStarts.record(hiOf(flow), flow, tick, views.self, ProtocolClass.UDP, true, view);
}

function joinedIn({ core }: Module): number {
  return core.views.lifeOf(core.views.self)?.joinedIn ?? 0;
}

function holds({ core }: Module): boolean {
  const { table, tick } = core.decider;
  const slot = table.find(hiOf(flow), flow, tick);
  return slot !== -1 && table.owner(slot) === core.views.self;
}
