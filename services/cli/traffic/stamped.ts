// A source of packets that carry stamps: each packet of a generator gets its number and its flow's behind its end.

import { stampBytes, writeStamp } from '../../../shared/packet/stamp.ts';
import type { TrafficGenerator } from '../../tier1/ingress/generator.ts';
import type { PacketSource } from './drive.ts';

export class StampedSource implements PacketSource {
  readonly maxPacketBytes: number;
  readonly #generator: TrafficGenerator;
  readonly #run: number;
  #id = 0;

  constructor(generator: TrafficGenerator, run: number) {
    this.#generator = generator;
    this.#run = run;
    this.maxPacketBytes = generator.maxPacketBytes + stampBytes;
  }

  get timeMs(): number {
    return this.#generator.timeMs;
  }

  get flow(): number {
    return this.#generator.flow;
  }

  get sequence(): number {
    return this.#generator.sequence;
  }

  get last(): boolean {
    return this.#generator.last;
  }

  next(buffer: Uint8Array, offset: number): number {
    const length = this.#generator.next(buffer, offset);
    if (length <= 0) return length;
    writeStamp(buffer, offset + length, this.#run, this.#id++, this.#generator.flow);
    return length + stampBytes;
  }
}
