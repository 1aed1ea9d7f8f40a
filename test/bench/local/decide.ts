// What a DSSL actor spends on a packet of its group, flows that it knows, method of Fig. 7: the replica applies the frame, and
// then hands the accepted packets to a server that only counts them. One actor of three, so a third of the packets are its own
// and two thirds are ignored.

import { pack, unpack } from 'msgpackr';
import counting from '../../../services/dssl/egress/counting.ts';
import type { HandlerLog } from '../../../services/dssl/egress/handlers/handler.ts';
import { LocalEgress } from '../../../services/dssl/egress/local.ts';
import { handOut } from '../../../services/dssl/handOut.ts';
import { Replica } from '../../../services/dssl/replica/replica.ts';
import { V } from '../../../services/dssl/replica/verdict.ts';
import type { EntryKind } from '../../../shared/log/log.ts';
import { type Command, encodeCommand } from '../../../shared/log/records/command.ts';
import { Frame, metaRowBytes } from '../../../shared/log/records/frame.ts';
import type { GroupRules } from '../../../shared/membership/view.ts';
import { encodeFrame } from '../../support/encodeFrame.ts';
import { benchBirth, benchGroup, framesOf, startMs, udpPackets } from '../packets.ts';
import { type BenchmarkResult, median, rounded, spread } from '../runner.ts';

const flows = 1_000_000;
const fewFlows = 100_000;
const rounds = 9;
const names = ['s1', 's2', 's3'] as const;

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  say('a replica, 100,000 flows');
  const few = await timeDecide(columnsFor(fewFlows), rounds);
  say('a replica, 1,000,000 flows');
  const columns = columnsFor(flows);
  const many = await timeDecide(columns, rounds);
  say('an actor with a Map and string keys');
  const map = timeMapActor(columns, rounds);
  return {
    figures: [
      {
        key: 'decideNsPerPacket',
        value: median(many.applyNs),
        unit: 'ns',
        target: { atMost: 90 },
        explain: {
          about: 'a replica applies frames: a packet',
          flows,
          servers: names.length,
          ownFlows: many.own,
          acceptedPackets: many.accepted,
          ...spread(many.applyNs),
          // A frame is seldom interrupted, a round always.
          ofMedianFrame: rounded(many.medianFrameNs),
          with100kFlows: { median: rounded(median(few.applyNs)), ofMedianFrame: rounded(few.medianFrameNs) },
        },
      },
      {
        key: 'handOutNsPerPacket',
        value: median(many.handOutNs),
        unit: 'ns',
        explain: {
          about: 'and what is accepted goes to a server that counts it: a packet of the group',
          flows,
          ...spread(many.handOutNs),
          with100kFlows: rounded(median(few.handOutNs)),
        },
      },
      { key: 'decideMapNsPerPacket', value: median(map), unit: 'ns', explain: { flows, ...spread(map) } },
    ],
  };
}

/** What a round's packets are: frames as columns, so that each round can have its own numbers and time. */
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
 * Nanoseconds a packet, one value a round, and what the replica then knew. A frame is encoded just before it is applied, as one
 * that came from a socket has just been written to memory; only the actor's part is timed.
 */
export async function timeDecide(
  columns: readonly Columns[],
  rounds: number,
  availability: GroupRules['availability'] = 'none',
  stepMs = 100,
) {
  const replica = new Replica({ group: benchGroup, self: { server: names[0], incarnation: 1 } });
  const egress = await countingEgress();
  let position = 0;
  const entryOf = (kind: EntryKind, timeMs: number, data: Uint8Array) => ({
    position: ++position,
    timeMs,
    timeNs: 0,
    kind,
    data,
  });
  for (const command of founding(2 * columns.length * (columns[0]?.count ?? 0), availability)) {
    const { outcome } = replica.apply(entryOf('command', startMs, encodeCommand(command)));
    if (outcome !== 'command') throw new Error(`the replica did not carry out ${command.kind}`);
  }
  const packets = columns.reduce((sum, { count }) => sum + count, 0);
  const applyNs: number[] = [];
  const handOutNs: number[] = [];
  const frameNs: number[] = [];
  let number = 0;
  // The first round opens the flows, the second one confirms them.
  for (let round = -2; round < rounds; round++) {
    const timestampMs = startMs + (round + 2) * stepMs;
    let applyMs = 0;
    let handOutMs = 0;
    for (const { count, meta, payload } of columns) {
      const header = { tier1Id: 'bench', number: ++number, follows: number - 1, mapVersion: 1, timestampMs };
      const entry = entryOf('frame', timestampMs, encodeFrame(header, count, meta, payload));
      const startedMs = performance.now();
      const effects = replica.apply(entry);
      const appliedMs = performance.now();
      handOut(effects, egress);
      handOutMs += performance.now() - appliedMs;
      applyMs += appliedMs - startedMs;
      if (round >= 0) frameNs.push((1e6 * (appliedMs - startedMs)) / count);
    }
    if (round < 0) continue;
    applyNs.push((applyMs * 1e6) / packets);
    handOutNs.push((handOutMs * 1e6) / packets);
  }
  const known = replica.counts[V.acceptKnown] + replica.counts[V.ignoreElsewhere];
  if (known !== packets * (rounds + 1))
    throw new Error(`${known} packets of known flows, not ${packets * (rounds + 1)}`);
  const bytesPerFlow = replica.table.capacityBytes / replica.table.size;
  const { ownFlows: own } = replica;
  return { applyNs, handOutNs, medianFrameNs: median(frameNs), own, accepted: egress.stats.packets, bytesPerFlow };
}

/** The commands by which the three servers become a group. */
function founding(maxFlows: number, availability: GroupRules['availability']): Command[] {
  const epoch = 'bench';
  const lives = names.map((server) => ({ server, incarnation: 1 }));
  const usual = benchBirth(maxFlows);
  const birth = { ...usual, rules: { ...usual.rules, availability } };
  return [
    {
      kind: 'epoch',
      author: lives[0],
      epoch: '',
      id: epoch,
      number: 1,
      previous: '',
      since: 0,
      donor: undefined,
      birth,
    },
    ...lives.flatMap((author): Command[] => [
      { kind: 'join', author, epoch, weight: 100, replaces: undefined, needAt: undefined },
      { kind: 'activate', author, epoch },
    ]),
  ];
}

/** The cheapest server there is. */
export async function countingEgress(): Promise<LocalEgress> {
  const log: HandlerLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const handler = await counting({ server: 's1', group: 'g1', log, tunnels: false, options: {} });
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
