// What the checker of unserved packets takes for an explanation, on runs made by hand.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { V } from '../../services/dssl/replica/verdict.ts';
import type { Command } from '../../shared/log/records/command.ts';
import { defaultRules, type View } from '../../shared/membership/view.ts';
import { served } from './checkers/served.ts';
import type { Trouble } from './faults.ts';
import { type Fate, Ledger, type PacketKind } from './ledger.ts';
import type { ViewChange } from './reference/judgement.ts';
import type { World } from './world.ts';

interface Sent {
  readonly kind: PacketKind;
  readonly atMs: number;
  readonly isServed?: boolean;
  /** What the log says of it; undefined: it is in none. */
  readonly fate?: Partial<Fate> | undefined;
}

interface Around {
  readonly troubles?: readonly Trouble[];
  readonly type1?: boolean;
  readonly views?: readonly ViewChange[];
  readonly hasSkipped?: boolean;
  readonly hasSmallTables?: boolean;
  readonly toldMs?: number;
  readonly endedMs?: number;
  /** Flows have backups, and what a dead server had not handled is replayed. */
  readonly replays?: boolean;
}

const member = { server: 's1', incarnation: 1, number: 0, state: 'active', weight: 1, base: 1, flows: 0 } as const;
const other = { ...member, server: 's2', incarnation: 2, number: 1 };
const view: View = { group: 'g1', number: 2, placement: 'rendezvous', seed: 1, rules: defaultRules, members: [member] };

function change(atMs: number, members: View['members'], by = 's1', command?: Command): ViewChange {
  return { atMs, position: atMs, view: { ...view, members }, by, command, epoch: 'e' };
}

/** A run with one flow, a connection unless told otherwise, which goes through t1 to server s1. The packet that it objects to. */
function unserved(packets: readonly Sent[], around: Around = {}): number | undefined {
  const { troubles = [], type1 = true, views = [change(0, [member])], endedMs } = around;
  const ledger = new Ledger();
  const life = ledger.beginLife('s1', 'g1', 1, 0);
  if (endedMs !== undefined) life.endedMs = endedMs;
  ledger.beginLife('s2', 'g1', 2, 0);
  const flow = ledger.openFlow('a tuple', type1);
  for (const { kind, atMs, isServed, fate } of packets) {
    const packet = ledger.send(flow, kind, 't1-1', atMs);
    packet.takenMs = atMs;
    const group = {
      group: 'g1',
      epoch: 'e',
      position: packet.id + 1,
      atMs,
      dueAt: packet.id + 1,
      line: 0,
      isLost: false,
    };
    const usual = { verdict: V.ignoreRemoved, owner: 0, appliedBy: [0], passedOverBy: [] };
    if (isServed || fate !== undefined) ledger.decide(packet.id, { ...group, ...usual, ...fate });
    if (isServed) ledger.accept(packet.id, life, atMs, false);
  }
  const reference = { views, lineless: [], begunMs: [0] };
  const world = {
    ledger,
    weather: { troubles },
    diversions: [],
    slots: [],
    servers: [{ life, toldMs: around.toldMs }],
    tier1s: [{ name: 't1-1', process: { isAlive: true }, endedMs: Number.POSITIVE_INFINITY }],
    map: { groups: [{ id: 'g1' }] },
    nowMs: 60_000,
    isPrivate: false,
    hasSmallTables: around.hasSmallTables === true,
    plan: {
      rules: { ...defaultRules, availability: around.replays === true ? 'active-active' : 'none' },
      ...{ workMs: 0, logAgeMs: 10_000, logBytes: 1_000_000_000 },
    },
    hasSkipped: () => around.hasSkipped === true,
    referenceOf: () => reference,
  };
  return served(world as unknown as World)?.packet;
}

function trouble(kind: Trouble['kind'], process: string, fromMs: number, untilMs: number): Trouble {
  return { kind, process, fromMs, untilMs, what: kind };
}

