// What a DSSL actor spends on a packet of its group: from the message to the server's handler, flows that it knows,
// method of Fig. 7. One actor of three, so a third of the packets are its own and two thirds are ignored.

import { pack, unpack } from 'msgpackr';
import counting from '../../services/dssl/egress/counting.ts';
import type { HandlerLog } from '../../services/dssl/egress/handlers/handler.ts';
import { LocalEgress } from '../../services/dssl/egress/local.ts';
import { DsslCore } from '../../services/dssl/old/core.ts';
import { Frame, metaRowBytes } from '../../shared/log/records/frame.ts';
import type { View } from '../../shared/membership/view.ts';
import { encodeFrame } from '../support/encodeFrame.ts';
import { framesOf, startMs, udpPackets } from './packets.ts';
import { type BenchmarkResult, median, spread } from './runner.ts';

const flows = 1_000_000;
const rounds = 9;
const names = ['s1', 's2', 's3'] as const;

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  const columns = columnsFor(flows);
  say('an actor, 1,000,000 flows');
  const { times, own, accepted } = await timeDecide(columns, rounds);
  say('an actor with a Map and string keys');
  const map = timeMapActor(columns, rounds);
  return {
    figures: [
      {
        key: 'decideNsPerPacket',
        value: median(times),
        unit: 'ns',
        target: { atMost: 100 },
        explain: { flows, servers: names.length, ownFlows: own, acceptedPackets: accepted, ...spread(times) },
      },
      { key: 'decideMapNsPerPacket', value: median(map), unit: 'ns', explain: { flows, ...spread(map) } },
    ],
  };
}

/** What a round's packets are: frames as columns, so that each round can have its own sequences and time. */
export interface Columns {
  readonly count: number;
  readonly meta: Uint8Array;
  readonly payload: Uint8Array;
}

/** The columns of the frames that carry one packet of each of `flows` flows. */
export function columnsFor(flows: number): Columns[] {
  return framesOf(udpPackets(flows), 'bench').frames.map((message) => {
    const frame = new Frame();
    frame.decode(message);
    const { buffer, byteOffset, byteLength } = frame.meta;
    return { count: frame.count, meta: new Uint8Array(buffer, byteOffset, byteLength), payload: frame.payload };
  });
}

/**
 * Nanoseconds a packet, one value a round, and what the actor then knew. A frame is encoded just before it is handed
 * over, as one that came from a socket has just been written to memory; only the actor's part is timed.
 */
export async function timeDecide(columns: readonly Columns[], rounds: number) {
  const { core, egress } = await benchActor();
  const packets = columns.reduce((sum, { count }) => sum + count, 0);
  const header = { tier1Id: 'bench', viewNumber: 1, mapVersion: 1, startOrdinal: 0 };
  const times: number[] = [];
  let sequence = 0;
  // The first round opens the flows, the second one confirms them.
  for (let round = -2; round < rounds; round++) {
    const timestampMs = startMs + (round + 2) * 100;
    let spentMs = 0;
    for (const { count, meta, payload } of columns) {
      const message = encodeFrame({ ...header, sequence: ++sequence, timestampMs }, count, meta, payload);
      const before = performance.now();
      core.onFrame(message, timestampMs);
      spentMs += performance.now() - before;
    }
    if (round >= 0) times.push((spentMs * 1e6) / packets);
  }
  const known = core.verdicts.acceptKnown + core.verdicts.ignoreElsewhere;
  if (known !== packets * (rounds + 1))
    throw new Error(`${known} packets of known flows, not ${packets * (rounds + 1)}`);
  return { times, own: core.ownFlows, accepted: egress.stats.packets };
}

/** The core of one actor in a group of three, with the counting handler behind it. */
async function benchActor() {
  const egress = await countingEgress();
  const core = new DsslCore(
    { group: 'g1', candidate: { server: 's1', incarnation: 1, weight: 100 }, maxFlows: 2_000_000 },
    { egress, publishControl: () => undefined, fetchViews: () => undefined, propose: () => undefined },
  );
  const view: View = {
    group: 'g1',
    cluster: 'bench',
    number: 1,
    placement: 'rendezvous',
    seed: 1,
    rules: { typeOneMethod: 'fig-7', tableFirst: false, midFlow: 'ignore' },
    members: names.map((server) => ({ server, incarnation: 1, state: 'active', weight: 100, base: 100, flows: 0 })),
  };
  core.onView(view, startMs);
  return { core, egress };
}

/** The cheapest server there is. */
export async function countingEgress(): Promise<LocalEgress> {
  const log: HandlerLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const handler = await counting({ server: 's1', group: 'g1', log, options: {} });
  return new LocalEgress({ handler, log, nowMs: () => performance.now() });
}

interface MapFlow {
  owner: number;
  lastSeen: number;
  state: string;
}

/** The same work as one would write it at first: a Map from the hash as a string to an object for each flow. */
function timeMapActor(columns: readonly Columns[], rounds: number): number[] {
  const flowsByKey = new Map<string, MapFlow>();
  let accepted = 0;
  const handle = (message: Uint8Array) => {
    const [, timestampMs, count, meta, payload] = unpack(message);
    const rows = new DataView(meta.buffer, meta.byteOffset, meta.length);
    const mine: Uint8Array[] = [];
    let offset = 0;
    for (let row = 0; row < count; row++) {
      const at = row * metaRowBytes;
      const hi = rows.getUint32(at, true);
      const lo = rows.getUint32(at + 4, true);
      const length = rows.getUint16(at + 8, true);
      const key = `${hi.toString(16)}${lo.toString(16).padStart(8, '0')}`;
      let flow = flowsByKey.get(key);
      if (flow === undefined) {
        flow = { owner: lo % names.length, lastSeen: timestampMs, state: 'unconfirmed' };
        flowsByKey.set(key, flow);
      } else {
        flow.lastSeen = timestampMs;
        flow.state = 'established';
      }
      if (flow.owner === 0) mine.push(payload.subarray(offset, offset + length));
      offset += length;
    }
    for (const packet of mine) accepted += packet.length;
  };
  const times: number[] = [];
  for (let round = -2; round < rounds; round++) {
    let spentMs = 0;
    for (const { count, meta, payload } of columns) {
      const message = pack(['bench', startMs + (round + 2) * 100, count, meta, payload]);
      const before = performance.now();
      handle(message);
      spentMs += performance.now() - before;
    }
    if (round >= 0) times.push((spentMs * 1e6) / flows);
  }
  if (accepted === 0) throw new Error('nothing was accepted');
  return times;
}
