// Every capture there is, through a whole cluster, on both buses, by both methods, with a server added and one drained
// while it runs: each packet is accounted for, none is accepted twice, no flow moves.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type ReplayOptions, type ReplayReport, replay } from '../../../../services/cli/run/replay.ts';
import { reportInWords } from '../../../../services/ops/words.ts';
import { buildPacket } from '../../../../shared/packet/encode/build.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { replayEnvironment, usualReplay } from '../../../support/replaying.ts';
import { sharedCaptures } from '../../../support/sharedCaptures.ts';
import { writeTiny } from '../../../support/tinyCapture.ts';

const run = promisify(execFile);
const program = fileURLToPath(new URL('../../../../services/cli/flowherd.js', import.meta.url));
const ownFolder = fileURLToPath(new URL('../../../captures/', import.meta.url));
const own = readdirSync(ownFolder)
  .filter((name) => /\.pcap(ng)?(\.gz)?$/.test(name))
  .map((name) => ownFolder + name);

const usual: ReplayOptions = { ...usualReplay, groups: 2, servers: 2, maxFlows: 100_000 };

const fig6 = { ...usual, method: 'fig-6' as const };
const fig7 = { ...usual, method: 'fig-7' as const, midFlow: 'adopt' as const };
const changing = { addAt: { share: 0.3 }, drainAt: { share: 0.5 } };

/** `but`: problems that are to be there. */
function assertExactlyOnce(report: ReplayReport, what: string, but?: RegExp): void {
  const { packets, exactlyOnce } = report;
  const problems = report.problems.filter((problem) => but === undefined || !but.test(problem));
  // A capture of 802.11 alone has nothing to read.
  const isUnread = packets.read > 0 && packets.dropped['link-80211'] === packets.read;
  assert.deepEqual(problems, isUnread ? ['nothing of the captures could be read'] : [], what);
  const sum = (counts: object) => Object.values(counts).reduce((total, count) => total + count, 0);
  assert.equal(packets.read, packets.distributed + sum(packets.dropped), what);
  assert.equal(packets.distributed, exactlyOnce.accepted + sum(exactlyOnce.nobody), what);
  assert.equal(exactlyOnce.double, 0, what);
  assert.equal(report.stickinessViolations, 0, what);
  const causes = Object.keys(exactlyOnce.nobody).filter((cause) => cause !== 'midFlow' && cause !== 'fragment');
  assert.deepEqual(
    causes,
    [],
    `${what}: only such packets stay without a server as the traffic itself leaves without one`,
  );
}

/** A flow in each packet, whose number is its client's port, less 10,000. */
async function captureOfFlows(folder: string, flows: number): Promise<string> {
  const file = join(folder, 'flows.pcap');
  const packets = Array.from({ length: flows }, (_, number) => {
    const udp = { sourcePort: 10_000 + number, targetPort: 53, payload: 'x' };
    const bytes = buildPacket({ source: '198.51.100.7', target: '192.0.2.1', udp });
    return { bytes, originalLength: bytes.length, timeMs: 1_000_000 + number, linkType: 1 };
  });
  writeFileSync(file, await writeTiny(packets));
  return file;
}

/** Clusters that run side by side: most of a short replay is waiting for servers to join and drain. */
const sideBySide = 6;

async function replayAll(files: readonly string[], bus: string): Promise<void> {
  assert.ok(files.length > 0);
  const left = files.flatMap((file) => [fig6, fig7].map((options) => ({ file, options })));
  const worker = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const { file, options } = next;
      const report = await replay([file], { ...options, ...changing, bus }, replayEnvironment);
      // Some captures hold nothing but the middle of connections, or packets that are broken.
      assertExactlyOnce(report, `${file} by ${options.method} on ${bus}`, /^nothing was accepted: of /);
      if (options.midFlow === 'adopt') assert.equal(report.exactlyOnce.nobody.midFlow, undefined, file);
    }
  };
  await Promise.all(Array.from({ length: sideBySide }, worker));
}

test('replay - every shared capture on the embedded bus', async (t) => {
  const captures = sharedCaptures(t);
  if (captures !== undefined)
    await replayAll(
      captures.map(({ path }) => path),
      'embedded',
    );
});

test('replay - every capture of the repository on the embedded bus', () => replayAll(own, 'embedded'));

describe('over NATS', { skip: skipWithoutNatsServer() }, () => {
  let server: NatsServer;
  before(async () => {
    server = await NatsServer.start();
  });
  after(() => server.stop());

  test('replay - every shared capture over NATS', async (t) => {
    const captures = sharedCaptures(t);
    if (captures !== undefined)
      await replayAll(
        captures.map(({ path }) => path),
        server.url,
      );
  });

  test('replay - every capture of the repository over NATS', () => replayAll(own, server.url));
});