const opened: readonly Sent[] = [
  { kind: 'start', atMs: 10_000, isServed: true },
  { kind: 'middle', atMs: 10_100, isServed: true },
];
const unknown: Partial<Fate> = { owner: -1, verdict: V.ignoreMidFlow };

test('served - a packet that is its owner’s: it was there and accepted nothing, or it never came to it', () => {
  const packets: Sent[] = [...opened, { kind: 'middle', atMs: 11_000, fate: {} }];
  const missed: Sent[] = [...opened, { kind: 'middle', atMs: 11_000, fate: { appliedBy: [] } }];
  assert.equal(unserved(packets), 2);
  assert.equal(unserved(packets, { troubles: [trouble('crash', 's1', 10_500, 12_000)], endedMs: 10_500 }), 2);
  assert.equal(unserved(missed), 2, 'it lives, and has not come to it');
  assert.equal(unserved(missed, { endedMs: 10_500 }), undefined);
  assert.equal(unserved(missed, { hasSkipped: true }), undefined);
  assert.equal(
    unserved(missed, { views: [change(0, [member]), change(30_000, [other], 's2')] }),
    undefined,
    'removed since',
  );
  const behind: Sent[] = [...opened, { kind: 'middle', atMs: 11_000, fate: { appliedBy: [], passedOverBy: [0] } }];
  assert.equal(unserved(behind), undefined);
});

test('served - a packet of a dead server that its heir must have: it was removed, and nothing else went wrong around that', () => {
  const missed = (fate: Partial<Fate> = {}): Sent[] => [
    ...opened,
    { kind: 'middle', atMs: 11_000, fate: { appliedBy: [], position: 11_000, dueAt: 11_000, ...fate } },
  ];
  const life = { server: 's1', incarnation: 1 };
  const remove = (epoch = 'e'): Command => ({ kind: 'remove', author: other, epoch, life, handled: 0 });
  const views = (heir: View['members'][number] = other, atMs = 11_500) => [
    change(0, [member, heir]),
    change(atMs, [heir], 's2', remove()),
  ];
  const dead = { endedMs: 10_500, replays: true };
  assert.equal(unserved(missed(), { ...dead, views: views() }), 2);
  assert.equal(unserved(missed(), { endedMs: 10_500, views: views() }), undefined, 'nothing is replayed');
  assert.equal(unserved(missed(), { ...dead, views: [change(0, [member, other])] }), undefined, 'nobody removed it');
  assert.equal(unserved(missed(), { ...dead, views: views(other, 10_900) }), undefined, 'it was out by then');
  assert.equal(unserved(missed(), { ...dead, views: views(other, 18_000) }), undefined, 'the log has trimmed it');
  assert.equal(unserved(missed(), { ...dead, views: views({ ...other, state: 'draining' }) }), undefined);
  assert.equal(unserved(missed({ epoch: 'before' }), { ...dead, views: views() }), undefined);
  const pause = (server: string) => [trouble('pause', server, 11_000, 12_000)];
  assert.equal(unserved(missed(), { ...dead, views: views(), troubles: pause('s2') }), undefined);
  assert.equal(unserved(missed(), { ...dead, views: views(), troubles: pause('s1') }), 2);
});

test('served - an entry that the log has lost: only where its owner had not come to it', () => {
  const packets = (appliedBy: number[]): Sent[] => [
    ...opened,
    { kind: 'middle', atMs: 11_000, fate: { appliedBy, isLost: true } },
  ];
  assert.equal(unserved(packets([])), undefined);
  assert.equal(unserved(packets([0])), 2);
});

