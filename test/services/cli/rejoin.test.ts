// Servers as processes that their group removes although they live, or drains although nobody signalled them, at a real NATS
// server. Commands come into the log as from another member or an operator, and frames as from a tier 1.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Bus } from '../../../shared/bus/bus.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { readMirrors } from '../../../shared/config/store.ts';
import { ProtocolClass, protocolClassShift } from '../../../shared/flow/frameFlags.ts';
import { operatorAuthor } from '../../../shared/log/records/command.ts';
import { FrameBuilder } from '../../../shared/log/records/frame.ts';
import { findMember, type Member, type View } from '../../../shared/membership/view.ts';
import { HandLog } from '../../support/handLog.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';

const udp = ProtocolClass.UDP << protocolClassShift;
const telling = fileURLToPath(new URL('../../support/tellingHandler.ts', import.meta.url));

interface Report {
  readonly lives: number;
  readonly packets: number;
  readonly flows: number;
  readonly flowsLeft: number;
  readonly flowsMoved: number;
  readonly verdicts: { readonly acceptNew: number };
  readonly entries: { readonly frames: number; readonly repeatedFrames: number };
}

/** A cluster with one group, a tier 1 made by hand, and somebody who appends commands to its log. */
class Cluster {
  readonly #bus: Bus;
  readonly #name: string;
  readonly #url: string;
  #log: HandLog | undefined;
  #number = 0;

  constructor(bus: Bus, url: string, name: string) {
    this.#bus = bus;
    this.#url = url;
    this.#name = name;
  }

