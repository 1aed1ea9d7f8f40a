// An egress with a UDP backend for tests: accepted packets by hand, time by hand, answers as a tier 1 would read them, and what
// it says.

import assert from 'node:assert/strict';
import { UdpEgress, type UdpEgressOptions } from '../../services/dssl/egress/udp.ts';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import { parseUdpUrl, resolveUdp } from '../../shared/base/udpAddress.ts';
import { MemoryHub } from '../../shared/bus/memory.ts';
import { subjectsOf } from '../../shared/bus/subjects.ts';
import { FlowKeyer } from '../../shared/flow/keyer.ts';
import { Answers } from '../../shared/messages/answers.ts';
import { formatAddress } from '../../shared/packet/addressText.ts';
import { buildPacket, type PacketSpec } from '../../shared/packet/encode/build.ts';
import { Waiter } from './busInbox.ts';

interface Answered {
  readonly tier1: string;
  readonly client: string;
  readonly vip: string;
  readonly text: string;
}

interface Report {
  readonly forwarded: number;
  readonly dropped: Record<string, number>;
  readonly unreachable: number;
  readonly answers: number;
  readonly answersSent: number;
  readonly answersDropped: Record<string, number>;
  readonly answersFromOtherPorts: number;
  readonly sockets: { open: number; over: number; opened: number; evicted: number; failed: number };
}

/** Client `n` has the port 10,000 + n. */
export async function udpEgress(backend: string, options: Partial<UdpEgressOptions> = {}) {
  const hub = new MemoryHub();
  const subjects = subjectsOf('c');
  const time = { ms: 0 };
  const clock: Clock = { ...systemClock, monotonicMs: () => time.ms };
  const warnings: string[] = [];
  const log = { info: () => undefined, error: () => undefined, warn: (line: string) => void warnings.push(line) };
  const answered = new Waiter<Answered>();
  const answers = new Answers();
  hub.connect().subscribe(subjects.every('return'), (message, subject) => {
    assert.equal(answers.decode(message), 'none');
    let at = 0;
    for (let row = 0; row < answers.count; row++) {
      const bytes = answers.addressBytes(row);
      const address = (from: number) => formatAddress(answers.meta, from, from + bytes);
      answered.add({
        tier1: subject.split('.')[3],
        client: `${address(answers.clientAt(row))} ${answers.clientPort(row)}`,
        vip: `${address(answers.vipAt(row))} ${answers.vipPort(row)}`,
        text: Buffer.from(answers.payload.subarray(at, (at += answers.length(row)))).toString(),
      });
    }
  });
  const bus = hub.connect('actor');
  const egress = new UdpEgress({
    backend: await resolveUdp(parseUdpUrl(backend, 1)),
    server: 's1',
    bus,
    subjects,
    clock,
    log,
    ...options,
  });
  await egress.start();
  const keyer = new FlowKeyer({ secret: 'test' });
  const accept = (bytes: Uint8Array, { tier1 = 't1', link = 1, flow = -1 } = {}) => {
    assert.equal(keyer.read(bytes, 0, bytes.length, link, 0), 0);
    const [hi, lo] = flow < 0 ? [keyer.flowHi, keyer.flowLo] : [0, flow];
    // In the middle of a frame that is overwritten as soon as the actor is done with it.
    const frame = Buffer.concat([Buffer.alloc(7), bytes, Buffer.alloc(9)]);
    egress.begin(frame, 1_000, tier1);
    egress.add(7, bytes.length, hi, lo, keyer.flags);
    egress.end();
    frame.fill(0xee);
    return { hi, lo };
  };
  const ask = (client: number, payload: string, options: Parameters<typeof accept>[1] = {}) =>
    accept(query(client, payload), options);
  return { egress, bus, time, warnings, answered, accept, ask, report: () => egress.report() as unknown as Report };
}

/** A datagram of that client to the VIP. */
export function query(client: number, payload: string, more: Partial<PacketSpec> = {}): Uint8Array {
  const udp = { sourcePort: 10_000 + client, targetPort: 53, payload };
  return buildPacket({ source: '198.51.100.7', target: '192.0.2.1', udp, ...more });
}
