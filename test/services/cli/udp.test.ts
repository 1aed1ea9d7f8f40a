// UDP clients and servers that know nothing of the cluster between them: processes as users start them, a real NATS
// server, and real sockets.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Bus } from '../../../shared/bus/bus.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import { Delivery, decodeAck } from '../../../shared/messages/delivery.ts';
import { dig, serveDns, skipWithoutDig } from '../../support/dns.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';
import { inUrl, loopbacks, UdpPeer } from '../../support/udp.ts';

interface Tier1Report {
  readonly packets: { read: number; distributed: number; dropped: Record<string, number> };
  readonly inputs: { udp: { answers: { sent: number; lostMessages: number; badMessages: Record<string, number> } } };
}

interface DsslReport {
  readonly packets: number;
  readonly packetsLost: number;
  readonly flows: number;
  readonly recovery: { skippedEntries: number };
  readonly backend: { forwarded: number; answers: number; answersSent: number; answersDropped: object };
  readonly remote: { sent: number; acknowledged: number };
}

interface ServerReport {
  readonly packets: number;
  readonly flows: number;
  readonly remote: { lostDeliveries: number; flowsOpenedLate: number };
  readonly handler: { openFlows: number };
}

describe('udp through the cluster', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: NatsServer;
  before(async () => {
    nats = await NatsServer.start();
  });
  after(async () => {
    UdpPeer.closeAll();
    await nats.stop();
  });

  const common = (cluster: string) => ['--bus', nats.url, '--cluster', cluster, '--groups', '1', '--json'];

  /** An actor with a backend, active. */
  async function actor(cluster: string, name: string, backend: UdpPeer, drainSeconds = 0): Promise<Service> {
    const options = ['--server', name, '--backend', backend.url, '--drain-seconds', String(drainSeconds)];
    const service = new Service(['dssl', ...common(cluster), ...options]);
    await service.says(/server is active/);
    return service;
  }

  /** A tier 1 with VIPs, and the ports that the system has chosen for them. */
  async function vips(cluster: string, name: string, hosts: readonly string[]) {
    const inputs = hosts.flatMap((host) => ['--input', `udp://${inUrl(host)}:0`]);
    const tier1 = new Service(['tier1', ...common(cluster), '--name', name, ...inputs]);
    await tier1.says(/waiting for a server/);
    const ports = tier1.messages.flatMap(
      (line) => /^clients may send to .*:(\d+)$/.exec(line)?.slice(1).map(Number) ?? [],
    );
    assert.equal(ports.length, hosts.length);
    return { tier1, ports };
  }

  async function reportOf<T>(service: Service, code = 0): Promise<T> {
    assert.equal(await service.end(), code, service.messages.join('\n'));
    return JSON.parse(service.stdout) as T;
  }

  test('udp - 50 clients, 2 tier 1s, backends that come and go: own answers, always from the same backend', async () => {
    const cluster = 'clients';
    const names = ['a', 'b', 'c'];
    const backends = await Promise.all(names.map((name) => UdpPeer.serve(({ text }) => `${text} from ${name}`)));
    const actors = [await actor(cluster, 'a', backends[0]), await actor(cluster, 'b', backends[1], 60)];
    const tiers = [await vips(cluster, 't1', ['127.0.0.1']), await vips(cluster, 't2', ['127.0.0.1'])];
    const homes = new Map<number, string>();
    let asked = 0;

    /** Every client asks once: the answer is its own, and from the backend that answered it before. */
    const round = async (clients: readonly UdpPeer[], first: number): Promise<void> => {
      await Promise.all(
        clients.map(async (client, index) => {
          const number = first + index;
          const question = `${number}/${++asked}`;
          const { text, port } = await client.ask(question, tiers[number % 2].ports[0]);
          assert.equal(port, tiers[number % 2].ports[0]);
          assert.ok(text.startsWith(`${question} from `), `client ${number} asked ${question} and was told ${text}`);
          const home = text.split(' from ')[1];
          assert.equal(home, homes.get(number) ?? home, `client ${number} went to another backend`);
          homes.set(number, home);
        }),
      );
    };
    const clients = await Promise.all(Array.from({ length: 50 }, () => UdpPeer.open()));
    for (let i = 0; i < 3; i++) await round(clients, 0);
    assert.deepEqual([...new Set(homes.values())].sort(), ['a', 'b']);

    let isActive = false;
    const joining = actor(cluster, 'c', backends[2]).then((service) => {
      isActive = true;
      return service;
    });
    while (!isActive) await round(clients, 0);
    actors.push(await joining);
    const laterClients = await Promise.all(Array.from({ length: 30 }, () => UdpPeer.open()));
    await round(laterClients, 50);
    assert.deepEqual([...new Set([...homes.values()].slice(50))].sort(), ['a', 'b', 'c']);

    void actors[1].end();
    await actors[1].says(/server is draining/);
    for (let i = 0; i < 3; i++) await round(clients, 0);
    const latestClients = await Promise.all(Array.from({ length: 30 }, () => UdpPeer.open()));
    await round(latestClients, 80);
    assert.deepEqual([...new Set([...homes.values()].slice(80))].sort(), ['a', 'c']);
    await round(clients, 0);

    // It would wait for the idle limits of its flows. A second signal ends it at once.
    assert.equal(await actors[1].end(), 130);
    const fronts = await Promise.all(tiers.map(({ tier1 }) => reportOf<Tier1Report>(tier1)));
    const servers = await Promise.all([actors[0], actors[2]].map((service) => reportOf<DsslReport>(service)));
    const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
    assert.equal(sum(fronts.map(({ packets }) => packets.read)), asked);
    assert.equal(sum(fronts.map(({ packets }) => packets.distributed)), asked);
    assert.equal(sum(fronts.map(({ inputs }) => inputs.udp.answers.sent)), asked);
    assert.equal(sum(fronts.map(({ inputs }) => inputs.udp.answers.lostMessages)), 0);
    for (const [index, { packets, packetsLost, recovery, backend }] of servers.entries()) {
      assert.equal(packets, backends[index * 2].received.length);
      assert.deepEqual(
        [packetsLost, recovery.skippedEntries, backend.answersSent, backend.answersDropped],
        [0, 0, packets, {}],
      );
    }
    assert.equal(sum(backends.map(({ received }) => received.length)), asked);
    for (const peer of [...clients, ...laterClients, ...latestClients, ...backends]) peer.close();
  });

  test('udp - dig asks through the cluster, over IPv4 and IPv6', { skip: skipWithoutDig() }, async (t) => {
    const hosts = loopbacks();
    if (hosts.length === 1) t.diagnostic('this machine has no ::1, so only IPv4 was tried');
    const [one, two] = await Promise.all([serveDns('one'), serveDns('two')]);
    const actors = [await actor('dig', 's1', one), await actor('dig', 's2', two)];
    const { tier1, ports } = await vips('dig', 't1', hosts);
    const answers: string[] = [];
    for (const [index, host] of hosts.entries()) {
      for (let question = 0; question < 3; question++) answers.push(await dig(host, ports[index], 'flowherd.test'));
    }
    for (const answer of answers) assert.match(answer, /^"(one|two) \d+"$/);
    const report = await reportOf<Tier1Report>(tier1);
    assert.equal(report.inputs.udp.answers.sent, answers.length);
    for (const service of actors) await reportOf(service);
    for (const peer of [one, two]) peer.close();
  });

  test('udp - a server that answers from a new port: said and counted, and passed on where that is wanted', async () => {
    const transfer = await UdpPeer.serve(({ text }) => `and after ${text}`);
    const server = await UdpPeer.serve(({ text, port }) => void transfer.send(`first of ${text}`, port));
    const start = async (cluster: string, ...more: string[]) => {
      const backend = ['--server', 's1', '--backend', server.url, '--drain-seconds', '0'];
      const dssl = new Service(['dssl', '--bus', nats.url, '--cluster', cluster, '--groups', '1', ...backend, ...more]);
      await dssl.says(/server is active/);
      return { dssl, ...(await vips(cluster, 't1', ['127.0.0.1'])) };
    };
    const usual = await start('tftp');
    const client = await UdpPeer.open();
    client.send('file', usual.ports[0]);
    await usual.dssl.says(/an answer from port \d+ instead of \d+ is not passed on; --answers any-port/);
    assert.equal(await usual.dssl.end(), 0);
    assert.match(
      usual.dssl.stdout,
      /^s1 in g1: 1 packet of 1 flow, 1 flow left behind, 0 entries of the log passed over\.$/m,
    );
    assert.match(usual.dssl.stdout, /^ {2}1 answer of the backend not passed to clients: other-port 1$/m);
    await reportOf(usual.tier1);

    const open = await start('tftp-open', '--answers', 'any-port');
    assert.equal((await client.ask('file', open.ports[0])).text, 'first of file');
    const next = await client.ask('block 1', open.ports[0]);
    assert.deepEqual([next.text, next.port], ['and after block 1', open.ports[0]], 'the client sees the VIP alone');
    assert.equal(await open.dssl.end(), 0);
    assert.doesNotMatch(open.dssl.stdout, /not passed/);
    await reportOf(open.tier1);
    for (const peer of [client, server, transfer]) peer.close();
  });

  test('udp - garbage where answers come in is counted, and clients go on getting theirs', async () => {
    const cluster = 'garbage';
    const backend = await UdpPeer.serve(({ text }) => `re: ${text}`);
    const server = await actor(cluster, 's1', backend);
    const { tier1, ports } = await vips(cluster, 't1', ['127.0.0.1', '127.0.0.1']);
    const bus = await connectNats({ url: nats.url, name: 'stranger' });
    const subjects = subjectsOf(cluster);
    const client = await UdpPeer.open();
    await client.ask('who?', ports[0]);
    const life = await nameOfTier1(bus, cluster);
    const garbage = 200;
    for (let sent = 0; sent < garbage; sent++) {
      bus.publish(subjects.return(life), Buffer.concat([Buffer.of(0xc1), randomBytes(sent)]));
    }
    await bus.close();
    // By either of the two VIPs: the answer comes from the one that was asked.
    for (const port of ports) assert.deepEqual((await client.ask('you?', port)).port, port);
    const { inputs } = await reportOf<Tier1Report>(tier1);
    const { badMessages, sent } = inputs.udp.answers;
    assert.equal(
      Object.values(badMessages).reduce((total, each) => total + each, 0),
      garbage,
    );
    assert.equal(sent, 3);
    await reportOf(server);
    for (const peer of [client, backend]) peer.close();
  });

  test('udp - a server on other hardware: waited for, missed when it dies, and followed by another', async () => {
    const cluster = 'remote';
    const server = () => new Service(['server', '--of', 's1', '--bus', nats.url, '--cluster', cluster, '--json']);
    const dssl = new Service([
      'dssl',
      ...common(cluster),
      ...['--server', 's1', '--egress', 'bus', '--drain-seconds', '0'],
    ]);
    await dssl.says(/waiting for the server/);
    const first = server();
    await dssl.says(/server is active/);
    const { tier1, ports } = await vips(cluster, 't1', ['127.0.0.1']);
    const watcher = await connectNats({ url: nats.url, name: 'watcher' });
    const traffic = new Traffic(watcher, cluster);
    await watcher.flush();
    const clients = await Promise.all(Array.from({ length: 10 }, () => UdpPeer.open()));
    const send = () => {
      for (const client of clients) for (let i = 0; i < 10; i++) client.send(`${i}`, ports[0]);
    };
    send();
    await traffic.acknowledged(1, 100);
    assert.equal(await first.end('SIGKILL'), -1);
    await dssl.says(/no server listens/);
    send();
    await traffic.delivered(200);
    const second = server();
    await dssl.says(/the server listens again/);
    send();
    await traffic.acknowledged(2, 100);
    const { packets } = await reportOf<Tier1Report>(tier1);
    const near = await reportOf<DsslReport>(dssl);
    await second.says(/its actor has left/);
    const far = await reportOf<ServerReport>(second);
    assert.deepEqual([packets.read, packets.distributed, near.packets, near.flows], [300, 300, 300, 10]);
    assert.deepEqual([near.remote.sent, near.remote.acknowledged, near.packetsLost], [300, 200, 100]);
    assert.deepEqual([far.packets, far.flows, far.remote.flowsOpenedLate, far.remote.lostDeliveries], [100, 10, 10, 0]);
    assert.equal(far.handler.openFlows, 0, 'every flow that was told to the handler has ended');
    await watcher.close();
    for (const client of clients) client.close();
  });

  test('udp - a NATS server that takes only small messages is refused: a large datagram would end the process', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'flowherd-config-'));
    const config = join(folder, 'nats.conf');
    writeFileSync(config, 'max_payload: 65536\n');
    const small = await NatsServer.start({ config });
    const service = new Service(['tier1', '--bus', small.url, '--input', 'udp://127.0.0.1:0']);
    assert.equal(await service.ended(), 1);
    assert.match(service.messages.at(-1) ?? '', /at most 65536 bytes: set its max_payload to 262144 or more/);
    await small.stop();
    rmSync(folder, { recursive: true });
  });

  test('udp - what cannot be is said in one line, with the right exit code', async () => {
    const cluster = common('mistakes');
    const taken = await UdpPeer.open();
    const cases = [
      { args: ['tier1', ...cluster, '--input', taken.url], code: 1, says: /it is taken already/ },
      { args: ['tier1', ...cluster, '--input', 'udp://192.0.2.1:53'], code: 1, says: /not an address of this machine/ },
      { args: ['tier1', ...cluster, '--input', 'udp://nowhere.invalid:53'], code: 1, says: /no address for nowhere/ },
      { args: ['tier1', ...cluster, '--input', 'udp://127.0.0.1'], code: 2, says: /udp:\/\/host:port/ },
      {
        args: ['tier1', ...cluster, '--input', taken.url, '--packet-time', 'capture'],
        code: 2,
        says: /--packet-time capture/,
      },
      { args: ['dssl', ...cluster, '--backend', 'udp://127.0.0.1:0'], code: 2, says: /port from 1/ },
      { args: ['dssl', ...cluster, '--backend', 'udp://nowhere.invalid:53'], code: 1, says: /no address for nowhere/ },
      { args: ['dssl', ...cluster, '--egress', 'bus'], code: 2, says: /needs --server/ },
      { args: ['dssl', ...cluster, '--egress', 'bus', '--handler', 'pcap'], code: 2, says: /cannot be used with/ },
      { args: ['dssl', ...cluster, '--egress', 'tcp'], code: 2, says: /Allowed choices are bus/ },
      { args: ['server', '--bus', nats.url], code: 2, says: /--of <server>/ },
      { args: ['server', '--bus', nats.url, '--of', 's1', '--handler', './none.ts'], code: 1, says: /none\.ts/ },
    ];
    const tryOut = async ({ args, code, says }: (typeof cases)[number]) => {
      const service = new Service(args);
      assert.equal(await service.ended(), code, `${args.join(' ')}\n${service.messages.join('\n')}`);
      const lines = service.messages.filter((line) => /^(flowherd|error): /.test(line));
      assert.equal(lines.length, 1, service.messages.join('\n'));
      assert.match(lines[0], says);
    };
    while (cases.length > 0) await Promise.all(cases.splice(0, 4).map(tryOut));
    taken.close();
  });
});

