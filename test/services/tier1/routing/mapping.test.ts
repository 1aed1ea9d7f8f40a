// Tier 1 as a whole on the embedded bus, under a virtual clock: a group falls silent or loses its servers, its flows go to
// the other groups and come back, and it is said and counted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tier1Actor } from '../../../../services/tier1/actor.ts';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import { limits } from '../../../../shared/base/limits.ts';
import type { BusStatus } from '../../../../shared/bus/bus.ts';
import { MemoryHub } from '../../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../../shared/bus/subjects.ts';
import type { GroupSettings } from '../../../../shared/config/map.ts';
import { defaultSettings, settingsSchema } from '../../../../shared/config/settings.ts';
import { encodeGossip } from '../../../../shared/membership/gossip.ts';
import { buildPacket } from '../../../../shared/packet/encode/build.ts';
import { benchKeyer, benchMap } from '../../../bench/packets.ts';
import { MirrorWriter, member, mirrorOf, tapLog } from '../support.ts';

const subjects = subjectsOf('c');
const clients = 120;
const { afterMs, returnMs } = defaultSettings.groupSilence;

const group = (id: string, serves: GroupSettings['serves'] = 'both'): GroupSettings => ({
  id,
  weight: 100,
  serves,
  vlan: 0,
});

const three = [group('g1'), group('g2'), group('g3')];

/** A tier 1 that runs, with a server in each of the groups `served`. All groups speak once a second, served or not. */
async function start(groups: readonly GroupSettings[], served = groups) {
  const clock = new VirtualClock(1_000_000);
  const hub = new MemoryHub({ clock });
  const lines: string[] = [];
  const note = (_fields: object, line: string): void => void lines.push(line);
  const controlBus = hub.connect('tier 1 control');
  let tellStatus = (_status: BusStatus): void => undefined;
  controlBus.onStatus = (handler) => {
    tellStatus = handler;
  };
  const map = { ...benchMap('c'), groups };
  const options = { tier1Id: 't1', map, keyer: benchKeyer(), subjects, clock, packetTime: 'live' as const };
  const tier1 = new Tier1Actor({
    ...options,
    dataBus: hub.connect('tier 1 data'),
    controlBus,
    log: { info: note, warn: note },
  });
  const settled = async <T>(work: Promise<T>): Promise<T> => {
    await clock.advanceAsync(10);
    return work;
  };
  const others = hub.connect('others');
  const logs = new Map<string, Awaited<ReturnType<typeof tapLog>>>();
  for (const { id } of groups) logs.set(id, await settled(tapLog(others, 'c', id)));
  await settled(tier1.start());

  const mirrors = new MirrorWriter(await settled(others.openKeyValue(subjects.bucket)));
  const speaking = new Set(groups.map(({ id }) => id));
  let position = 0;
  const serve = (id: string) => settled(mirrors.write(mirrorOf(id, ++position, [member(`${id}-s1`)])));
  const empty = (id: string) => settled(mirrors.write(mirrorOf(id, ++position, [])));
  const speak = () => {
    for (const id of speaking) {
      const state = { kind: 'state', server: `${id}-s1`, incarnation: 1, beat: 1, state: 'active', view: 1 } as const;
      others.publish(subjects.gossip(id), encodeGossip({ ...state, line: undefined, load: undefined, digests: [] }));
    }
    clock.setTimer(1_000, speak);
  };
  speak();

  const packets = Array.from({ length: clients }, (_, client) => {
    const ends = { source: `10.0.0.${client}`, target: '192.0.2.1' };
    return buildPacket({ ...ends, udp: { sourcePort: 1_000, targetPort: 53 } });
  });
  /** Sends a packet of each client. The answer is the group of each, by client; undefined where it was dropped. */
  const send = async (): Promise<(string | undefined)[]> => {
    for (const seen of logs.values()) seen.length = 0;
    for (const bytes of packets) tier1.distributor.packet(bytes, 0, bytes.length, 1, 0, clock.nowMs());
    tier1.fed();
    await clock.advanceAsync(10);
    const arrived = new Array<string | undefined>(clients).fill(undefined);
    for (const [id, seen] of logs)
      for (const frame of seen) for (const bytes of frame.packets) arrived[bytes[14 + 15]] = id;
    return arrived;
  };
  /** Lets time pass until a line is said; the answer is how long that took. */
  const untilSaid = async (what: RegExp): Promise<number> => {
    const fromMs = clock.monotonicMs();
    for (let said = lines.length; !lines.slice(said).some((line) => what.test(line)); ) {
      assert.ok(clock.monotonicMs() - fromMs < 120_000, `never said ${what}: ${lines.join('\n')}`);
      await clock.advanceAsync(10);
    }
    return clock.monotonicMs() - fromMs;
  };
  for (const { id } of served) await serve(id);
  return {
    clock,
    tier1,
    others,
    lines,
    speaking,
    serve,
    empty,
    send,
    untilSaid,
    tellStatus: (kind: BusStatus['kind']) => tellStatus({ kind } as BusStatus),
  };
}

