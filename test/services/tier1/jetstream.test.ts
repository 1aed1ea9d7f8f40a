// Tier 1 over a real log server: the server is killed under load and comes back, and every packet is in the log once and in
// order, or counted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tier1Actor } from '../../../services/tier1/actor.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { buildPacket } from '../../../shared/packet/encode/build.ts';
import { benchKeyer, benchMap } from '../../bench/packets.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { until } from '../../support/until.ts';
import { applied, MirrorWriter, member, mirrorOf, tapLog } from './support.ts';

const subjects = subjectsOf('c');
const skip = skipWithoutNatsServer();

test('tier 1 over JetStream - a server that is killed under load costs no packet', {
  skip,
  timeout: 60_000,
}, async () => {
  const server = await NatsServer.start();
  const open: Bus[] = [];
  const connect = async (name: string): Promise<Bus> => {
    const bus = await openBus(server.url, { name });
    open.push(bus);
    return bus;
  };
  try {
    const members = await connect('members');
    const seen = await tapLog(members, 'c', 'g1', { storage: 'file' });
    const tier1 = new Tier1Actor({
      tier1Id: 't1',
      map: benchMap('c'),
      keyer: benchKeyer(),
      subjects,
      dataBus: await connect('tier 1 data'),
      controlBus: await connect('tier 1 control'),
      clock: systemClock,
      packetTime: 'live',
    });
    await tier1.start();
    const mirrors = new MirrorWriter(await members.openKeyValue(subjects.bucket));
    await mirrors.write(mirrorOf('g1', 1, [member('s1')]));
    await tier1.whenServed();

    let sent = 0;
    const send = (packets: number): void => {
      for (let packet = 0; packet < packets; packet++) {
        const payload = Buffer.alloc(200);
        payload.writeUInt32BE(++sent);
        const udp = { sourcePort: 1_000 + (sent % 1_000), targetPort: 53, payload };
        const bytes = buildPacket({ source: '10.0.0.1', target: '192.0.2.1', udp });
        tier1.distributor.packet(bytes, 0, bytes.length, 1, 0, systemClock.nowMs());
      }
      tier1.fed();
    };
    const feed = async (runs: number): Promise<void> => {
      for (let run = 0; run < runs; run++) {
        send(20);
        await new Promise<void>((resolve) => systemClock.setTimer(2, resolve));
      }
    };
    await feed(100);
    await server.kill();
    await feed(100);
    await server.start();
    await feed(100);
    await until(() => tier1.distributor.distributed === sent);
    await tier1.stop();
    await until(() => (seen.at(-1)?.position ?? 0) >= tier1.storedAt(0));
    const { received, distributed, underWay, dropped } = tier1.distributor;
    assert.deepEqual([received, distributed, underWay, dropped], [sent, sent, 0, {}]);
    const numbers = applied(seen).flatMap(({ packets }) => packets.map((bytes) => Buffer.from(bytes).readUInt32BE(42)));
    assert.deepEqual(
      numbers,
      Array.from({ length: sent }, (_, index) => index + 1),
    );
  } finally {
    await Promise.all(open.map((bus) => bus.close()));
    await server.stop();
  }
});
