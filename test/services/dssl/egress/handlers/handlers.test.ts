// The handlers that come with the product, fed with packets and asked for what they made of them.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { ServerContext } from '../../../../../services/dssl/egress/handlers/handler.ts';
import { loadHandler } from '../../../../../services/dssl/egress/handlers/load.ts';
import { LocalEgress } from '../../../../../services/dssl/egress/local.ts';
import { readCapture } from '../../../../../shared/capture/reader.ts';
import { FlowKeyer } from '../../../../../shared/flow/keyer.ts';
import { TunnelPorts } from '../../../../../shared/packet/decode/tunnels/ports.ts';
import { buildPacket, type PacketSpec } from '../../../../../shared/packet/encode/build.ts';

const log = { info() {}, warn() {}, error() {} };

function context(options: Record<string, string> = {}): ServerContext {
  return { server: 's1', group: 'g', log, tunnels: false, options };
}

test('flow-stats - what a tunnel carries is told where the cluster keys by it, with the tunnel beside it', async () => {
  const inside = buildPacket({ source: '10.1.0.1', target: '10.1.0.2', udp: { sourcePort: 7, targetPort: 8 } });
  const vxlan = Uint8Array.of(8, 0, 0, 0, 0, 0, 7, 0, ...inside);
  const packet = buildPacket({ ...v4, udp: { sourcePort: 4_000, targetPort: 14_789, payload: vxlan } });
  const inner = { source: '10.1.0.1', sourcePort: 7, target: '10.1.0.2', targetPort: 8, protocol: 17 };
  const outer = { source: v4.source, sourcePort: 4_000, target: v4.target, targetPort: 14_789, protocol: 17 };
  for (const tunnels of [new TunnelPorts(['vxlan=14789']), false] as const) {
    const handler = await loadHandler('flow-stats', '.', { ...context(), tunnels });
    const egress = new LocalEgress({ handler, log, nowMs: () => 0 });
    await egress.start();
    egress.begin(packet, 1_700_000_000_000);
    egress.flowStarted(1, 2, 1_700_000_000_000);
    egress.add(0, packet.length, 1, 2, 0);
    egress.end();
    const [record] = (handler.report?.().top ?? []) as Record<string, unknown>[];
    const { source, sourcePort, target, targetPort, protocol, outer: tunnel } = record;
    const shown = { source, sourcePort, target, targetPort, protocol };
    assert.deepEqual([shown, tunnel], tunnels === false ? [outer, undefined] : [inner, outer]);
  }
});

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'flowherd-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** A handler behind an egress, fed with packets as an actor feeds it: each opens its flow when it is the first of it. */
async function serve(name: string, options: Record<string, string>, packets: readonly PacketSpec[]) {
  const handler = await loadHandler(name, '.', context(options));
  const egress = new LocalEgress({ handler, log, nowMs: () => 0 });
  await egress.start();
  const keyer = new FlowKeyer({ secret: 'test' });
  const known = new Set<string>();
  let timestampMs = 1_700_000_000_000;
  for (const spec of packets) {
    const bytes = buildPacket(spec);
    assert.equal(keyer.read(bytes, 0, bytes.length, spec.link === 'none' ? 101 : 1, 0), 0);
    const { flowHi, flowLo } = keyer;
    egress.begin(bytes, timestampMs);
    if (!known.has(`${flowHi}/${flowLo}`)) egress.flowStarted(flowHi, flowLo, timestampMs);
    known.add(`${flowHi}/${flowLo}`);
    egress.add(0, bytes.length, flowHi, flowLo, keyer.flags);
    if (spec.tcp?.flags?.includes('F')) egress.flowEnded(flowHi, flowLo, 'closed', timestampMs);
    egress.end();
    timestampMs += 10;
  }
  return { handler, egress };
}

const v4 = { source: '10.0.0.1', target: '192.0.2.1' };
const v6 = { source: '2001:db8::1', target: '2001:db8::2' };
const web = { sourcePort: 4_000, targetPort: 80 };
const dns = { sourcePort: 5_000, targetPort: 53, payload: 'x'.repeat(100) };
const traffic: readonly PacketSpec[] = [
  { ...v4, tcp: { ...web, flags: 'S' } },
  { ...v6, udp: dns },
  { ...v4, tcp: { ...web, flags: 'PA', payload: 'abc' } },
  { ...v4, tcp: { ...web, flags: 'FA' } },
  { link: 'none', ...v6, udp: dns },
];

test('handler counting - counts packets, bytes, flows, starts and ends', async () => {
  const { egress } = await serve('counting', {}, traffic);
  const bytes = traffic.reduce((sum, spec) => sum + buildPacket(spec).length, 0);
  const expected = { packets: 5, bytes, flowsStarted: 2, flowsEnded: 1, starts: 1, ends: 1, openFlows: 1 };
  assert.deepEqual(egress.report(), expected);
});

test('handler flow-stats - writes a record a flow, with its addresses, times, sizes and end', async (t) => {
  const out = join(directory(t), 'flows.jsonl');
  const { egress } = await serve('flow-stats', { out }, traffic);
  await egress.stop();
  assert.equal(egress.stats.handlerErrors, 0);
  const records = readFileSync(out, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const record of records) assert.match(record.flow, /^[0-9a-f]{16}$/);
  assert.deepEqual(
    records.map(({ flow: _, ...record }) => record),
    [
      {
        server: 's1',
        protocol: 6,
        ...v4,
        sourcePort: 4_000,
        targetPort: 80,
        firstMs: 1_700_000_000_000,
        lastMs: 1_700_000_000_030,
        packets: 3,
        bytes: 54 + 57 + 54,
        end: 'closed',
      },
      {
        server: 's1',
        protocol: 17,
        ...v6,
        sourcePort: 5_000,
        targetPort: 53,
        firstMs: 1_700_000_000_010,
        lastMs: 1_700_000_000_040,
        packets: 2,
        bytes: 162 + 148,
        end: 'open',
      },
    ],
  );
});

