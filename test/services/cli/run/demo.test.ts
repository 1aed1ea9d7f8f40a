// The demo as people start it: a child process, its output, its exit code, and what it leaves behind.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import type { DemoReport } from '../../../../services/local/demo/story.ts';
import { findNatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';

const script = join(import.meta.dirname, '../../../../services/cli/flowherd.js');
const escapeCharacter = '\x1b';

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly errors: string;
}

/** Runs the demo; `onOutput` sees the output so far and may send the process a signal. */
function demo(
  args: readonly string[],
  environment: Record<string, string> = {},
  onOutput: (out: string, send: (signal: NodeJS.Signals) => void) => void = () => undefined,
): Promise<Outcome> {
  const child = spawn(process.execPath, [script, 'demo', ...args], { env: { ...process.env, ...environment } });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
    onOutput(out, (signal) => child.kill(signal));
  });
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, errors }));
  });
}

function sum(counts: Record<string, number | undefined>): number {
  return Object.values(counts).reduce<number>((total, count) => total + (count ?? 0), 0);
}

/** Whether a connection to that port of this machine is taken. */
function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A folder with an executable `nats-server` in it that runs `shellScript`. */
function folderWithNatsServer(shellScript: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-test-'));
  writeFileSync(join(folder, 'nats-server'), `#!/bin/sh\n${shellScript}\n`);
  chmodSync(join(folder, 'nats-server'), 0o755);
  return folder;
}

test('demo - every packet is accounted for while a server joins and one drains', async () => {
  const { code, out, errors } = await demo(['--seconds', '3', '--rate', '4000', '--bus', 'embedded', '--json']);
  assert.equal(errors, '');
  const report = JSON.parse(out) as DemoReport;
  assert.deepEqual(report.problems, []);
  assert.equal(code, 0);
  const { packets, exactlyOnce, servers, demo: shown } = report;
  assert.equal(packets.read, packets.distributed + sum(packets.dropped));
  assert.equal(packets.read, shown.capture.packets + shown.generatedPackets);
  assert.ok(shown.capture.packets > 0 && shown.generatedPackets > 0);
  assert.equal(packets.distributed, exactlyOnce.accepted + sum(exactlyOnce.nobody) + exactlyOnce.double);
  assert.equal(exactlyOnce.double, 0);
  assert.equal(report.stickinessViolations, 0);

  assert.equal(servers.length, 10);
  const leaving = servers.filter(({ state }) => state === 'draining' || state === 'left');
  assert.deepEqual(
    leaving.map(({ id }) => id),
    [shown.drained?.server],
  );
  assert.equal(servers.filter(({ state }) => state === 'active').length, 9);
  const joiner = servers.find(({ id }) => id === shown.joined?.server);
  assert.ok(joiner?.state === 'active' && joiner.flows > 0, 'the joiner got flows');
  assert.ok((shown.joined?.flowsFetched ?? 0) > 0, 'the joiner fetched flows');
  assert.ok((shown.drained?.packetsSince ?? 0) > 0, 'open flows went on at the draining server');
  assert.deepEqual(
    report.groups.map((group) => group.servers),
    [leaving[0].state === 'left' ? 2 : 3, 3, 4],
  );
});

test('demo - output that is no terminal has lines and no escape codes', async () => {
  const { code, out } = await demo(['--seconds', '2', '--rate', '2000', '--bus', 'embedded']);
  assert.equal(code, 0);
  assert.ok(!out.includes(escapeCharacter));
  assert.match(out, /^Bus: embedded, inside this process\.$/m);
  assert.match(out, /g3-s4 joined: view \d+ → \d+; fetched [\d,]+ flows/);
  assert.match(out, /g1-s1 drains: its [\d,]+ open flows stay/);
  assert.match(out, /What you saw.*It all adds up.*The numbers.*What to try next/s);
});

test('demo - Ctrl-C ends it in order with the report so far', async () => {
  let sent = false;
  const { code, out } = await demo(['--seconds', '600', '--bus', 'embedded'], {}, (soFar, send) => {
    if (sent || !soFar.includes(' s  ')) return;
    sent = true;
    send('SIGINT');
  });
  assert.equal(code, 0);
  assert.match(out, /you ended it early/);
  assert.match(out, /It adds up/);
});

test('demo - a nats-server that does not start is said and passed over', async () => {
  const folder = folderWithNatsServer('exit 3');
  try {
    const { code, out } = await demo(['--seconds', '1', '--rate', '1000'], { PATH: folder });
    assert.equal(code, 0);
    assert.match(out, /^Bus: embedded, .*nats-server did not start: it ended with 3\.$/m);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('demo - a nats-server without a store is said and passed over', { skip: skipWithoutNatsServer() }, async () => {
  const folder = folderWithNatsServer(`exec "${findNatsServer()}" -a 127.0.0.1 -p -1`);
  try {
    const { code, out } = await demo(['--seconds', '1', '--rate', '1000'], { PATH: folder });
    assert.equal(code, 0);
    assert.match(out, /^Bus: embedded, since the nats-server did not serve: /m);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('demo - a nats-server of its own carries everything and leaves nothing', {
  skip: skipWithoutNatsServer(),
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-test-'));
  const path = [dirname(findNatsServer() ?? ''), process.env.PATH ?? ''].join(delimiter);
  try {
    const environment = { PATH: path, TMPDIR: folder };
    const { code, out } = await demo(['--seconds', '2', '--rate', '2000', '--json'], environment);
    const report = JSON.parse(out) as DemoReport;
    assert.deepEqual(report.problems, []);
    assert.equal(code, 0);
    assert.equal(report.bus, 'nats');
    const url = /nats:\/\/127\.0\.0\.1:(\d+)/.exec(report.demo.bus);
    assert.ok(url !== null, report.demo.bus);
    assert.equal(await listens(Number(url[1])), false);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('flowherd')),
      [],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('demo - a mistake is told in one line', async () => {
  const { code, errors } = await demo(['--bus', 'somewhere']);
  assert.equal(code, 2);
  assert.match(errors, /^flowherd: [^\n]+\n$/);
});
