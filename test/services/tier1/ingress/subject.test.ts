// Tier 1 with the bus as ingress, on the embedded bus under a virtual clock: it says that it is there, takes packets, and
// ends without losing any.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Tier1Actor } from '../../../../services/tier1/actor.ts';
import { SubjectIngress } from '../../../../services/tier1/ingress/subject.ts';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { MemoryHub } from '../../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../../shared/bus/subjects.ts';
import { decodeHello, type Hello } from '../../../../shared/messages/hello.ts';
import { buildPacket } from '../../../../shared/packet/encode/build.ts';
import { benchKeyer, benchMap } from '../../../bench/packets.ts';
import { packetFrame } from '../../../support/packetFrames.ts';
import { MirrorWriter, member, mirrorOf, retention } from '../support.ts';

const subjects = subjectsOf('c');
const packet = buildPacket({ source: '10.0.0.1', target: '192.0.2.1', udp: { sourcePort: 1, targetPort: 2 } });

async function start() {
  const clock = new VirtualClock(1_000_000);
  const hub = new MemoryHub({ clock });
  const dataBus = hub.connect('tier 1 data');
  const router = hub.connect('router');
  const hellos: Hello[] = [];
  router.subscribe(subjects.every('hello'), (data) => hellos.push(decodeHello(data)!));
  const map = benchMap('c');
  const windowBytes = 64 * 1024;
  const options = { tier1Id: 't1', map, keyer: benchKeyer(), subjects, dataBus, controlBus: dataBus, clock };
  const tier1 = new Tier1Actor({ ...options, windowBytes, packetTime: 'live' });
  const settled = async <T>(work: Promise<T>, ms = 10): Promise<T> => {
    await clock.advanceAsync(ms);
    return work;
  };
  const log = await settled(router.openLog('c', 'g1', { retention, storage: 'memory', replicas: 1 }));
  await settled(tier1.start());
  const ingress = await settled(SubjectIngress.open({ tier1, subjects, bus: dataBus, clock }));
  const serve = async () => {
    const mirrors = new MirrorWriter(await settled(router.openKeyValue(subjects.bucket)));
    await settled(mirrors.write(mirrorOf('g1', 1, [member('s1')])));
  };
  const send = (...numbers: number[]) => {
    for (const number of numbers) router.publish(subjects.in('t1'), packetFrame('gen', number, [packet, packet]));
  };
  return { clock, tier1, ingress, router, hellos, log, send, serve };
}

describe('subject ingress', () => {
  it('subject ingress - says four times a second that it waits, then that it is ready, and what it got', async () => {
    const { clock, tier1, hellos, send, serve } = await start();
    await clock.advanceAsync(2 * limits.helloMs);
    assert.ok(hellos.length >= 2);
    assert.deepEqual([hellos.at(-1)?.tier1, hellos.at(-1)?.state], ['t1', 'waiting']);
    await serve();
    send(1, 3);
    await clock.advanceAsync(2 * limits.helloMs);
    const last = hellos.at(-1)!;
    assert.equal(last.state, 'ready');
    assert.deepEqual(last.senders, [{ name: 'gen', received: 4, lostFrames: 1, dropped: {} }]);
    assert.equal(tier1.distributor.distributed, 4, 'open frames leave within the linger time');
  });

  it('subject ingress - packets that come faster than the log takes frames are dropped and counted', async () => {
    const { clock, tier1, router, hellos, serve } = await start();
    await serve();
    // One delivery of the bus hands over all of these before the log has answered any frame.
    const big = Buffer.concat([packet, new Uint8Array(20_000)]);
    for (let number = 1; number <= 30; number++) router.publish(subjects.in('t1'), packetFrame('gen', number, [big]));
    await clock.advanceAsync(limits.helloMs);
    const { overload = 0, 'log-full': logFull = 0 } = hellos.at(-1)!.dropped;
    assert.ok(overload > 0, 'some were dropped');
    assert.equal(tier1.distributor.received, 30);
    assert.equal(tier1.distributor.distributed + overload + logFull, 30);
    assert.equal(hellos.at(-1)?.senders[0].dropped.overload, overload);
  });

  it('subject ingress - leaves in order: what is under way is taken, then the final counts are said', async () => {
    const { clock, tier1, ingress, hellos, send, serve } = await start();
    await serve();
    const ended = ingress.stop();
    await clock.advanceAsync(1);
    assert.equal(hellos.at(-1)?.state, 'leaving');
    send(1, 2);
    await clock.advanceAsync(2 * limits.helloMs);
    await ended;
    await clock.advanceAsync(1);
    assert.equal(hellos.at(-1)?.state, 'ended');
    assert.equal(hellos.at(-1)?.senders[0].received, 4);
    assert.equal(tier1.distributor.distributed, 4);
    const said = hellos.length;
    send(3);
    await clock.advanceAsync(1_000);
    assert.equal(hellos.length, said);
    assert.equal(tier1.distributor.received, 4);
  });

  it('subject ingress - a sender that never stops does not keep it from ending', async () => {
    const { clock, ingress, hellos, send, serve } = await start();
    await serve();
    const ended = ingress.stop();
    for (let number = 1; hellos.at(-1)?.state !== 'ended'; number++) {
      assert.ok(number < 200, 'it goes on and on');
      send(number);
      await clock.advanceAsync(20);
    }
    await ended;
  });

  it('subject ingress - what the log has not taken by the end is counted in the last hello', async () => {
    const { clock, tier1, ingress, hellos, log, send, serve } = await start();
    await serve();
    send(1);
    await clock.advanceAsync(10);
    const destroyed = log.destroy();
    await clock.advanceAsync(10);
    await destroyed;
    send(2, 3);
    const ended = ingress.stop();
    await clock.advanceAsync(limits.tier1FlushMs + 2_000);
    await ended;
    await clock.advanceAsync(1);
    const last = hellos.at(-1)!;
    assert.deepEqual([last.state, last.dropped, tier1.distributor.distributed], ['ended', { 'log-down': 4 }, 2]);
    assert.deepEqual(last.senders[0].dropped, {}, 'a frame holds packets of several senders');
  });
});