test('mapping - a silent group: its flows alone go to the others within the set time, and back when it has returned', async (t) => {
  const { clock, tier1, lines, speaking, send, untilSaid } = await start(three);
  await clock.advanceAsync(3_000);
  const before = await send();
  assert.deepEqual([...new Set(before)].sort(), ['g1', 'g2', 'g3']);
  const ofG2 = before.filter((id) => id === 'g2').length;

  speaking.delete('g2');
  const outMs = await untilSaid(/mapped out/);
  assert.match(
    lines[0],
    /^group g2 is mapped out, nothing heard of it for 3\.\d s; its flows go to g1, g3, until it has been there for 5\.0 s$/,
  );
  assert.ok(outMs <= afterMs + limits.groupTickMs + 20, `${outMs} ms`);
  const meanwhile = await send();
  for (const [client, id] of before.entries()) {
    if (id === 'g2') assert.match(meanwhile[client]!, /^g[13]$/);
    else assert.equal(meanwhile[client], id);
  }
  assert.deepEqual(new Set(before.flatMap((id, client) => (id === 'g2' ? [meanwhile[client]] : []))).size, 2);
  assert.deepEqual(tier1.mapping, { out: ['g2'], timesOut: 1, diverted: ofG2 });
  assert.deepEqual([tier1.missing, tier1.distributor.dropped], [[], {}]);

  speaking.add('g2');
  const backMs = await untilSaid(/is back/);
  assert.match(lines[1], /^group g2 is back after \d+\.\d s: its flows go to it again$/);
  // The first word may take a second to come, and the one that completes the return time too.
  assert.ok(backMs >= returnMs && backMs <= returnMs + 2_000 + limits.groupTickMs, `${backMs} ms`);
  assert.deepEqual(await send(), before);
  assert.deepEqual(tier1.mapping, { out: [], timesOut: 1, diverted: ofG2 });
  assert.equal(lines.length, 2);
  t.diagnostic(`mapped out ${outMs} ms after it was muted, in again ${backMs} ms after it spoke`);
});

test('mapping - a group whose last server leaves is out at once; with no group left, packets are dropped as before', async () => {
  const { clock, tier1, lines, speaking, serve, empty, send, untilSaid } = await start([group('g1'), group('g2')]);
  speaking.clear();
  const before = await send();
  await empty('g1');
  assert.deepEqual(new Set(await send()), new Set(['g2']));
  assert.match(lines[0], /^group g1 is mapped out, it has no server any more; its flows go to g2, /);
  assert.deepEqual([tier1.missing, tier1.mapping.out], [[], ['g1']]);
  await empty('g2');
  assert.match(lines[1], /its flows are lost, for no other group takes them/);
  assert.deepEqual(new Set(await send()), new Set([undefined]));
  assert.deepEqual([tier1.missing, tier1.distributor.dropped], [['g1', 'g2'], { 'no-server': clients }]);
  await serve('g1');
  assert.deepEqual([tier1.missing, tier1.mapping.out], [[], ['g2']]);
  assert.deepEqual(new Set(await send()), new Set(['g1']));
  speaking.add('g1').add('g2');
  await serve('g2');
  await untilSaid(/group g2 is back/);
  await clock.advanceAsync(10);
  assert.deepEqual(await send(), before);
});

test('mapping - where no other group serves the type, flows stay with their group', async () => {
  const { clock, tier1, lines, speaking, send, untilSaid } = await start([
    group('g1', 'type-1'),
    group('g2', 'type-2'),
  ]);
  await clock.advanceAsync(3_000);
  speaking.delete('g2');
  await untilSaid(/mapped out/);
  assert.match(lines[0], /its flows are lost, for no other group takes them/);
  assert.deepEqual(new Set(await send()), new Set(['g2']));
  assert.equal(tier1.mapping.diverted, 0);
});

test('mapping - after its own reconnect tier 1 judges nobody for the set time', async () => {
  const { clock, lines, speaking, untilSaid, tellStatus } = await start(three);
  await clock.advanceAsync(3_000);
  speaking.delete('g1');
  await clock.advanceAsync(2_000);
  tellStatus('reconnected');
  assert.ok((await untilSaid(/g1 is mapped out/)) >= afterMs);
  assert.equal(lines.length, 1);
});

test('mapping - before every group has had a server nothing is mapped out', async () => {
  const { clock, tier1, lines, serve } = await start(three, [three[0]]);
  await clock.advanceAsync(60_000);
  assert.deepEqual([tier1.missing, lines], [['g2', 'g3'], []]);
  await serve('g2');
  assert.deepEqual([tier1.missing, lines], [['g3'], []]);
  await serve('g3');
  assert.deepEqual([tier1.missing, lines], [[], []]);
});

test('mapping - a tier 1 that starts while a group is silent maps it out in time', async () => {
  const { tier1, lines, speaking, serve, untilSaid } = await start(three, []);
  speaking.delete('g2');
  for (const { id } of three) await serve(id);
  assert.ok((await untilSaid(/g2 is mapped out/)) >= afterMs - 100);
  assert.deepEqual([tier1.mapping.out, lines.length], [['g2'], 1]);
});

test('mapping - gossip that is none is counted, and harms nobody', async () => {
  const { clock, tier1, others, lines } = await start(three);
  others.publish(subjects.gossip('g1'), Uint8Array.of(1, 2, 3));
  others.publish(subjects.gossip('g1'), new Uint8Array());
  const life = { server: 's', incarnation: 1 };
  others.publish(subjects.gossip('other'), encodeGossip({ kind: 'suspect', from: 'x', ...life, isSure: true }));
  others.publish(subjects.gossip('g1'), encodeGossip({ kind: 'suspect', from: 'x', ...life, isSure: true }));
  await clock.advanceAsync(100);
  assert.deepEqual([tier1.gossipFaults, lines], [3, []]);
});

test('mapping - new settings hold while it runs, and nothing goes on after the end', async () => {
  const { clock, tier1, lines, speaking, untilSaid } = await start(three);
  await clock.advanceAsync(3_000);
  tier1.retune(settingsSchema.parse({ groupSilence: { afterMs: 30_000 } }));
  speaking.delete('g3');
  assert.ok((await untilSaid(/mapped out/)) >= 29_000);
  speaking.delete('g1');
  const stopped = tier1.stop();
  await clock.advanceAsync(60_000);
  await stopped;
  assert.equal(lines.length, 1);
  assert.equal(clock.pending, 1, 'the timer of those who speak');
});
