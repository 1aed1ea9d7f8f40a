// Tier 1 remembers no flow: however many have passed, it keeps no more memory than before.
//
// This checker does not look at a run that is over, like the others: it feeds packets of more and more flows, each flow one
// packet, to whatever takes packets, and weighs the process between. Nothing else may grow meanwhile.

import { buildPacket } from '../../../shared/packet/encode/build.ts';
import { heapBytes } from '../../support/heap.ts';
import type { Finding } from './finding.ts';

/** Takes packets and lets what that causes happen; see `Gate` of the clients. */
export interface FlowSink {
  take(packet: Uint8Array): void;
  /** Called now and then: whatever is under way may arrive. */
  settle(): void;
}

/** Flows that have passed when the memory is weighed. The first pass is for what is made once: code, buffers, tables. */
const warmUp = 50_000;
const weighedAt = [1_000, 100_000, 1_000_000];
/** Half a byte of each flow. What the engine itself keeps or frees meanwhile, such as compiled code, is below this. */
const bytesMax = 500_000;
const settleEvery = 1_000;
/** Frames that are under way have weight too: they arrive before anything is weighed. */
const settleBefore = 500;

export function stateless(sink: FlowSink): Finding | undefined {
  const flows = new FlowSource();
  flows.feed(sink, warmUp);
  let weight = 0;
  let passed = 0;
  for (const target of weighedAt) {
    flows.feed(sink, target - passed);
    passed = target;
    for (let turn = 0; turn < settleBefore; turn++) sink.settle();
    const now = heapBytes();
    const grown = now - weight;
    if (weight !== 0 && grown > bytesMax) {
      const what = `tier 1 keeps ${grown} bytes more after ${target} flows than after fewer: it remembers something of them`;
      return { checker: 'stateless', what };
    }
    if (weight === 0) weight = now;
  }
  return undefined;
}

/** Datagrams, each of a flow of its own, in one buffer that is written over. */
class FlowSource {
  readonly #packet: Uint8Array = Uint8Array.from(
    buildPacket({ source: '10.0.0.0', target: '198.18.0.1', udp: { sourcePort: 1_024, targetPort: 53 } }),
  );
  #next = 0;

  feed(sink: FlowSink, flows: number): void {
    for (let left = flows; left > 0; left--) {
      const flow = this.#next++;
      // Behind 14 bytes of Ethernet, the source address stands at 12 of IPv4: three bytes of it number the flow.
      this.#packet[27] = flow >>> 16;
      this.#packet[28] = flow >>> 8;
      this.#packet[29] = flow;
      sink.take(this.#packet);
      if (left % settleEvery === 1) sink.settle();
    }
  }
}