test('replay - a server added in mid-capture takes new flows, a drained one keeps its own and gets no more', async () => {
  const file = `${ownFolder}town.pcap`;
  const report = await replay([file], { ...fig7, ...changing, servers: 3 }, replayEnvironment);
  const undisturbed = await replay([file], { ...fig7, servers: 3 }, replayEnvironment);
  assertExactlyOnce(report, file);
  for (const group of ['g1', 'g2']) {
    const servers = report.servers.filter((each) => each.group === group);
    const added = servers.find(({ id }) => id === `${group}-s4`);
    const drained = servers.find(({ id }) => id === `${group}-s1`);
    assert.ok(added !== undefined && added.flows > 0, `${group}: the added server has flows`);
    assert.ok(drained !== undefined && /draining|left/.test(drained.state), `${group}: the first server drains`);
    const otherwise = undisturbed.servers.find(({ id }) => id === `${group}-s1`)?.flows ?? 0;
    assert.ok(drained.flows < otherwise, `${group}: the drained server got ${drained.flows} flows, not ${otherwise}`);
  }
});

test('replay - every placement policy, key policy and variant gives each packet one server', async () => {
  const file = `${ownFolder}town.pcap`;
  const variants: Partial<ReplayOptions>[] = [
    { placement: 'maglev' },
    { placement: 'modulo' },
    { placement: 'weighted-random' },
    { placement: 'round-robin' },
    { placement: 'weighted-round-robin' },
    { placement: 'fewest-flows' },
    { method: 'fig-6', tableFirst: true },
    { key: 'address-pair' },
    { key: 'mac-pair' },
    { key: 'vlan' },
    { key: 'link-source' },
    { key: 'node-pair' },
    { key: 'subscriber', subscribers: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.0/24'] },
    { key: 'packet' },
    { key: 'packet', placement: 'round-robin', groupKey: 'address-pair' },
    { key: 'gtp-teid' },
    { key: 'sip-call-id', method: 'fig-6' },
    { key: 'quic-cid', cidLength: 4 },
    { directed: true },
    { directed: true, groupBy: 'source-last-byte' },
    { groupBy: 'hash' },
    { tunnel: 'inner' },
    {
      group: [
        { id: 'connections', weight: 100, serves: 'type-1', vlan: 11 },
        { id: 'the-rest', weight: 100, serves: 'type-2', vlan: 12 },
        { id: 'all', weight: 50, serves: 'both', vlan: 13 },
      ],
    },
  ];
  for (const variant of variants) {
    const report = await replay([file], { ...usual, ...changing, ...variant }, replayEnvironment);
    assertExactlyOnce(report, JSON.stringify(variant));
  }
});

test('replay - groups that serve one type get only that type (Fig. 10)', async () => {
  const group = [
    { id: 'connections', weight: 100, serves: 'type-1' as const, vlan: 0 },
    { id: 'the-rest', weight: 100, serves: 'type-2' as const, vlan: 0 },
  ];
  const report = await replay([`${ownFolder}town.pcap`], { ...usual, group }, replayEnvironment);
  assertExactlyOnce(report, 'dedicated groups');
  const flowsOf = (id: string) =>
    report.servers.filter((server) => server.group === id).reduce((sum, server) => sum + server.flows, 0);
  assert.equal(flowsOf('connections'), report.flows.type1);
  assert.equal(flowsOf('the-rest'), report.flows.type2);

  const none = await replay([`${ownFolder}town.pcap`], { ...usual, group: group.slice(0, 1) }, replayEnvironment);
  assert.ok(none.packets.dropped['no-group'] > 0, 'nobody serves the other type: counted');
  assertExactlyOnce(none, 'no group for type 2');
});

test('replay - a drain and an addition are in force at their very packet', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-moment-'));
  try {
    const flows = 900;
    const file = await captureOfFlows(folder, flows);
    const flowsOf = async (name: string, changes: Partial<ReplayOptions>) => {
      const out = join(folder, name);
      const options = { ...usual, groups: 1, handler: 'flow-stats', handlerOption: [`out=${out}`], ...changes };
      assertExactlyOnce(await replay([file], options, replayEnvironment), name);
      const records = readFileSync(out, 'utf8').trimEnd().split('\n');
      const homes = new Map(
        records.map((line) => JSON.parse(line)).map(({ server, sourcePort }) => [sourcePort - 10_000, server]),
      );
      return Array.from({ length: flows }, (_, number) => homes.get(number));
    };
    const undisturbed = await flowsOf('undisturbed', {});
    const drained = await flowsOf('drained', { drainAt: { packets: 333 } });
    assert.deepEqual(drained.slice(0, 333), undisturbed.slice(0, 333));
    assert.deepEqual(new Set(drained.slice(333)), new Set(['g1-s2']));
    const added = await flowsOf('added', { addAt: { packets: 333 } });
    assert.deepEqual(added.slice(0, 333), undisturbed.slice(0, 333));
    assert.deepEqual(await flowsOf('again', { addAt: { packets: 333 } }), added, 'a replay is the same every time');
    assert.ok(added.slice(333, 353).includes('g1-s3'), 'the first packets behind the moment know the added server');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('replay - a handler that throws costs its batch, the actor goes on, and the run fails and says so', async () => {
  const handler = fileURLToPath(new URL('../../../support/throwingHandler.ts', import.meta.url));
  const report = await replay([`${ownFolder}web.pcap`], { ...usual, handler }, replayEnvironment);
  assertExactlyOnce(report, 'throwing handler', /^handlers failed/);
  assert.ok(report.servers.some(({ handlerErrors }) => handlerErrors > 0));
  const lost = report.servers.reduce((sum, { packetsLost }) => sum + packetsLost, 0);
  assert.ok(lost > 0);
  assert.match(
    reportInWords(report),
    new RegExp(
      `This run failed:\n  handlers failed \\d+ times? at \\d servers?, which cost ${lost} packets; first at g\\d-s\\d: onPackets failed: this server has had enough\n`,
    ),
  );
});

test('replay - a run in which nothing was accepted is no success', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-nothing-'));
  try {
    const file = await captureOfFlows(folder, 3);
    const group = [{ id: 'connections', weight: 100, serves: 'type-1' as const, vlan: 0 }];
    const text = reportInWords(await replay([file], { ...usual, group }, replayEnvironment));
    assert.match(
      text,
      /This run failed:\n {2}nothing was accepted: of 3 packets 3 were dropped at tier 1 \(no-group 3\)\n/,
    );
    assert.doesNotMatch(text, /adds up/);
    const command = [program, 'replay', file, '--group', 'connections:100:type-1'];
    assert.equal((await run(process.execPath, command).catch((error) => error)).code, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('replay - one of a kind is told in the singular', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-one-'));
  try {
    const file = await captureOfFlows(folder, 1);
    const text = reportInWords(await replay([file], { ...usual, groups: 1, servers: 1 }, replayEnvironment));
    assert.match(text, /: 1 packet, pcap/);
    assert.match(text, /^1 packet read, 1 distributed to 1 group with 1 server \(/m);
    assert.match(text, /^1 was accepted by exactly one server/m);
    assert.match(text, /^1 flow \(/m);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('replay - flow-stats of all servers write one file, a whole record for every flow', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-stats-'));
  try {
    const out = join(folder, 'flows.jsonl');
    const options = { ...fig7, handler: 'flow-stats', handlerOption: [`out=${out}`] };
    const report = await replay([`${ownFolder}town.pcap`], options, replayEnvironment);
    const records = readFileSync(out, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const sum = (key: string) => records.reduce((total, record) => total + record[key], 0);
    assert.equal(sum('packets'), report.exactlyOnce.accepted);
    assert.equal(
      records.length,
      report.servers.reduce((total, { flows }) => total + flows, 0),
    );
    assert.equal(new Set(records.map(({ server }) => server)).size, 4);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('replay - from the command line: JSON, exit codes, one line for a mistake', async () => {
  const { stdout } = await run(process.execPath, [program, 'replay', `${ownFolder}web.pcap`, '--json']);
  const report = JSON.parse(stdout);
  for (const key of ['packets', 'exactlyOnce', 'verdicts', 'flows', 'servers', 'groups', 'latencyMs'])
    assert.ok(key in report, key);
  for (const key of ['stickinessViolations', 'copiesPerPacket', 'seconds', 'packetsPerSecond']) {
    assert.equal(typeof report[key], 'number', key);
  }
  const mistakes = [
    { args: ['nowhere.pcap'], code: 1, says: /nowhere\.pcap/ },
    { args: [program], code: 1, says: /not a capture/ },
    { args: ['x', '--groups', '0'], code: 2, says: /--groups/ },
    { args: ['x', '--mid-flow', 'adopt', '--method', 'fig-6'], code: 2, says: /elsewhere table/ },
    { args: ['x', '--handler-option', 'nonsense'], code: 2, says: /name=value/ },
    { args: [`${ownFolder}web.pcap`, '--bus', 'nats://user:secret@127.0.0.1'], code: 2, says: /login/ },
    { args: [`${ownFolder}web.pcap`, 'pcpa:web.pcap'], code: 2, says: /no kind of input "pcpa:"/ },
    { args: [`${ownFolder}web.pcap`, ownFolder], code: 1, says: /it is a directory/ },
    { args: ['x', '--drain-at', '110%'], code: 2, says: /a share of the bytes from 0% to 100%/ },
    { args: ['x', '--add-at', '1-'], code: 2, says: /a number of packets/ },
  ];
  for (const { args, code, says } of mistakes) {
    const failure = await run(process.execPath, [program, 'replay', ...args]).catch((error) => error);
    assert.equal(failure.code, code, args.join(' '));
    assert.match(failure.stderr, says);
    assert.ok(!/\n\s+at /.test(failure.stderr), 'no stack trace');
    assert.ok(failure.stderr.trim().split('\n').length <= 2, failure.stderr);
  }
});
