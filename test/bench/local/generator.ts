// How fast the traffic generator is, alone: stamped packets, put into frames and published to a tier 1 on the embedded
// bus, where one subscriber only counts them. It shall not be what holds a test back.

import { TrafficGenerator } from '../../../services/loadgen/generator/generator.ts';
import { type MixName, mixNames } from '../../../services/loadgen/generator/mixes.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { linkKindShift, linkKinds } from '../../../shared/flow/frameFlags.ts';
import { FrameBuilder } from '../../../shared/log/records/frame.ts';
import { ethernet, startMs } from '../packets.ts';
import { type BenchmarkResult, median, rounded, spread } from '../runner.ts';

const flows = 100_000;
const rounds = 7;
const warmups = 2;
const packetsPerRound = 500_000;
const mix = 'web';

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  say(`generator, ${mix}`);
  const rates = await packetRates(mix, rounds);
  const others: Record<string, number> = {};
  for (const name of mixNames) {
    if (name === mix) continue;
    say(`generator, ${name}`);
    others[name] = rounded(median(await packetRates(name, 2)));
  }
  return {
    figures: [
      {
        key: 'generatorPacketsPerSecond',
        value: median(rates),
        unit: 'packets/s',
        target: { atLeast: 1_000_000 },
        explain: { mix, flows, stamped: true, ...spread(rates), others },
      },
    ],
  };
}

/** Packets a second that arrive, one value a round. */
async function packetRates(name: MixName, count: number): Promise<number[]> {
  const hub = new MemoryHub();
  const [sender, receiver] = [hub.connect('generator'), hub.connect('tier 1')];
  const subject = subjectsOf('bench').in('t1');
  let arrivedBytes = 0;
  receiver.subscribe(subject, (data) => {
    arrivedBytes += data.length;
  });
  const generator = new TrafficGenerator({ seed: 1, flows, mix: name, stamp: { run: 1 } });
  const packet = new Uint8Array(generator.maxPacketBytes);
  const builder = new FrameBuilder();
  const flags = linkKinds.indexOf(ethernet) << linkKindShift;
  let number = 0;
  const send = () => {
    const header = { tier1Id: 'bench', number: ++number, follows: number - 1, mapVersion: 0, timestampMs: startMs };
    sender.publish(subject, builder.finish(header));
  };
  const rates: number[] = [];
  for (let round = -warmups; round < count; round++) {
    const startedAtMs = performance.now();
    for (let sent = 0; sent < packetsPerRound; sent++) {
      const length = generator.next(packet, 0);
      if (builder.isFull(length)) {
        send();
        if (!sender.writable) await sender.whenWritable();
      }
      builder.add(packet, 0, length, 0, 0, flags);
    }
    send();
    await sender.flush();
    if (round >= 0) rates.push((1_000 * packetsPerRound) / (performance.now() - startedAtMs));
  }
  const { publishedBytes } = sender.stats;
  if (arrivedBytes !== publishedBytes) throw new Error(`${publishedBytes} bytes were sent, ${arrivedBytes} arrived`);
  await Promise.all([sender.close(), receiver.close()]);
  return rates;
}
