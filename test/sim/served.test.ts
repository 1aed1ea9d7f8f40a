// What the checker of unserved packets takes for an explanation, on runs made by hand.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { viewKey } from '../../shared/bus/subjects.ts';
import { join } from '../../shared/membership/transitions.ts';
import { defaultRules, encodeView } from '../../shared/membership/view.ts';
import { served } from './checkers/served.ts';
import type { Trouble } from './faults.ts';
import { Ledger, type PacketKind } from './ledger.ts';
import type { World } from './world.ts';

interface Sent {
  readonly kind: PacketKind;
  readonly atMs: number;
  readonly isServed?: boolean;
}

/** A run with one flow, a connection unless told otherwise, which goes through t1 to server s1. */
function runOf(packets: readonly Sent[], troubles: readonly Trouble[], type1 = true): World {
  const ledger = new Ledger();
  const life = ledger.beginLife('s1', 'g1', 1, 0);
  const flow = ledger.openFlow('a tuple', type1);
  for (const { kind, atMs, isServed } of packets) {
    const packet = ledger.send(flow, kind, 't1-1', atMs);
    packet.takenMs = atMs;
    if (isServed) ledger.accept(packet.id, life, atMs);
  }
  const key = viewKey('g1');
  const birth = { group: 'g1', cluster: 'c', placement: 'rendezvous', seed: 1, rules: defaultRules } as const;
  const value = encodeView(join(undefined, birth, { server: 's1', incarnation: 1, weight: 100 }));
  const store = { writes: [{ key, value, atMs: 0 }] };
  return { ledger, weather: { troubles }, diversions: [], slots: [], store } as unknown as World;
}

function trouble(kind: Trouble['kind'], process: string, fromMs: number, untilMs: number): Trouble {
  return { kind, process, fromMs, untilMs, what: kind };
}

const opened: readonly Sent[] = [
  { kind: 'start', atMs: 0, isServed: true },
  { kind: 'middle', atMs: 100, isServed: true },
];

test('served - an end that is repeated when the flow is forgotten, since the tier 1 lost what was sent between', () => {
  const ends = [5_000, 9_000, 17_000];
  const packets: Sent[] = [...opened, ...ends.map((atMs) => ({ kind: 'end', atMs }) as const)];
  const everybody = trouble('partition', '*', 4_000, 4_900);
  const cutOff = trouble('disconnect', 't1', 8_000, 9_500);
  assert.equal(served(runOf(packets, [everybody, cutOff])), undefined);
  assert.equal(served(runOf([...packets, { kind: 'end', atMs: 25_000 }], [everybody, cutOff])), undefined);
  assert.equal(
    served(runOf(packets, [everybody, trouble('loss', '*', 8_000, 9_500)]))?.packet,
    4,
    'a repeat that reached the group keeps the flow',
  );
  const sooner = [...packets.slice(0, -1), { kind: 'end', atMs: 14_500 } as const];
  assert.equal(served(runOf(sooner, [everybody, cutOff]))?.packet, 4, 'the flow is remembered still');
  const middle = [...packets.slice(0, -1), { kind: 'middle', atMs: 17_000 } as const];
  assert.equal(served(runOf(middle, [everybody, cutOff]))?.packet, 4, 'no repeat of the end');
});

test('served - a datagram that was with a paused tier 1 while its server ended', () => {
  const packets: Sent[] = [
    { kind: 'middle', atMs: 0, isServed: true },
    { kind: 'middle', atMs: 5_000 },
  ];
  const unservedWhen = (endedMs: number, pauses: readonly Trouble[], takenMs = 5_000) => {
    const world = runOf(packets, pauses, false);
    world.ledger.lives[0].endedMs = endedMs;
    world.ledger.packets[1].takenMs = takenMs;
    return served(world)?.packet;
  };
  const inHand = trouble('pause', 't1', 5_010, 10_000);
  assert.equal(unservedWhen(9_900, [inHand]), undefined);
  assert.equal(unservedWhen(9_900, [trouble('pause', 't1', 4_000, 10_000)], 10_000), undefined, 'sent to a paused one');
  assert.equal(unservedWhen(12_000, [inHand]), 1, 'its server was still there');
  assert.equal(unservedWhen(4_900, [inHand]), 1, 'tier 1 could know that it had gone');
  assert.equal(unservedWhen(9_900, []), 1, 'others take over');
});

test('served - the first packet of a flow that was with a paused tier 1 while a server ended that it may be placed at', () => {
  const unservedWhen = (endedMs: number, pauses: readonly Trouble[], isMember = true) => {
    const world = runOf([{ kind: 'middle', atMs: 5_000 }], pauses, false);
    world.ledger.lives[0].endedMs = endedMs;
    return served(isMember ? world : ({ ...world, store: { writes: [] } } as unknown as World))?.packet;
  };
  const inHand = trouble('pause', 't1', 5_010, 10_000);
  assert.equal(unservedWhen(9_900, [inHand]), undefined);
  assert.equal(unservedWhen(9_900, [inHand], false), 0, 'nothing could be placed at it');
  assert.equal(unservedWhen(12_000, [inHand]), 0, 'it was still there');
  assert.equal(unservedWhen(4_900, [inHand]), 0, 'tier 1 could know that it had gone');
  assert.equal(unservedWhen(9_900, [trouble('pause', 't2', 5_010, 10_000)]), 0, 'another tier 1');
});