/** The name under which frames came into the log of the only group. */
async function nameOfTier1(bus: Bus, cluster: string): Promise<string> {
  const log = await bus.openLog(cluster, 'g1');
  const frame = new Frame();
  return new Promise((resolve, reject) => {
    log.read(
      { after: 0, kinds: ['frame'] },
      {
        onEntry: ({ data }) => void (frame.decode(data) === 'none' && resolve(frame.tier1Id)),
        onBroken: (reason) => reject(new Error(reason)),
      },
    );
  });
}

/** Follows what goes to the server s1 and what it acknowledges. */
class Traffic {
  #delivered = 0;
  /** Packets acknowledged, by the server process, in the order in which they came up. */
  readonly #acknowledged = new Map<number, number>();
  #check: () => void = () => undefined;

  constructor(bus: Bus, cluster: string) {
    const subjects = subjectsOf(cluster);
    const delivery = new Delivery();
    bus.subscribe(subjects.out('s1'), (message) => {
      assert.equal(delivery.decode(message), 'none');
      for (let row = 0; row < delivery.count; row++) if (!delivery.isEvent(row)) this.#delivered++;
      this.#check();
    });
    bus.subscribe(subjects.ack('s1'), (message) => {
      const ack = decodeAck(message);
      if (ack !== undefined) this.#acknowledged.set(ack.serverLife, ack.packets);
      this.#check();
    });
  }

  /** Resolves when so many packets have left for the server. */
  delivered(packets: number): Promise<void> {
    return this.#until(() => this.#delivered >= packets);
  }

  /** Resolves when the first, second, ... server process has got so many packets. */
  acknowledged(process: number, packets: number): Promise<void> {
    return this.#until(() => ([...this.#acknowledged.values()][process - 1] ?? 0) >= packets);
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#check = () => {
        if (holds()) resolve();
      };
      this.#check();
    });
  }
}
