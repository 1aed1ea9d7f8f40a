// Runs a traffic generator and hands over each packet, for tests.

import { type GeneratorOptions, TrafficGenerator } from '../../services/loadgen/generator/generator.ts';

/** Where the packet lies that `look` is called for. */
export const buffer = new Uint8Array(70_000);

/** The first `packets` packets, each handed to `look` with the generator's word on it. */
export function run(
  options: GeneratorOptions,
  packets: number,
  look: (length: number, generator: TrafficGenerator) => void,
): TrafficGenerator {
  const generator = new TrafficGenerator(options);
  for (let i = 0; i < packets; i++) {
    const length = generator.next(buffer, 0);
    if (length === 0) break;
    look(length, generator);
  }
  return generator;
}
