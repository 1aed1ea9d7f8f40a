// Servers as processes that their group removes although they live, or drains although nobody signalled them, at a real NATS
// server. The views are changed as another member or an operator would change them, and frames come from a hand-made tier 1.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Bus, KeyValue } from '../../../shared/bus/bus.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { changeView, readViews } from '../../../shared/config/store.ts';
import { FrameBuilder } from '../../../shared/log/records/frame.ts';
import { drain, leave } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import { udp } from '../../support/group.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';

const telling = fileURLToPath(new URL('../../support/tellingHandler.ts', import.meta.url));

interface Report {
  readonly lives: number;
  readonly packets: number;
  readonly flows: number;
  readonly flowsLeft: number;
  readonly flowsMoved: number;
  readonly verdicts: { readonly acceptNew: number };
  readonly frames: { readonly frames: number };
}

/** A cluster with one group, a tier 1 made by hand, and somebody who changes its views. */
class Cluster {
  readonly #bus: Bus;
  readonly #name: string;
  readonly #url: string;
  #store: KeyValue | undefined;
  #sequence = 0;

  constructor(bus: Bus, url: string, name: string) {
    this.#bus = bus;
    this.#url = url;
    this.#name = name;
  }

  async active(args: readonly string[]): Promise<Service> {
    const common = ['dssl', '--bus', this.#url, '--cluster', this.#name, '--groups', '1', '--json'];
    const service = new Service([...common, '--handler', telling, '--handler-option', 'flows=yes', ...args]);
    await service.says(/server is active/);
    return service;
  }

  async view(): Promise<View> {
    const view = (await readViews(await this.#views(), ['g1'])).get('g1');
    assert.ok(view !== undefined);
    return view;
  }

  /** Takes a step from the newest view, for its only member. */
  async change(step: (view: View, member: Member) => View): Promise<void> {
    await changeView(await this.#views(), 'g1', (view) => view && step(view, view.members[0]));
  }

  /** One packet of each of these flows, by the view with this number. */
  async send(viewNumber: number, flows: readonly number[]): Promise<void> {
    const builder = new FrameBuilder();
    for (const flow of flows) builder.add(Uint8Array.of(flow), 0, 1, 0, flow, udp);
    const header = { tier1Id: 't1', sequence: ++this.#sequence, viewNumber, mapVersion: 1, startOrdinal: 0 };
    const frame = builder.finish({ ...header, timestampMs: Date.now() });
    this.#bus.publish(subjectsOf(this.#name).data('g1'), Uint8Array.from(frame));
    await this.#bus.flush();
  }

  async #views(): Promise<KeyValue> {
    this.#store ??= await this.#bus.openKeyValue(subjectsOf(this.#name).bucket);
    return this.#store;
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
    const server = await cluster.active(['--server', 'a', '--drain-seconds', '0']);
    const first = await cluster.view();
    await cluster.send(first.number, [1, 2, 3]);
    await server.says(/flow begins/, 3);
    await cluster.change(leave);
    await server.says(/removed from its group: rejoins as a new life/);
    // Packets that were stamped before the tier 1 knew are still its own.
    await cluster.send(first.number, [3, 4]);
    await server.says(/flow begins/, 4);
    await cluster.send(first.number + 1, []);
    await server.says(/server is active/, 2);
    assert.equal(times(server, /^flow ends: moved$/), 4);
    const events = server.messages.filter((message) => /^flow ends|^handler/.test(message));
    assert.deepEqual(events.slice(-2), ['handler stopped', 'handler started for g1'], 'told of all before it stopped');
    const again = await cluster.view();
    assert.deepEqual([again.members.length, again.members[0].server], [1, 'a']);
    assert.notEqual(again.members[0].incarnation, first.members[0].incarnation);
    await cluster.send(again.number, [1, 5]);
    await server.says(/flow begins/, 6);
    assert.equal(await server.end(), 0, server.messages.join('\n'));
    const report = JSON.parse(server.stdout) as Report;
    assert.deepEqual(
      [report.lives, report.packets, report.flows, report.flowsMoved, report.flowsLeft],
      [2, 7, 6, 4, 2],
    );
    assert.deepEqual([report.verdicts.acceptNew, report.frames.frames], [6, 4]);
    assert.deepEqual((await cluster.view()).members, []);
  });

  test('rejoining - a signal while it is no member ends it at once', async () => {
    const cluster = newCluster();
    const server = await cluster.active(['--server', 'a']);
    await cluster.change(leave);
    await server.says(/waits before it rejoins/);
    assert.equal(await server.end(), 0);
    assert.ok(server.messages.includes('ended while it was no member'), server.messages.join('\n'));
    assert.equal((JSON.parse(server.stdout) as Report).lives, 1);
    assert.deepEqual((await cluster.view()).members, []);
  });

  test('rejoining - removed again and again, it waits longer each time', async () => {
    const cluster = newCluster();
    const server = await cluster.active(['--server', 'a', '--drain-seconds', '0']);
    for (let lives = 2; lives <= 3; lives++) {
      await cluster.change(leave);
      await server.says(/server is active/, lives);
    }
    assert.equal(await server.end(), 0);
    const pauses = server.records.filter(({ msg }) => msg === 'waits before it rejoins').map(({ pauseMs }) => pauseMs);
    assert.deepEqual(pauses, [1_000, 2_000]);
    assert.equal((JSON.parse(server.stdout) as Report).lives, 3);
  });

  test('rejoining - a server that its view drains leaves as on a signal, and says how far it has come', async () => {
    const cluster = newCluster();
    const server = await cluster.active(['--server', 'a', '--drain-seconds', '6']);
    const { number } = await cluster.view();
    await cluster.send(number, [1, 2]);
    await server.says(/flow begins/, 2);
    await cluster.change((view, { server, incarnation, weight }) => drain(view, { server, incarnation, weight }));
    await server.says(/draining: its view says so/);
    assert.equal(await server.ended(), 0, server.messages.join('\n'));
    const told = server.records.find(({ msg }) => msg === 'draining');
    assert.ok(told !== undefined);
    const { flowsLeft, oldestSeconds, deadlineSeconds } = told;
    assert.equal(flowsLeft, 2);
    assert.ok(typeof deadlineSeconds === 'number' && deadlineSeconds <= 1);
    assert.ok(typeof oldestSeconds === 'number' && oldestSeconds < 5, 'by packet time, which stands still');
    const last = server.records.find(({ msg }) => msg === 'left before its flows had ended');
    assert.equal(last?.flowsLeft, 2);
    assert.equal((JSON.parse(server.stdout) as Report).flowsLeft, 2);
    assert.deepEqual((await cluster.view()).members, []);
  });
});