test('handler flow-stats - reports the largest flows, and counts what it has no room for', async () => {
  const flows = Array.from({ length: 9 }, (_, i) => ({
    ...v4,
    udp: { sourcePort: i + 1, targetPort: 9, payload: new Uint8Array(100 - 10 * i) },
  }));
  const { egress } = await serve('flow-stats', { top: '3', maxFlows: '5' }, [...flows, flows[4]!]);
  const report = egress.report();
  const top = report.top as { sourcePort: number; bytes: number }[];
  assert.deepEqual(
    top.map(({ sourcePort, bytes }) => [sourcePort, bytes]),
    [
      [5, 204],
      [1, 142],
      [2, 132],
    ],
  );
  assert.deepEqual([report.packets, report.openFlows, report.packetsUnrecorded], [10, 5, 4]);
});

test('handler pcap - the file holds the packets as they were, whatever their links', async (t) => {
  const path = directory(t);
  const { egress } = await serve('pcap', { dir: join(path, 'captures') }, traffic);
  await egress.stop();
  assert.equal(egress.stats.handlerErrors, 0);
  const found: { link: number; hex: string; timeMs: number }[] = [];
  for await (const batch of readCapture(join(path, 'captures', 's1.pcapng'))) {
    for (let i = 0; i < batch.count; i++) {
      const bytes = batch.buffer.subarray(batch.offsets[i], batch.offsets[i]! + batch.lengths[i]!);
      found.push({ link: batch.linkTypes[i]!, hex: Buffer.from(bytes).toString('hex'), timeMs: batch.timesMs[i]! });
    }
  }
  assert.deepEqual(
    found,
    traffic.map((spec, i) => ({
      link: spec.link === 'none' ? 101 : 1,
      hex: Buffer.from(buildPacket(spec)).toString('hex'),
      timeMs: 1_700_000_000_000 + 10 * i,
    })),
  );
});

test('handler pcap - a file that cannot be written is said before the server starts', async (t) => {
  const path = directory(t);
  const handler = await loadHandler('pcap', '.', context({ file: path }));
  await assert.rejects(
    new LocalEgress({ handler, log, nowMs: () => 0 }).start(),
    /handler .* did not start: .*directory/,
  );
});

test('loading handlers - a file of the user is found from where he stands', async (t) => {
  const path = directory(t);
  writeFileSync(
    join(path, 'mine.ts'),
    'export default (context: { server: string }) => ({ onPackets() {}, report: () => ({ of: context.server }) })',
  );
  writeFileSync(join(path, 'later.mjs'), 'export default async () => ({ onPackets() {} })');
  assert.deepEqual((await loadHandler('./mine.ts', path, context())).report?.(), { of: 's1' });
  assert.deepEqual((await loadHandler(join(path, 'mine.ts'), '/', context())).report?.(), { of: 's1' });
  assert.ok(await loadHandler('later.mjs', path, context()));
});

test('loading handlers - what is wrong is said in one line', async (t) => {
  const path = directory(t);
  const refused = async (name: string, source: string | undefined, expected: RegExp) => {
    if (source !== undefined) writeFileSync(join(path, name), source);
    const faults = await loadHandler(source === undefined ? name : `./${name}`, path, context()).then(
      () => assert.fail(`${name} was loaded`),
      (error: Error) => error.message,
    );
    assert.match(faults, expected);
    assert.ok(!faults.includes('\n'));
  };
  await refused('./none.ts', undefined, /there is no file .*none\.ts/);
  await refused('no-such-package', undefined, /neither a shipped handler \(counting, flow-stats, pcap\) nor a package/);
  await refused('nodefault.ts', 'export const create = () => ({})', /no default export/);
  await refused('throws.ts', "export default () => { throw new Error('no licence') }", /could not be made: no licence/);
  await refused('empty.ts', 'export default () => ({})', /no object with an onPackets function/);
  await refused('nothing.ts', 'export default () => undefined', /no object with an onPackets function/);
  await refused('syntax.ts', 'export default (', /could not be loaded/);
  await refused('imports.ts', "import './gone.ts'; export default () => ({})", /could not be loaded: .*gone\.ts/);
  await assert.rejects(
    loadHandler('flow-stats', '.', context({ tops: '3' })),
    /no option 'tops' \(it has out, top, maxFlows\)/,
  );
  await assert.rejects(loadHandler('flow-stats', '.', context({ top: 'x' })), /option top: 'x' is not an integer/);
});

test('example udp-collector - sums up the payloads of each device', async () => {
  const readings = [
    { ...v4, udp: { sourcePort: 1, targetPort: 9, payload: 'abc' } },
    { ...v4, udp: { sourcePort: 1, targetPort: 9, payload: 'de' } },
    { ...v6, tcp: web },
  ];
  const { egress } = await serve('./deploy/examples/udp-collector.ts', {}, readings);
  assert.deepEqual(egress.report(), { devices: 2, readings: 2 });
  assert.equal(egress.stats.handlerErrors, 0);
});
