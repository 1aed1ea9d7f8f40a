// Tier 1's memory does not depend on how many flows there were: a tier 1 of the simulation, fed with a million of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FlowSink, stateless } from './checkers/stateless.ts';
import { planOf } from './run.ts';
import { World } from './world.ts';

test('stateless - a tier 1 keeps no more after a million flows than after a thousand', async () => {
  const { sink, world } = await lonelyTier1();
  assert.equal(stateless(sink), undefined);
  const { distributed, received } = world.tier1s[0].actor.distributor;
  assert.ok(received > 1_000_000 && distributed > 0.99 * received, `${distributed} of ${received} were distributed`);
});

test('stateless - a tier 1 that remembers flows is found out', async () => {
  const { sink } = await lonelyTier1();
  const seen = new Map<number, number>();
  const remembering: FlowSink = {
    take: (packet) => {
      const flow = (packet[27] << 16) | (packet[28] << 8) | packet[29];
      seen.set(flow, (seen.get(flow) ?? 0) + 1);
      sink.take(packet);
    },
    settle: () => sink.settle(),
  };
  const finding = stateless(remembering);
  assert.equal(finding?.checker, 'stateless');
  assert.match(finding.what, /keeps \d+ bytes more after \d+ flows/);
  assert.ok(seen.size > 100_000);
});

/** A tier 1 that knows the views of its groups, whose servers are gone: what it sends reaches nobody, who might keep it. */
async function lonelyTier1(): Promise<{ readonly sink: FlowSink; readonly world: World }> {
  const quiet = {
    tier1s: 1,
    groups: 2,
    serversPerGroup: 1,
    nodes: 1,
    flows: 0,
    faults: 0,
    changes: 0,
    durationMs: 1_000,
  };
  const world = new World(1, planOf(1, { seconds: 25, plan: quiet }));
  await world.run();
  for (const slot of world.slots) if (slot.running !== undefined) world.endServer(slot, slot.running);
  const [tier1] = world.tier1s;
  const logs = world.map.groups.map(({ id }) => ({ log: world.network.logOf(id), seen: 0 }));
  for (const { log } of logs) log.watcher = nobody;
  // The simulated log keeps all that it ever stored, for the checkers. Its bytes are not what is weighed here.
  const forget = () => {
    for (const each of logs) {
      const { entries } = each.log;
      for (; each.seen < entries.length; each.seen++) entries[each.seen] = { ...entries[each.seen], data: nothing };
    }
  };
  return {
    world,
    sink: {
      take: (packet) => tier1.take(packet, () => undefined),
      settle: () => {
        // An append may be waited for as long as two seconds, and is held until then.
        world.clock.advance(5);
        forget();
      },
    },
  };
}

const nothing = new Uint8Array(0);
const nobody = { onStored: () => undefined, onCut: () => undefined, onEmptied: () => undefined };
