// Tier 1 as a whole over logs in this process, under a virtual clock, with the real appender: frames get into the log once and
// in order, grow with the load, and every packet is accounted for, whatever the log does meanwhile.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tier1Actor, type Tier1ActorOptions } from '../../../services/tier1/actor.ts';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import type { AppendOutcome, GroupLog } from '../../../shared/log/log.ts';
import { encodeGossip, type LineReport } from '../../../shared/membership/gossip.ts';
import { buildPacket } from '../../../shared/packet/encode/build.ts';
import { benchKeyer, benchMap } from '../../bench/packets.ts';
import { applied, MirrorWriter, member, mirrorOf, tapLog } from './support.ts';

const subjects = subjectsOf('c');

/** The log of one connection, which can be told to take time, to refuse, or to lose answers. */
class Weather {
  delayMs = 0;
  mode: 'stored' | 'refused' | 'unknown' | 'late' = 'stored';
  isDown = false;

  over(log: GroupLog, clock: VirtualClock): GroupLog {
    const weather = this;
    return new Proxy(log, {
      get(target, name) {
        if (name === 'writable') return !weather.isDown && target.writable;
        if (name === 'append')
          return (kind: 'frame', data: Uint8Array, onOutcome?: (outcome: AppendOutcome) => void): void => {
            const { mode, delayMs } = weather;
            const tell = (outcome: AppendOutcome) => clock.setTimer(delayMs, () => onOutcome?.(outcome));
            if (mode === 'refused') tell({ kind: 'refused', reason: 'no leader' });
            else if (mode === 'late') clock.setTimer(1_000, () => target.append(kind, data));
            else
              target.append(kind, data, (outcome) =>
                tell(mode === 'stored' ? outcome : { kind: 'unknown', reason: 'lost' }),
              );
            if (mode === 'late') tell({ kind: 'unknown', reason: 'no answer' });
          };
        const value = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}

async function start(options: Partial<Tier1ActorOptions> = {}, ids = ['g1']) {
  const clock = new VirtualClock(1_000_000);
  const hub = new MemoryHub({ clock });
  const settled = async <T>(work: Promise<T>): Promise<T> => {
    await clock.advanceAsync(10);
    return work;
  };
  const members = hub.connect('members');
  const taps = new Map<string, Awaited<ReturnType<typeof tapLog>>>();
  for (const id of ids) taps.set(id, await settled(tapLog(members, 'c', id)));
  const weathers = new Map(ids.map((id) => [id, new Weather()]));
  const dataBus: Bus = hub.connect('tier 1 data');
  const openLog = dataBus.openLog.bind(dataBus);
  dataBus.openLog = async (cluster, group) => weathers.get(group)!.over(await openLog(cluster, group), clock);
  const map = benchMap('c');
  const tier1 = new Tier1Actor({
    tier1Id: 't1',
    map: { ...map, groups: ids.map((id) => ({ id, weight: 100, serves: 'both' as const, vlan: 0 })) },
    keyer: benchKeyer(),
    subjects,
    dataBus,
    controlBus: hub.connect('tier 1 control'),
    clock,
    packetTime: 'live',
    ...options,
  });
  await settled(tier1.start());
  const mirrors = new MirrorWriter(await settled(members.openKeyValue(subjects.bucket)));
  for (const id of ids) await settled(mirrors.write(mirrorOf(id, 1, [member('s1')])));
  let sent = 0;
  /** Packets with a number each; from a client each, or all from this one. */
  const send = (packets = 1, bytes = 50, from?: number): void => {
    for (let packet = 0; packet < packets; packet++) {
      const payload = Buffer.alloc(bytes);
      payload.writeUInt32BE(++sent);
      const client = from ?? sent;
      const source = `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client & 255}`;
      const made = buildPacket({ source, target: '192.0.2.1', udp: { sourcePort: 1_000, targetPort: 53, payload } });
      tier1.distributor.packet(made, 0, made.length, 1, 0, clock.nowMs());
    }
    tier1.fed();
  };
  /** Numbers of the packets that a replica would apply, in order. */
  const arrived = (id = 'g1'): number[] =>
    applied(taps.get(id)!).flatMap(({ packets }) => packets.map((bytes) => Buffer.from(bytes).readUInt32BE(42)));
  const accounts = () => {
    const { received, distributed, underWay, pending, droppedPackets } = tier1.distributor;
    assert.equal(received, distributed + underWay + pending + droppedPackets);
    return { received, distributed, underWay, pending, dropped: tier1.distributor.dropped };
  };
  const said = (server: string, position: number, changes: Partial<LineReport> = {}) => {
    const line = {
      state: 'following',
      epochNumber: 1,
      epoch: 'epoch-1',
      position,
      lag: 0,
      lagMs: 0,
      handled: 0,
      ...changes,
    } as const;
    const state = { kind: 'state', server, incarnation: 1, beat: 1, state: 'active', view: 1 } as const;
    members.publish(subjects.gossip('g1'), encodeGossip({ ...state, line, load: undefined, digests: [] }));
  };
  const seen = taps.get('g1')!;
  const weather = weathers.get('g1')!;
  return { clock, tier1, seen, weather, weathers, mirrors, send, arrived, accounts, said, settled, members };
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

test('tier 1 - packets get into the log of their group once and in order, and are distributed when they are stored', async () => {
  const { clock, tier1, seen, send, arrived, accounts } = await start();
  send(3);
  assert.deepEqual(accounts(), { received: 3, distributed: 0, underWay: 0, pending: 3, dropped: {} });
  await clock.advanceAsync(10);
  send(500, 1_000);
  await clock.advanceAsync(10);
  assert.deepEqual(arrived(), upTo(503));
  assert.equal(accounts().distributed, 503);
  assert.deepEqual(
    seen.map(({ life, number, follows }) => [life, number, follows]),
    seen.map((_, index) => ['t1', index + 1, index]),
  );
  assert.equal(tier1.storedAt(0), seen.at(-1)?.position);
  assert.equal(tier1.distributor.sentTo(0).frames, seen.length);
});

test('tier 1 - a lone packet leaves after the linger; when the log takes time, frames grow', async () => {
  const { clock, seen, weather, send } = await start();
  send();
  await clock.advanceAsync(limits.frameLingerMs);
  await clock.advanceAsync(0);
  assert.equal(seen.length, 1);
  const framesFor = async (): Promise<number> => {
    const before = seen.length;
    for (let ms = 0; ms < 100; ms++) {
      send();
      await clock.advanceAsync(1);
    }
    await clock.advanceAsync(50);
    return seen.length - before;
  };
  assert.ok((await framesFor()) >= 50);
  weather.delayMs = 3;
  const slow = await framesFor();
  assert.ok(slow >= 20 && slow <= 35, `${slow} frames while the log takes 3 ms`);
  weather.delayMs = 30;
  const slowest = await framesFor();
  assert.ok(slowest >= 15 && slowest <= 21, `${slowest} frames: none waits longer than ${limits.frameLatestMs} ms`);
});

test('tier 1 - a frame that waits for a slow log does not keep that of another group', async () => {
  const { clock, weathers, send, arrived } = await start({}, ['g1', 'g2']);
  weathers.get('g1')!.delayMs = 1_000;
  send(20);
  await clock.advanceAsync(10);
  const [[slow], [quick]] = [arrived('g1'), arrived('g2')];
  send(1, 50, slow);
  await clock.advanceAsync(0.5);
  send(1, 50, quick);
  await clock.advanceAsync(limits.frameLingerMs);
  assert.deepEqual([arrived('g1').includes(21), arrived('g2').includes(22)], [false, true]);
  await clock.advanceAsync(limits.frameLatestMs);
  assert.ok(arrived('g1').includes(21));
});

test('tier 1 - the log has no leader for five seconds: nothing is lost, the order stays', async () => {
  const { clock, tier1, weather, send, arrived, accounts } = await start();
  send(10);
  await clock.advanceAsync(10);
  weather.mode = 'refused';
  for (let ms = 0; ms < 5_000; ms += 100) {
    send(5);
    await clock.advanceAsync(100);
  }
  assert.ok(!tier1.isReady && tier1.isOpen, 'who can wait does; who cannot is still taken');
  assert.equal(accounts().underWay, 250);
  weather.mode = 'stored';
  await tier1FlushedBy(clock, tier1.ready());
  await clock.advanceAsync(2_000);
  assert.deepEqual(arrived(), upTo(260));
  assert.deepEqual([accounts().distributed, tier1.isReady], [260, true]);
});

test('tier 1 - lost answers, and frames stored late: each is applied once', async () => {
  const { clock, seen, weather, send, arrived, accounts } = await start();
  for (const mode of ['stored', 'unknown', 'late', 'stored', 'unknown', 'stored'] as const) {
    weather.mode = mode;
    for (let ms = 0; ms < 600; ms += 20) {
      send(2);
      await clock.advanceAsync(20);
    }
  }
  await clock.advanceAsync(5_000);
  assert.ok(seen.length > applied(seen).length, 'some came twice');
  assert.deepEqual(arrived(), upTo(360));
  assert.deepEqual(accounts(), { received: 360, distributed: 360, underWay: 0, pending: 0, dropped: {} });
});

test('tier 1 - what the log does not take in time is counted as log-down, and the next frames still apply', async () => {
  const { clock, weather, send, arrived, accounts } = await start();
  send(3);
  await clock.advanceAsync(10);
  weather.mode = 'refused';
  send(4);
  await clock.advanceAsync(limits.appendAgeMs + 3_000);
  assert.deepEqual(accounts().dropped, { 'log-down': 4 });
  weather.mode = 'stored';
  send(2);
  await clock.advanceAsync(3_000);
  assert.deepEqual(arrived(), [1, 2, 3, 8, 9]);
});

test('tier 1 - more than the window holds is counted as log-full, and one group keeps no other back', async () => {
  const { clock, tier1, weathers, send, accounts } = await start({ windowBytes: 60_000 }, ['g1', 'g2']);
  weathers.get('g1')!.isDown = true;
  send(200, 1_000);
  await clock.advanceAsync(20);
  const { dropped, distributed, underWay } = accounts();
  assert.ok(dropped['log-full'] > 0 && underWay > 0 && distributed > 50);
  assert.deepEqual([tier1.isReady, tier1.isOpen], [false, true]);
  assert.equal(tier1.distributor.sentTo(0).packets, 0);
  weathers.get('g2')!.isDown = true;
  send(200, 1_000);
  await clock.advanceAsync(20);
  weathers.get('g1')!.isDown = weathers.get('g2')!.isDown = false;
  await clock.advanceAsync(1_000);
  assert.equal(accounts().underWay, 0);
  assert.ok(tier1.isReady);
});

test('tier 1 - another epoch in the mirror: frames go on under another life, behind those of the first', async () => {
  const { clock, seen, weather, mirrors, send, arrived, settled } = await start();
  send(2);
  await clock.advanceAsync(10);
  weather.delayMs = 50;
  send(2);
  await clock.advanceAsync(5);
  await settled(mirrors.write(mirrorOf('g1', 1, [member('s1')], 2)));
  send(2);
  await clock.advanceAsync(5);
  send(2);
  await clock.advanceAsync(200);
  assert.deepEqual(
    seen.map(({ life, number, follows }) => `${life} ${number} ${follows}`),
    ['t1 1 0', 't1 2 1', 't1.2 1 0', 't1.2 2 1'],
  );
  assert.deepEqual(arrived(), upTo(8));
  await settled(mirrors.write(mirrorOf('g1', 9, [member('s1'), member('s2')], 2)));
  send();
  await clock.advanceAsync(200);
  assert.equal(seen.at(-1)?.life, 't1.2', 'another view of the same epoch changes nothing');
});

test('tier 1 - ten minutes without a frame: the next one begins a life of numbers', async () => {
  const { clock, seen, send } = await start();
  send();
  await clock.advanceAsync(limits.lifeSilentMs - 100);
  send();
  await clock.advanceAsync(limits.lifeSilentMs + 100);
  send();
  await clock.advanceAsync(100);
  assert.deepEqual(
    seen.map(({ life, number, follows }) => `${life} ${number} ${follows}`),
    ['t1 1 0', 't1 2 1', 't1.2 1 0'],
  );
});

test('tier 1 - who can wait waits while a member lags by half of what the log keeps, and not for one that has gone', async () => {
  const { clock, tier1, seen, mirrors, send, said, settled } = await start({ lag: { bytes: 200_000, ms: 5_000 } });
  const waits = async (): Promise<boolean> => {
    await clock.advanceAsync(limits.groupTickMs);
    return !tier1.isKeptUp;
  };
  await settled(mirrors.write(mirrorOf('g1', 2, [member('s1'), member('s2', 'joining')])));
  send(100, 1_000);
  await clock.advanceAsync(20);
  const last = () => seen.at(-1)!.position;
  said('s1', last());
  said('s2', 1);
  assert.ok(!(await waits()), 'less than the limit lies behind');
  send(200, 1_000);
  await clock.advanceAsync(20);
  said('s1', last());
  said('s2', 1);
  assert.ok(await waits());
  assert.ok(tier1.isReady, 'others do not wait');
  let isGoing = false;
  void tier1.keptUp().then(() => {
    isGoing = true;
  });
  await clock.advanceAsync(500);
  assert.ok(!isGoing);
  said('s2', last());
  await clock.advanceAsync(100);
  assert.ok(isGoing);

  said('s2', last(), { lagMs: 6_000 });
  assert.ok(await waits(), 'it says itself that it is seconds behind');
  said('s2', 1, { epoch: 'epoch-0' });
  assert.ok(!(await waits()), 'positions of another line say nothing');
  said('s2', 1);
  assert.ok(await waits());
  said('s2', 1, { state: 'fetching' });
  assert.ok(!(await waits()));
  said('s2', 1);
  assert.ok(await waits());
  await settled(mirrors.write(mirrorOf('g1', 3, [member('s1')])));
  assert.ok(!(await waits()), 'it is no member any more');
  said('s1', 1);
  assert.ok(await waits());
  await clock.advanceAsync(3_500);
  assert.ok(!(await waits()), 'it has fallen silent');
  said('stranger', 1);
  assert.ok(!(await waits()));
});

test('tier 1 - mirrors that are older or none change nothing', async () => {
  const { tier1, mirrors, settled } = await start();
  await settled(mirrors.write(mirrorOf('g1', 7, [member('s1')], 3)));
  await settled(mirrors.write(mirrorOf('g1', 6, [], 3)));
  assert.ok(tier1.isServed);
  await settled(mirrors.writeBytes('g1', Buffer.from('{"view":1}')));
  assert.deepEqual([tier1.isServed, tier1.mirrorFaults], [true, 1]);
  await settled(mirrors.write(mirrorOf('g1', 8, [member('s1', 'joining')], 3)));
  assert.ok(!tier1.isServed, 'a group of joiners has no server');
});

test('tier 1 - at its end it waits for the log, and not for ever', async () => {
  const patient = await start();
  patient.weather.delayMs = 800;
  patient.send(5);
  await tier1FlushedBy(patient.clock, patient.tier1.stop(), 1_000);
  assert.deepEqual([patient.accounts().distributed, patient.arrived()], [5, upTo(5)]);

  const { clock, tier1, weather, send, accounts } = await start();
  weather.isDown = true;
  send(5);
  const stopping = tier1.stop();
  await clock.advanceAsync(limits.tier1FlushMs - 1);
  assert.equal(accounts().underWay, 5);
  await tier1FlushedBy(clock, stopping);
  assert.deepEqual(accounts().dropped, { 'log-down': 5 });
  assert.equal(clock.pending, 0);
  await assert.rejects(tier1.ready(), /stopped/);
});

test('tier 1 - measurers hear of each frame before it leaves, and of what never got in', async () => {
  const told: string[] = [];
  const { clock, weather, send } = await start({
    onSend: (group, { life, number, packets }) => told.push(`${group} ${life} ${number}: ${packets}`),
    onLost: (group, { life, number }, isUncertain) => told.push(`${group} ${life} ${number} lost ${isUncertain}`),
  });
  send(2);
  await clock.advanceAsync(10);
  weather.mode = 'refused';
  send(1);
  await clock.advanceAsync(limits.appendAgeMs + 3_000);
  weather.mode = 'late';
  send(1);
  await clock.advanceAsync(limits.appendAgeMs + 3_000);
  assert.deepEqual(told, ['0 t1 1: 2', '0 t1 2: 1', '0 t1 2 lost false', '0 t1 3: 1', '0 t1 3 lost true']);
});

/** Resolves with the work; fails when it is not done within the time. */
async function tier1FlushedBy(clock: VirtualClock, work: Promise<void>, ms = 2_000): Promise<void> {
  let isDone = false;
  void work.then(() => {
    isDone = true;
  });
  await clock.advanceAsync(ms);
  assert.ok(isDone, `not done within ${ms} ms`);
}
