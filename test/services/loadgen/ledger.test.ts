// The ledger: whatever is sent and answered in whatever order, every packet ends in exactly one place, and it is the right
// one. A model that keeps everything in plain objects says which.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { PacketKey } from '../../../services/loadgen/flowBook.ts';
import { Answer, Ledger } from '../../../services/loadgen/ledger.ts';
import { receiptVerdicts } from '../../../shared/messages/receipt.ts';

const graceMs = 100;
const fullVerdict = receiptVerdicts.indexOf('tableFull');

function start({ capacity = 64, firstId = 0 } = {}) {
  const moves: string[] = [];
  const onMove = (from: number, to: number, _nowMs: number, _gapMs: number | undefined, isAgain: boolean) =>
    moves.push(`${from}>${to}${isAgain ? ' again' : ''}`);
  const ledger = new Ledger({ capacity, graceMs, onMove });
  const send = (flow: number, nowMs: number, { first = false, last = false, typeOne = true, tier1 = 0 } = {}) => {
    const row = ledger.flows.sends(flow, nowMs, false, keyOf(flow, typeOne));
    const id = ledger.add(row, tier1, first, last);
    ledger.handedOver(id, nowMs);
    return id;
  };
  for (let id = 0; id < firstId; id++) {
    send(1_000_000, 0);
    ledger.accept(id, 1_000_000, 9, 0);
    ledger.settle(graceMs);
  }
  return { ledger, moves, send };
}

const keyOf =
  (flow: number, typeOne = true) =>
  (): PacketKey => ({ hi: 0, lo: flow, typeOne, starts: true });

function sumOf(ledger: Ledger): number {
  let sum = ledger.acceptedOnce + ledger.repeats + ledger.double + ledger.midFlow + ledger.expired;
  for (const packets of ledger.refused) sum += packets;
  for (const servers of ledger.unknown.values()) for (const packets of servers.values()) sum += packets;
  return sum;
}

type Step =
  | { readonly kind: 'send'; readonly flow: number; readonly last: boolean }
  | { readonly kind: 'accept'; readonly back: number; readonly server: number }
  | { readonly kind: 'refuse'; readonly back: number }
  | { readonly kind: 'wait'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('send' as const), flow: fc.nat(4), last: fc.boolean() }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('accept' as const),
      back: fc.nat(12),
      server: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('refuse' as const), back: fc.nat(12) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(70) }) },
);

interface ModelPacket {
  readonly flow: string;
  readonly isFirst: boolean;
  readonly atMs: number;
  readonly servers: number[];
  refused: boolean;
  settled: boolean;
}

/** What became of each packet, as the words say it. */
function outcomeOf(packet: ModelPacket, before: readonly ModelPacket[]): string {
  const { servers } = packet;
  if (new Set(servers).size > 1) return 'double';
  if (servers.length > 1) return 'repeat';
  if (servers.length === 1) return 'once';
  if (packet.refused) return 'refused';
  const flow = before.filter((each) => each.flow === packet.flow);
  if (!packet.isFirst && flow[0].servers.length === 0 && flow.every((each) => each.servers.length === 0))
    return 'midFlow';
  return 'unknown';
}

