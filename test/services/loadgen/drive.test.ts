// A run from its first packet to its report, under a virtual clock, against a tier 1 and servers that are only as real as
// the messages they send: pacing, what is in the figures, and what happens when somebody fails.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Drive } from '../../../services/loadgen/drive.ts';
import { TrafficGenerator } from '../../../services/loadgen/generator/generator.ts';
import { trafficReport } from '../../../services/loadgen/report.ts';
import { Run } from '../../../services/loadgen/run.ts';
import { trafficInWords } from '../../../services/loadgen/words.ts';
import { type Timer, VirtualClock } from '../../../shared/base/clock.ts';
import { limits } from '../../../shared/base/limits.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import { encodeHello, type HelloState } from '../../../shared/messages/hello.ts';
import { ReceiptRows } from '../../../shared/messages/receipt.ts';
import { readStamp } from '../../../shared/packet/stamp.ts';

const subjects = subjectsOf('c');
const ratePps = 1_000;

interface Packet {
  readonly tier1: string;
  readonly id: number;
  readonly flow: number;
  readonly atMs: number;
}

/** A cluster that answers: servers take each packet by its flow, `delayMs` after it came. */
class FakeCluster {
  readonly clock = new VirtualClock(1_000_000);
  readonly hub = new MemoryHub({ clock: this.clock });
  readonly packets: Packet[] = [];
  delayMs = 5;
  /** Which servers accept a packet; by default the one for its flow. */
  takers: (packet: Packet) => readonly string[] = ({ flow }) => [flow % 2 === 0 ? 'even' : 'odd'];
  readonly #bus = this.hub.connect('cluster');
  readonly #sequences = new Map<string, number>();
  readonly #received = new Map<string, number>();
  readonly #hellos = new Map<string, Timer>();
  readonly #runId: number;

  constructor(runId: number) {
    this.#runId = runId;
  }

  startTier1(name: string): void {
    const frame = new Frame();
    const stamp = { run: 0, id: 0, flow: 0 };
    this.#received.set(name, 0);
    this.#bus.subscribe(subjects.in(name), (message) => {
      if (!this.#hellos.has(name)) return;
      assert.equal(frame.decode(message), 'none');
      let end = 0;
      for (let row = 0; row < frame.count; row++) {
        const start = end;
        end += frame.length(row);
        assert.ok(readStamp(frame.payload, start, end, stamp));
        assert.equal(stamp.run, this.#runId);
        this.#received.set(name, (this.#received.get(name) ?? 0) + 1);
        const packet = { tier1: name, id: stamp.id, flow: stamp.flow, atMs: this.clock.monotonicMs() };
        this.packets.push(packet);
        const takers = this.takers(packet);
        this.clock.setTimer(this.delayMs, () => {
          for (const server of takers) this.answer(server, [packet]);
        });
      }
    });
    const say = () => {
      this.say(name, 'ready');
      this.#hellos.set(name, this.clock.setTimer(limits.helloMs, say));
    };
    say();
  }

  /** Falls silent, as if killed. */
  killTier1(name: string): void {
    this.#hellos.get(name)?.cancel();
    this.#hellos.delete(name);
  }

  say(name: string, state: HelloState): void {
    const sender = `traffic-${this.#runId.toString(16).padStart(8, '0')}`;
    const received = this.#received.get(name) ?? 0;
    const senders = [{ name: sender, received, lostFrames: 0, dropped: {} }];
    const hello = { tier1: name, state, received, faults: 0, dropped: {}, senders };
    this.#bus.publish(subjects.hello(name), encodeHello(hello));
  }

  answer(server: string, packets: readonly Packet[]): void {
    const rows = new ReceiptRows();
    for (const { id, flow } of packets) rows.add(id, flow, 0, this.clock.monotonicMs());
    const sequence = (this.#sequences.get(server) ?? 0) + 1;
    if (sequence === 1) this.#saysNowAndThen(server);
    this.#sequences.set(server, sequence);
    const header = { server, group: 'g1', incarnation: 1, sequence, isLast: false, skippedEntries: 0, flows: 1 };
    const message = rows.finish({ ...header, evicted: 0, expired: 0 }, this.clock.monotonicMs());
    this.#bus.publish(subjects.receipt(this.#runId.toString(16).padStart(8, '0')), message);
  }

  #saysNowAndThen(server: string): void {
    this.clock.setTimer(limits.helloMs, () => {
      this.answer(server, []);
      this.#saysNowAndThen(server);
    });
  }
}