  /** A server `a`, which gets all flows, and another one, which gets those that `a` cannot have. */
  async servers(args: readonly string[]): Promise<[Service, Service]> {
    const other = await this.#active(['--server', 'other', '--weight', '0', '--drain-seconds', '0']);
    return [await this.#active(['--server', 'a', ...args]), other];
  }

  async #active(args: readonly string[]): Promise<Service> {
    const common = ['dssl', '--bus', this.#url, '--cluster', this.#name, '--groups', '1', '--json'];
    const service = new Service([...common, '--handler', telling, '--handler-option', 'flows=yes', ...args]);
    await service.says(/server is active/);
    this.#log = await HandLog.of(this.#bus, subjectsOf(this.#name), 'g1');
    return service;
  }

  async view(): Promise<View> {
    const mirrors = await readMirrors(await this.#bus.openKeyValue(subjectsOf(this.#name).bucket), ['g1']);
    const mirror = mirrors.get('g1');
    assert.ok(mirror !== undefined);
    return mirror.view;
  }

  /** `a`, as the store has it. */
  async member(): Promise<Member | undefined> {
    return findMember(await this.view(), 'a');
  }

  /** Takes `a` out although it lives, as one that has not heard it for long would. */
  async remove(): Promise<void> {
    const { members } = await this.view();
    const [life, author] = ['a', 'other'].map((name) => members.find(({ server }) => server === name));
    assert.ok(life !== undefined && author !== undefined);
    await this.log.command({ kind: 'remove', author, life, handled: 0 });
  }

  async drain(): Promise<void> {
    const life = await this.member();
    assert.ok(life !== undefined);
    await this.log.command({ kind: 'drain', author: operatorAuthor, life });
  }

  /** One packet of each of these flows. */
  async send(flows: readonly number[], number: number = this.#number + 1): Promise<void> {
    const builder = new FrameBuilder();
    for (const flow of flows) builder.add(Uint8Array.of(flow), 0, 1, 0, flow, udp);
    const header = { tier1Id: 't1', number, follows: number - 1, mapVersion: 1, timestampMs: Date.now() };
    this.#number = number;
    await this.log.frame(Uint8Array.from(builder.finish(header)));
  }

  get log(): HandLog {
    assert.ok(this.#log !== undefined);
    return this.#log;
  }
}

const times = (service: Service, pattern: RegExp): number =>
  service.messages.filter((message) => pattern.test(message)).length;

describe('rejoining', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: NatsServer;
  let bus: Bus;
  let clusters = 0;
  before(async () => {
    nats = await NatsServer.start();
    bus = await connectNats({ url: nats.url, name: 'others' });
  });
  after(async () => {
    await bus.close();
    await nats.stop();
  });
  const newCluster = () => new Cluster(bus, nats.url, `rejoin${++clusters}`);

  test('rejoining - a server that was removed gives up its flows and comes back as a new life that takes new ones', async () => {
    const cluster = newCluster();
    const [server, other] = await cluster.servers(['--drain-seconds', '0']);
    const first = await cluster.member();
    await cluster.send([1, 2, 3]);
    await server.says(/flow begins/, 3);
    await cluster.remove();
    // Behind its removal nothing is its own.
    await cluster.send([3, 4]);
    await other.says(/flow begins/, 2);
    await server.says(/removed from its group: rejoins as a new life/);
    await server.says(/server is active/, 2);
    assert.deepEqual([times(server, /^flow ends: moved$/), times(server, /flow begins/)], [3, 3]);
    const events = server.messages.filter((message) => /^flow ends|^handler/.test(message));
    assert.deepEqual(events.slice(-2), ['handler stopped', 'handler started for g1'], 'told of all before it stopped');
    const again = await cluster.member();
    assert.notEqual(again?.incarnation, first?.incarnation);
    // What was its own is placed anew; what is the other one's stays there. What comes twice counts once.
    await cluster.send([1, 3, 5]);
    await cluster.send([1, 3, 5], 3);
    await server.says(/flow begins/, 5);
    assert.equal(await server.end(), 0, server.messages.join('\n'));
    assert.equal(await other.end(), 0, other.messages.join('\n'));
    const report = JSON.parse(server.stdout) as Report;
    assert.deepEqual(
      [report.lives, report.packets, report.flows, report.flowsMoved, report.flowsLeft],
      [2, 5, 5, 3, 2],
    );
    assert.equal(report.verdicts.acceptNew, 5);
    const { packets, flows, entries } = JSON.parse(other.stdout) as Report;
    assert.deepEqual([packets, flows, entries.frames, entries.repeatedFrames], [3, 2, 3, 1]);
    assert.deepEqual((await cluster.view()).members, []);
  });

  test('rejoining - a signal while it is no member ends it at once', async () => {
    const cluster = newCluster();
    const [server, other] = await cluster.servers([]);
    await cluster.remove();
    await server.says(/waits before it rejoins/);
    assert.equal(await server.end(), 0);
    assert.ok(server.messages.includes('ended while it was no member'), server.messages.join('\n'));
    assert.equal((JSON.parse(server.stdout) as Report).lives, 1);
    assert.equal(await cluster.member(), undefined);
    assert.equal(await other.end(), 0);
  });

  test('rejoining - removed again and again, it waits longer each time', async () => {
    const cluster = newCluster();
    const [server, other] = await cluster.servers(['--drain-seconds', '0']);
    for (let lives = 2; lives <= 3; lives++) {
      await cluster.remove();
      await server.says(/server is active/, lives);
    }
    assert.deepEqual(await Promise.all([server.end(), other.end()]), [0, 0]);
    const pauses = server.records.filter(({ msg }) => msg === 'waits before it rejoins').map(({ pauseMs }) => pauseMs);
    assert.deepEqual(pauses, [1_000, 2_000]);
    assert.equal((JSON.parse(server.stdout) as Report).lives, 3);
  });

  test('rejoining - a server that is drained leaves as on a signal, and says how far it has come', async () => {
    const cluster = newCluster();
    const [server, other] = await cluster.servers(['--drain-seconds', '6']);
    await cluster.send([1, 2]);
    await server.says(/flow begins/, 2);
    await cluster.drain();
    await server.says(/draining: its view says so/);
    assert.equal(await server.ended(), 0, server.messages.join('\n'));
    const told = server.records.find(({ msg }) => msg === 'draining');
    assert.ok(told !== undefined);
    const { flowsLeft, oldestSeconds, deadlineSeconds } = told;
    assert.equal(flowsLeft, 2);
    assert.ok(typeof deadlineSeconds === 'number' && deadlineSeconds <= 1);
    assert.ok(typeof oldestSeconds === 'number' && oldestSeconds >= 4, "by the log's time, which ticks move on");
    const last = server.records.find(({ msg }) => msg === 'left before its flows had ended');
    assert.equal(last?.flowsLeft, 2);
    assert.equal((JSON.parse(server.stdout) as Report).flowsLeft, 2);
    assert.equal(await cluster.member(), undefined);
    assert.equal(await other.end(), 0);
  });

  test('rejoining - a whole group that was killed is waited for, and begins anew when nobody answers', async () => {
    const cluster = newCluster();
    const [server, other] = await cluster.servers([]);
    await cluster.send([1]);
    await server.says(/flow begins/);
    await Promise.all([server.end('SIGKILL'), other.end('SIGKILL')]);
    const atMs = performance.now();
    const [, next] = await cluster.servers(['--drain-seconds', '0']);
    assert.ok(performance.now() - atMs > 9_000, 'somebody might hold state');
    assert.ok(next.messages.includes('a new log: the group begins empty'), next.messages.join('\n'));
    assert.deepEqual((await cluster.view()).members.map(({ server: name }) => name).sort(), ['a', 'other']);
  });
});
