#!/usr/bin/env node
// Starts the command line under the pinned runtime. The sources are TypeScript that Node runs as it is, which needs
// Node 24.12 or later; the npm package `node` brings one. When this file is started by an older Node (a global
// install, a direct call), it hands over to the pinned one; npm scripts and npx find the pinned one by themselves.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > 24 || (major === 24 && minor >= 12)) {
  await import('./main.ts');
} else {
  const require = createRequire(import.meta.url);
  let runtime;
  try {
    runtime = require.resolve('node/bin/node');
  } catch {
    process.stderr.write(
      `flowherd: needs Node 24.12 or later, this is ${process.version}; run npm ci first, it brings one\n`,
    );
    process.exit(1);
  }
  // Signals of the terminal reach both; the child decides when to end, and this one ends with it.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => undefined);
  const script = fileURLToPath(new URL('./main.ts', import.meta.url));
  const child = spawn(runtime, [script, ...process.argv.slice(2)], { stdio: 'inherit' });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('exit', (code) => process.exit(code ?? 1));
}
