// Runs one benchmark, named by the first argument (the second one says what it is asked for), and sends its result to the parent, or why there is none.

import { benchmarks } from './benchmarks.ts';
import type { Asked, WorkerAnswer } from './runner.ts';

// Processes that are started here are ended with this one, by a listener for each.
process.setMaxListeners(64);

async function answer(): Promise<WorkerAnswer> {
  try {
    const module = await benchmarks[process.argv[2]].load();
    const asked = JSON.parse(process.argv[3]) as Asked;
    return { result: await module.run((line) => void process.stderr.write(`  ${line}\n`), asked) };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    const text = error instanceof Error ? error.message : String(error);
    return { problem: text.split('\n', 1)[0] };
  }
}

process.send?.(await answer(), () => process.exit(0));
