// Runs one benchmark, named by the first argument, and sends its result to the parent.

import { benchmarks } from './benchmarks.ts';

const module = await benchmarks[process.argv[2]].load();
const result = await module.run((line) => void process.stderr.write(`  ${line}\n`));
process.send?.(result, () => process.exit(0));