interface Settings {
  readonly concurrency?: number;
  readonly warmUpMs?: number;
  /** Time that passes while the generator makes a packet. */
  readonly packetCostMs?: number;
}

function start({ concurrency, warmUpMs = 0, packetCostMs = 0 }: Settings = {}) {
  const id = 0xabc;
  const cluster = new FakeCluster(id);
  const { clock, hub } = cluster;
  const bus = hub.connect('out');
  const inBus = hub.connect('in');
  const run = new Run({
    id,
    capacity: 65_536,
    graceMs: 3_000,
    publish: (tier1, frame) => bus.publish(subjects.in(tier1), frame),
  });
  inBus.subscribe(subjects.every('hello'), (message) => run.onHello(message, clock.monotonicMs()));
  inBus.subscribe(subjects.receipt(run.name), (message) => {
    run.onReceipt(message, clock.monotonicMs());
    drive.wake();
  });
  const source = new TrafficGenerator({ seed: 1, flows: 20, mix: 'web', ratePps, stamp: { run: id } });
  const next = source.next.bind(source);
  source.next = (buffer, offset) => {
    clock.advance(packetCostMs);
    return next(buffer, offset);
  };
  const stop = new AbortController();
  const turns: number[] = [];
  const drive: Drive = new Drive({
    run,
    source,
    keyOf: () => ({ hi: 0, lo: source.flow, typeOne: true, starts: source.sequence === 0 }),
    bus,
    clock,
    warmUpMs,
    runMs: 1_000,
    stop: stop.signal,
    onTurn: () => turns.push(run.ledger.underWay),
    ...(concurrency === undefined ? {} : { concurrency }),
  });
  const report = async (work: Promise<void>) => {
    let done = false;
    const ended = work.finally(() => (done = true));
    for (let ms = 0; !done && ms < 60_000; ms += 100) await clock.advanceAsync(100);
    await ended;
    return trafficReport(run, drive, {
      bus: 'embedded',
      cluster: 'c',
      seed: 1,
      floodPackets: 0,
      nowMs: clock.monotonicMs(),
    });
  };
  return { cluster, clock, bus, run, drive, stop, turns, report };
}

/** Says of a packet whether it is one of a flow that began before packet 500 and goes on after it; always the same flow. */
function laterPackets(): (packet: Packet) => boolean {
  const begun = new Set<number>();
  let chosen = -1;
  return ({ id, flow }) => {
    if (id < 500) begun.add(flow);
    else if (chosen < 0 && begun.has(flow)) chosen = flow;
    return id >= 500 && flow === chosen;
  };
}