describe('ledger', () => {
  it('ledger - agrees with a model that keeps everything, and adds up at every moment', () => {
    const property = fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const { ledger, send } = start();
      const packets: ModelPacket[] = [];
      /** A flow number is used again for another flow once its last packet was sent. */
      const lives = new Map<number, number>();
      let nowMs = 0;
      let late = 0;
      for (const one of steps) {
        if (one.kind === 'send') {
          const life = lives.get(one.flow) ?? 0;
          const flow = `${one.flow}/${life}`;
          const isFirst = !packets.some((packet) => packet.flow === flow);
          send(one.flow + 100 * life, nowMs, { first: isFirst, last: one.last });
          if (one.last) lives.set(one.flow, life + 1);
          packets.push({ flow, isFirst, atMs: nowMs, servers: [], refused: false, settled: false });
        } else if (one.kind === 'wait') {
          nowMs += one.ms;
          ledger.settle(nowMs);
          for (const packet of packets) packet.settled ||= nowMs - packet.atMs >= graceMs;
        } else {
          const id = packets.length - 1 - one.back;
          const packet = packets[id];
          if (packet === undefined) continue;
          const [number, life] = packet.flow.split('/').map(Number);
          const flow = number + 100 * life;
          if (one.kind === 'refuse') ledger.refuse(id, flow, fullVerdict);
          else ledger.accept(id, flow, one.server, nowMs);
          if (packet.settled) late++;
          else if (one.kind === 'refuse') packet.refused ||= packet.servers.length === 0;
          else packet.servers.push(one.server);
        }
        assert.equal(sumOf(ledger), ledger.settled);
      }
      assert.equal(ledger.late, late);
      assert.equal(
        ledger.underWay,
        packets.filter(({ settled, servers, refused }) => !settled && servers.length === 0 && !refused).length,
      );
      ledger.settleAll();
      const expected = { once: 0, repeat: 0, double: 0, refused: 0, midFlow: 0, unknown: 0 } as Record<string, number>;
      for (const [id, packet] of packets.entries()) expected[outcomeOf(packet, packets.slice(0, id + 1))]++;
      const { acceptedOnce, repeats, double, midFlow } = ledger;
      const unknown = [...ledger.unknown.values()].flatMap((servers) => [...servers.values()]);
      assert.deepEqual(
        {
          once: acceptedOnce,
          repeat: repeats,
          double,
          refused: ledger.refused[fullVerdict],
          unknown: unknown.reduce((sum, each) => sum + each, 0) + midFlow,
        },
        {
          once: expected.once,
          repeat: expected.repeat,
          double: expected.double,
          refused: expected.refused,
          unknown: expected.unknown + expected.midFlow,
        },
      );
      assert.equal(ledger.underWay, 0);
      assert.equal(sumOf(ledger), packets.length);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('ledger - a second receipt is noticed as long as the grace runs, of the same server or of another', () => {
    const { ledger, send } = start();
    const [a, b, c] = [send(1, 0, { first: true }), send(1, 0), send(1, 0)];
    for (const id of [a, b, c]) assert.equal(ledger.accept(id, 1, 5, 1), Answer.once);
    assert.equal(ledger.accept(a, 1, 5, 99), Answer.repeat);
    assert.equal(ledger.accept(b, 1, 6, 99), Answer.double);
    assert.equal(ledger.accept(b, 1, 5, 99), Answer.double, 'it stays double');
    ledger.settle(100);
    assert.equal(ledger.accept(c, 1, 6, 101), Answer.late);
    assert.deepEqual([ledger.acceptedOnce, ledger.repeats, ledger.double, ledger.late], [1, 1, 1, 1]);
  });

  it('ledger - packets in mid-flow of a flow that no server has are told from those of one that somebody has', () => {
    const { ledger, send } = start();
    send(1, 0, { first: true });
    send(1, 0);
    ledger.accept(send(2, 0, { first: true }), 2, 5, 0);
    send(2, 0);
    send(3, 0, { first: true, typeOne: false });
    send(3, 0, { typeOne: false });
    ledger.settleAll();
    assert.equal(ledger.midFlow, 1);
    assert.deepEqual(
      [...(ledger.unknown.get(0) ?? [])],
      [
        [0, 3],
        [5, 1],
      ],
    );
    assert.deepEqual(
      [...ledger.missingFlows],
      [
        [0, 2],
        [5, 1],
      ],
    );
  });

  it('ledger - a flow adopted in mid-flow is somebody’s', () => {
    const { ledger, send } = start();
    send(1, 0, { first: true });
    ledger.accept(send(1, 0), 1, 5, 0);
    send(1, 0);
    ledger.settleAll();
    assert.equal(ledger.midFlow, 0);
    assert.deepEqual(
      [...(ledger.unknown.get(0) ?? [])],
      [
        [0, 1],
        [5, 1],
      ],
    );
  });

  it('ledger - a packet that nobody got was missed by who had its flow then, not by who has it now', () => {
    const { ledger, send } = start();
    // Placed at a server that is dead, until another one takes it up.
    send(1, 0, { first: true, typeOne: false });
    const adopted = send(1, 1, { typeOne: false });
    // Begun at server 1, which dies, and taken up by server 2, which then misses one.
    const begun = send(2, 2, { first: true, typeOne: false });
    send(2, 3, { typeOne: false });
    const goneOn = send(2, 4, { typeOne: false });
    send(2, 5, { typeOne: false });
    ledger.accept(adopted, 1, 2, 6);
    ledger.accept(begun, 2, 1, 6);
    ledger.accept(goneOn, 2, 2, 6);
    ledger.settle(5 + graceMs);
    assert.deepEqual(Object.fromEntries(ledger.unknown.get(0) ?? []), { 0: 1, 1: 1, 2: 1 });
  });

  it('ledger - a flow that goes on elsewhere is told, in the order of its packets and not of its receipts', () => {
    const { ledger, moves, send } = start();
    const ids = Array.from({ length: 6 }, (_, index) => send(1, 0, { first: index === 0 }));
    ledger.accept(ids[0], 1, 5, 0);
    ledger.accept(ids[3], 1, 6, 0);
    ledger.accept(ids[2], 1, 5, 0);
    ledger.accept(ids[4], 1, 6, 0);
    ledger.accept(ids[1], 1, 5, 0);
    assert.deepEqual(moves, ['5>6']);
    ledger.accept(ids[5], 1, 7, 0);
    assert.deepEqual(moves, ['5>6', '6>7 again']);
    assert.deepEqual([ledger.flowsOf[5], ledger.flowsOf[6], ledger.packetsOf[5]], [1, 0, 3]);
  });

  it('ledger - a move is seen also when the later packets are answered first', () => {
    const { ledger, moves, send } = start();
    const ids = [send(1, 0, { first: true }), send(1, 0)];
    ledger.accept(ids[1], 1, 6, 0);
    ledger.accept(ids[0], 1, 5, 0);
    assert.deepEqual(moves, ['5>6']);
  });

  it('ledger - packets that are flows of their own go where they like: none has moved', () => {
    const { ledger, moves } = start();
    for (const server of [5, 6, 5]) {
      const row = ledger.flows.sends(1, 0, false, () => ({
        hi: 0,
        lo: 1,
        typeOne: false,
        starts: true,
        isSingle: true,
      }));
      const id = ledger.add(row, 0, false, false);
      ledger.handedOver(id, 0);
      assert.equal(ledger.accept(id, 1, server, 0), Answer.once);
    }
    ledger.settleAll();
    assert.deepEqual([moves, ledger.acceptedOnce], [[], 3]);
  });

  it('ledger - after a long silence any server may have the flow, or none', () => {
    const { ledger, moves, send } = start();
    ledger.accept(send(1, 0, { first: true }), 1, 5, 0);
    ledger.settle(1_000);
    ledger.accept(send(1, 40_000), 1, 6, 40_000);
    ledger.settle(50_000);
    send(1, 90_000);
    ledger.settleAll();
    assert.deepEqual(moves, []);
    assert.equal(ledger.expired, 1);
  });

  it('ledger - what makes no sense is counted and changes nothing', () => {
    const { ledger, send } = start();
    const id = send(1, 0, { first: true });
    assert.equal(ledger.accept(id + 1, 1, 5, 0), Answer.strange, 'not sent yet');
    assert.equal(ledger.accept(0xffff_ffff, 1, 5, 0), Answer.strange);
    assert.equal(ledger.accept(id, 2, 5, 0), Answer.strange, 'another flow');
    assert.equal(ledger.refuse(id, 2, fullVerdict), Answer.strange);
    const unsent = ledger.add(ledger.flows.sends(1, 0, false, keyOf(1)), 0, false, false);
    assert.equal(ledger.accept(unsent, 1, 5, 0), Answer.strange, 'not handed over yet');
    assert.deepEqual([ledger.strange, ledger.underWay], [5, 2]);
  });

  it('ledger - refused by one actor and accepted by another one is accepted', () => {
    const { ledger, send } = start();
    const id = send(1, 0, { first: true });
    ledger.refuse(id, 1, fullVerdict);
    assert.equal(ledger.underWay, 0);
    assert.equal(ledger.accept(id, 1, 5, 0), Answer.once);
    ledger.refuse(id, 1, fullVerdict);
    ledger.settleAll();
    assert.deepEqual([ledger.acceptedOnce, ledger.refused[fullVerdict]], [1, 0]);
  });

  it('ledger - the ring holds what it says, and no more than that may be sent', () => {
    const { ledger, send } = start({ capacity: 4, firstId: 7 });
    for (let sent = 0; sent < 4; sent++) {
      assert.ok(ledger.hasRoom);
      send(1, 1_000);
    }
    assert.equal(ledger.hasRoom, false);
    ledger.settle(1_000 + graceMs - 1);
    assert.equal(ledger.hasRoom, false);
    ledger.settle(1_000 + graceMs);
    assert.ok(ledger.hasRoom);
  });

  it('ledger - the grace begins anew when a broken connection is mended', () => {
    const { ledger, send } = start();
    send(1, 0);
    ledger.settle(500, 450);
    assert.equal(ledger.settled, 0);
    ledger.settle(550, 450);
    assert.equal(ledger.settled, 1);
  });

  it('ledger - directions that are two flows to the cluster may have two servers; the answers to a start begin in mid-flow', () => {
    const { ledger, moves } = start();
    const send = (isReply: boolean, lo: number, starts: boolean) => {
      const row = ledger.flows.sends(1, 0, isReply, () => ({ hi: 0, lo, typeOne: true, starts }));
      const id = ledger.add(row, 0, ledger.flows.isFirst, false);
      ledger.handedOver(id, 0);
      return id;
    };
    ledger.accept(send(false, 7, true), 1, 5, 0);
    const answers = [send(true, 8, false), send(true, 8, false)];
    ledger.accept(send(false, 7, false), 1, 5, 0);
    ledger.accept(answers[1], 1, 6, 0);
    assert.deepEqual(moves, []);
    assert.equal(ledger.flows.begun, 1);
    send(true, 8, false);
    ledger.settle(graceMs);
    assert.deepEqual([ledger.acceptedOnce, ledger.midFlow], [3, 0], 'somebody has adopted the answers');

    const other = start();
    const sendTo = (isReply: boolean, starts: boolean, isLast = false) => {
      const key = () => ({ hi: 0, lo: isReply ? 8 : 7, typeOne: true, starts });
      const row = other.ledger.flows.sends(1, 0, isReply, key);
      const id = other.ledger.add(row, 0, other.ledger.flows.isFirst, isLast);
      other.ledger.handedOver(id, 0);
      return id;
    };
    other.ledger.accept(sendTo(false, true), 1, 5, 0);
    sendTo(true, false);
    sendTo(true, false, true);
    other.ledger.settle(graceMs);
    assert.deepEqual([other.ledger.acceptedOnce, other.ledger.midFlow, other.ledger.flows.size], [1, 2, 0]);
    assert.deepEqual([...other.ledger.unknown], []);
  });

  it('ledger - memory is bounded by the flows that are open, however many there were', () => {
    const { ledger, send } = start({ capacity: 256 });
    for (let flow = 0; flow < 20_000; flow++) {
      send(flow, flow, { first: true });
      send(flow, flow, { last: true });
      ledger.settle(flow);
    }
    assert.equal(ledger.flows.begun, 20_000);
    assert.ok(ledger.flows.size <= graceMs + 1, `${ledger.flows.size} rows`);
    assert.ok(ledger.flows.number.length <= 1_024);
  });

  it('ledger - flows beyond the first rows: what is known of the others stays', () => {
    const { ledger, moves, send } = start({ capacity: 8_192 });
    const { flows } = ledger;
    const nowMs = 1_000_000;
    for (let sent = 0; sent < 5; sent++) ledger.accept(send(0, nowMs, { first: sent === 0 }), 0, 4, nowMs);
    const row = flows.sends(0, nowMs, false, keyOf(0));
    const columns = Object.entries(flows).filter(([, column]) => ArrayBuffer.isView(column)) as [string, Uint8Array][];
    assert.equal(columns.length, 12);
    flows.former[row] = 3;
    flows.via[row] = 2;
    flows.missing[row] = 1;
    const before = columns.map(([name, column]) => [name, column[row]]);
    for (let flow = 1; flow < 3_000; flow++) send(flow, nowMs, { first: true });
    const after = Object.entries(flows).filter(([, column]) => ArrayBuffer.isView(column)) as [string, Uint8Array][];
    assert.deepEqual(
      after.map(([name, column]) => [name, column[row]]),
      before,
    );
    for (const [name, column] of after) assert.ok(column.length >= 3_000, name);
    ledger.accept(send(2_999, nowMs), 2_999, 4, nowMs);
    ledger.accept(send(2_999, nowMs + 40_000), 2_999, 9, nowMs + 40_000);
    assert.deepEqual(moves, [], 'two packets and a long silence');
    // This one is neither taken for one that was silent, nor for one in its handshake.
    ledger.accept(send(0, nowMs + 40_000), 0, 9, nowMs + 40_000);
    assert.deepEqual(moves, ['4>9']);
  });
});