test('served - a connection in its middle that is nobody’s: its start was not taken, its server has gone, or it had ended', () => {
  const middle = (atMs: number): Sent => ({ kind: 'middle', atMs, fate: { ...unknown, appliedBy: [0, 1] } });
  assert.equal(unserved([...opened, middle(11_000)]), 2);
  const more: Sent = { kind: 'middle', atMs: 11_000, isServed: true };
  assert.equal(unserved([...opened, more, middle(70_000)]), 3, 'open connections are not forgotten');
  assert.equal(unserved([middle(11_000)]), undefined, 'no start');
  const gone = [change(0, [member]), change(10_500, [other], 's2')];
  assert.equal(unserved([...opened, middle(11_000)], { views: gone, endedMs: 10_400 }), undefined);
  const end: Sent = { kind: 'end', atMs: 11_000, isServed: true };
  assert.equal(unserved([...opened, end, middle(15_000)]), 3);
  assert.equal(unserved([...opened, end, middle(60_000)]), 3);
  assert.equal(unserved([...opened, end, middle(65_000)]), undefined);
  assert.equal(
    unserved([{ kind: 'middle', atMs: 11_000, fate: unknown }], { type1: false }),
    0,
    'datagrams are placed',
  );
});

test('served - a server that leaves before its flows have ended explains nothing, one that was told long ago does', () => {
  const packets: Sent[] = [...opened, { kind: 'middle', atMs: 25_000, fate: { ...unknown, appliedBy: [0, 1] } }];
  const life = { server: 's1', incarnation: 1 };
  const leave: Command = { kind: 'leave', author: life, epoch: 'e', life };
  const views = [change(0, [member, other]), change(20_000, [other], 's1', leave)];
  assert.equal(unserved(packets, { views, toldMs: 15_000, endedMs: 20_100 }), 2);
  assert.equal(unserved(packets, { views, toldMs: 8_000, endedMs: 20_100 }), undefined);
});

test('served - no room and nobody who takes flows, where that is so', () => {
  const full: Sent = { kind: 'start', atMs: 11_000, fate: { owner: -1, verdict: V.dropTableFull } };
  assert.equal(unserved([full]), 0);
  assert.equal(unserved([full], { hasSmallTables: true }), undefined);
  const nobody: Sent = { kind: 'start', atMs: 11_000, fate: { owner: -1, verdict: V.dropNoOwner } };
  assert.equal(unserved([nobody]), 0);
  assert.equal(unserved([nobody], { views: [change(0, [{ ...member, state: 'draining' }])] }), undefined);
});

test('served - a later fragment whose first one is missing, or came at another time', () => {
  const fragment: Sent = { kind: 'fragment', atMs: 11_000, fate: { owner: -1, verdict: V.dropFragment } };
  assert.equal(unserved([{ kind: 'middle', atMs: 11_000, isServed: true }, fragment], { type1: false }), 1);
  assert.equal(unserved([{ kind: 'middle', atMs: 8_000, isServed: true }, fragment], { type1: false }), undefined);
  assert.equal(unserved([fragment], { type1: false }), undefined);
});

test('served - a packet that is in no log: its tier 1 could not get it in, or knew of no server', () => {
  const packets: Sent[] = [...opened, { kind: 'middle', atMs: 30_000 }];
  assert.equal(unserved(packets), 2);
  assert.equal(unserved(packets, { troubles: [trouble('no-leader', 'g1', 31_000, 38_000)] }), undefined);
  assert.equal(unserved(packets, { troubles: [trouble('disconnect', 't1', 29_000, 38_000)] }), undefined);
  assert.equal(unserved(packets, { troubles: [trouble('disconnect', 't2', 29_000, 38_000)] }), 2, 'another tier 1');
  assert.equal(unserved(packets, { troubles: [trouble('pause', 't1', 29_000, 38_000)] }), 2, 'a pause loses nothing');
  assert.equal(unserved(packets, { troubles: [trouble('no-leader', 'g1', 10_000, 15_000)] }), 2, 'over for long');
  const noServer = [change(0, [member]), change(28_000, [], 's2'), change(28_050, [member])];
  assert.equal(unserved(packets, { views: noServer }), undefined);
});