describe('drive', () => {
  it('drive - an open loop sends what is due when it is due, and every packet is accepted once', async () => {
    const { cluster, clock, drive, report } = start();
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    const result = await report(drive.send());
    assert.equal(result.sent, ratePps);
    assert.equal(result.acceptedOnce, ratePps);
    assert.deepEqual(result.problems, []);
    assert.deepEqual([result.double, result.movedFlows, result.lost, result.nobody], [0, 0, 0, {}]);
    assert.ok(Math.abs(result.packetsPerSecond - ratePps) < 0.02 * ratePps, `${result.packetsPerSecond}`);
    // Five milliseconds in the cluster, and a turn of a millisecond or two.
    assert.ok(result.latencyMs.p50 >= 5 && result.latencyMs.p50 < 8, `${result.latencyMs.p50}`);
    const first = cluster.packets[0].atMs;
    for (const { id, atMs } of cluster.packets) {
      const dueMs = (id * 1_000) / ratePps;
      assert.ok(atMs - first >= dueMs - 2 && atMs - first <= dueMs + 4, `packet ${id} at ${atMs - first}`);
    }
    assert.equal(
      result.servers.reduce((sum, { packets }) => sum + packets, 0),
      ratePps,
    );
    assert.deepEqual(
      result.groups.map(({ id, servers, share }) => [id, servers, share]),
      [['g1', 2, 1]],
    );
    assert.match(trafficInWords(result), /every packet was accepted by exactly one server/);
  });

  it('drive - packets of the warm-up are checked like the rest, and not in the figures', async () => {
    const { cluster, clock, drive, report } = start({ warmUpMs: 1_000 });
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    cluster.delayMs = 50;
    clock.setTimer(1_000, () => (cluster.delayMs = 5));
    // An answer too many in the warm-up.
    cluster.takers = ({ id }) => (id === 10 ? ['a', 'b'] : ['a']);
    const result = await report(drive.send());
    assert.equal(result.sent, 2 * ratePps);
    assert.equal(result.double, 1);
    assert.ok(result.seconds <= 1, `${result.seconds}`);
    assert.ok(result.latencyMs.p99 < 30, `${result.latencyMs.p99}`);
    assert.deepEqual(result.problems, ['1 packet was accepted by more than one server']);
  });

  it('drive - a closed loop keeps to its number of packets without a verdict', async () => {
    const { cluster, clock, drive, turns, report } = start({ concurrency: 7 });
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    const result = await report(drive.send());
    assert.equal(Math.max(...turns), 7);
    assert.equal(result.acceptedOnce, result.sent);
    // Each of the seven comes back after five milliseconds, or a little more.
    assert.ok(result.sent > 800 && result.sent <= 7 * 200 + 7, `${result.sent}`);
  });

  it('drive - a bus that takes no more holds the run back, says so, and costs no packet', async () => {
    const { cluster, clock, bus, run, drive, report } = start();
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    let taken = true;
    const publish = bus.publish.bind(bus);
    bus.publish = (subject, data) => taken && publish(subject, data);
    clock.setTimer(200, () => (taken = false));
    clock.setTimer(600, () => (taken = true));
    const result = await report(drive.send());
    assert.equal(result.sent, ratePps);
    assert.equal(result.acceptedOnce, ratePps);
    assert.ok(result.behind.mostMs > 350, `${result.behind.mostMs}`);
    assert.equal(result.behind.packets, 0);
    assert.equal(run.upstream.isStuck, false);
    assert.match(trafficInWords(result), /fell behind its schedule/);
  });

  it('drive - a bus that stays slow: the run ends in time and says how many packets it did not send', async () => {
    const { cluster, clock, bus, drive, report } = start();
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    const publish = bus.publish.bind(bus);
    let taken = true;
    bus.publish = (subject, data) => taken && publish(subject, data);
    clock.setTimer(500, () => (taken = false));
    clock.setTimer(2_500, () => (taken = true));
    const result = await report(drive.send());
    assert.equal(result.acceptedOnce, result.sent);
    assert.ok(result.sent < 0.6 * ratePps);
    assert.ok(Math.abs(result.behind.packets - (ratePps - result.sent)) < 5, `${result.behind.packets}`);
  });

  it('drive - a generator too slow for its rate falls behind, and says so', async () => {
    const { cluster, clock, drive, report } = start({ packetCostMs: 3 });
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    const result = await report(drive.send());
    assert.equal(result.acceptedOnce, result.sent);
    // In two seconds, with one for what is late, at 3 ms a packet.
    assert.ok(result.sent > 500 && result.sent < 0.8 * ratePps, `${result.sent}`);
    assert.ok(Math.abs(result.sent + result.behind.packets - ratePps) < 5, `${result.behind.packets}`);
    assert.ok(result.behind.mostMs > 900, `${result.behind.mostMs}`);
  });

  it('drive - a tier 1 that dies: its packets are lost, its flows go on through the other one', async () => {
    const { cluster, clock, drive, report } = start();
    cluster.startTier1('t1');
    cluster.startTier1('t2');
    await clock.advanceAsync(10);
    const work = drive.send();
    clock.setTimer(300, () => cluster.killTier1('t1'));
    const result = await report(work);
    assert.deepEqual(result.problems, []);
    assert.ok(result.lost > 0);
    assert.equal(result.lost, result.sent - result.acceptedOnce - (result.nobody.midFlow ?? 0));
    assert.deepEqual(
      result.tier1s.map(({ id, state }) => [id, state]),
      [
        ['t1', 'silent'],
        ['t2', 'ready'],
      ],
    );
  });

  it('drive - a tier 1 that leaves in order loses nothing, and a flow does not change its tier 1 before', async () => {
    const { cluster, clock, drive, report } = start();
    cluster.startTier1('t1');
    cluster.startTier1('t2');
    await clock.advanceAsync(10);
    const work = drive.send();
    clock.setTimer(501, () => cluster.say('t1', 'leaving'));
    clock.setTimer(600, () => {
      cluster.killTier1('t1');
      cluster.say('t1', 'ended');
    });
    const result = await report(work);
    assert.deepEqual(result.problems, []);
    assert.equal(result.acceptedOnce, result.sent);
    const ways = new Map<number, string[]>();
    for (const { flow, tier1 } of cluster.packets) {
      const way = ways.get(flow) ?? [];
      if (way.at(-1) !== tier1) ways.set(flow, [...way, tier1]);
    }
    for (const way of ways.values()) assert.match(way.join(), /^(t1|t2|t1,t2)$/);
    assert.ok([...ways.values()].some((way) => way.length === 2));
  });

  it('drive - without any tier 1 the run ends and says so; without any answer likewise', async () => {
    const left = start();
    left.cluster.startTier1('t1');
    await left.clock.advanceAsync(10);
    const work = left.drive.send();
    left.clock.setTimer(100, () => left.cluster.killTier1('t1'));
    const withoutTier1 = await left.report(work);
    assert.match(withoutTier1.problems[0], /no tier 1/);

    const deaf = start({ warmUpMs: 20_000 });
    deaf.cluster.startTier1('t1');
    deaf.cluster.takers = () => [];
    await deaf.clock.advanceAsync(10);
    const withoutAnswer = await deaf.report(deaf.drive.send());
    assert.match(withoutAnswer.problems[0], /--receipts/);
    assert.ok(withoutAnswer.sent < 8 * ratePps, 'it does not wait for the end of the run');
  });

  it('drive - a flow that moves while its server lives fails the run', async () => {
    const { cluster, clock, drive, report } = start();
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    const isLater = laterPackets();
    cluster.takers = (packet) => [isLater(packet) ? 'b' : 'a'];
    const result = await report(drive.send());
    assert.equal(result.movedFlows, 1);
    assert.deepEqual(result.problems, ['1 flow went on at another server although theirs lived']);
    assert.match(trafficInWords(result), /does not add up/);
  });

  it('drive - packets that nobody answers for are unexplained, and fail the run', async () => {
    const { cluster, clock, drive, report } = start();
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    const isLater = laterPackets();
    cluster.takers = (packet) => (isLater(packet) ? [] : ['a']);
    const result = await report(drive.send());
    assert.ok((result.nobody.unexplained ?? 0) > 0);
    assert.equal(result.sent, result.acceptedOnce + (result.nobody.unexplained ?? 0));
    assert.equal(result.problems.length, 1);
  });

  it('drive - an interruption ends the run with the report of what was sent', async () => {
    const { cluster, clock, drive, stop, report } = start();
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    clock.setTimer(300, () => stop.abort());
    const result = await report(drive.send());
    assert.ok(result.sent > 250 && result.sent < 350, `${result.sent}`);
    assert.deepEqual([result.interrupted, result.problems.length, result.acceptedOnce], [true, 0, result.sent]);
  });

  it('drive - garbage on the subjects is counted and changes nothing', async () => {
    const { cluster, clock, run, drive, report } = start();
    cluster.startTier1('t1');
    await clock.advanceAsync(10);
    const bus = cluster.hub.connect('garbage');
    for (const at of [100, 400]) {
      clock.setTimer(at, () => {
        bus.publish(subjects.hello('t1'), Uint8Array.of(1, 2, 3));
        bus.publish(subjects.receipt(run.name), Uint8Array.of(0xc1));
        bus.publish(subjects.receipt(run.name), new Uint8Array(100_000));
      });
    }
    const result = await report(drive.send());
    assert.deepEqual([result.receipts.bad, result.acceptedOnce, result.problems.length], [6, ratePps, 0]);
  });
});
