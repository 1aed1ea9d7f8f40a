// What `replay` makes of captures that are not as they should be: torn datagrams, corrupt times, files out of order, link types
// that are not read, tunnels that are not entered.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { replay } from '../../../../services/cli/run/replay.ts';
import { reportInWords } from '../../../../services/ops/words.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../../shared/packet/encode/build.ts';
import { replayEnvironment, usualReplay } from '../../../support/replaying.ts';
import { sharedCase } from '../../../support/sharedCaptures.ts';
import { writeTiny } from '../../../support/tinyCapture.ts';

const start = 1_700_000_000_000;
const folder = mkdtempSync(join(tmpdir(), 'replay-'));
test.after(() => rmSync(folder, { recursive: true }));

type Timed = readonly [bytes: Uint8Array, seconds: number];

async function captureOf(name: string, packets: readonly Timed[], linkType = 1): Promise<string> {
  const path = join(folder, name);
  const rows = packets.map(([bytes, seconds]) => ({
    bytes,
    originalLength: bytes.length,
    timeMs: start + 1_000 * seconds,
    linkType,
  }));
  const file = await writeTiny(rows);
  writeFileSync(path, name.endsWith('.zst') ? zstdCompressSync(file) : file);
  return path;
}

const ends = { source: '10.0.0.5', target: '10.0.0.80' };
const tcp = (flags: string, payload = '') =>
  buildPacket({ ...ends, tcp: { sourcePort: 40_000, targetPort: 80, flags, payload } });
const pieces = (sourcePort: number, vlans: readonly number[] = []): Uint8Array[] => {
  const spec: PacketSpec = {
    ...ends,
    vlans,
    identification: 7,
    udp: { sourcePort, targetPort: 53, payload: 'x'.repeat(32) },
  };
  return fragmentPacket(spec, 24);
};

test('replay - fragments of two VLANs with one identification stay with their datagrams', async (t) => {
  const path = sharedCase(t, 'min-frag-vlan.pcap');
  if (path === undefined) return;
  const { exactlyOnce, tornDatagrams, problems, flows } = await replay([path], usualReplay, replayEnvironment);
  assert.deepEqual([exactlyOnce.accepted, tornDatagrams, flows.seen, problems], [4, 0, 2, []]);
});

test('replay - why a connection is not known: never seen, ended, ended by another tenant, silent for too long', async () => {
  const inVlan = (vlan: number, flags: string) =>
    buildPacket({ ...ends, vlans: [vlan], tcp: { sourcePort: 40_000, targetPort: 80, flags } });
  const open = [
    [inVlan(7, 'S'), 0],
    [inVlan(7, 'A'), 0.1],
  ] as const;
  const cases: readonly (readonly [string, readonly Timed[]])[] = [
    ['midFlow', [[inVlan(7, 'A'), 1]]],
    ['ended', [...open, [inVlan(7, 'R'), 1], [inVlan(7, 'A'), 300]]],
    ['otherTenant', [...open, [inVlan(8, 'R'), 1], [inVlan(7, 'A'), 300]]],
    ['idle', [...open, [inVlan(7, 'A'), 8_000]]],
  ];
  for (const [cause, packets] of cases) {
    const report = await replay([await captureOf(`${cause}.pcap`, packets)], usualReplay, replayEnvironment);
    assert.deepEqual(report.exactlyOnce.nobody, { [cause]: 1 });
  }
  const apart = await captureOf('apart.pcap', [...open, [inVlan(8, 'R'), 1], [inVlan(7, 'A'), 300]]);
  const { exactlyOnce } = await replay([apart], { ...usualReplay, within: ['vlan'] }, replayEnvironment);
  assert.deepEqual(exactlyOnce.nobody, { midFlow: 1 }, 'the reset of the other tenant, whose start is not there');
});

test('replay - a datagram that an identification come round again tears is counted, and fails the run', async () => {
  // Of 9 servers, one in nine pairs of flows has one server; so a few ports are tried.
  let torn = 0;
  for (let port = 1_000; port < 1_004; port++) {
    const [first, last] = pieces(999);
    const [next, overtaking] = pieces(port);
    const path = await captureOf(
      'torn.pcap',
      [first, last, overtaking, next].map((bytes, at) => [bytes, at / 1_000]),
    );
    const report = await replay([path], usualReplay, replayEnvironment);
    torn += report.tornDatagrams;
    assert.equal(report.problems.length, report.tornDatagrams);
    if (report.tornDatagrams > 0)
      assert.deepEqual(report.problems, ['fragments of 1 datagram were accepted by different servers']);
  }
  assert.ok(torn > 0);
});

test('replay - one corrupt time costs that packet its time, and no flow', async () => {
  const years = 10 * 365 * 86_400;
  for (const corrupt of [years, -years]) {
    const path = await captureOf('time.pcap', [
      [tcp('S'), 0],
      [tcp('A'), 0.1],
      [tcp('PA', 'x'), corrupt],
      [tcp('PA', 'y'), 0.3],
      [tcp('PA', 'z'), 0.4],
    ]);
    const report = await replay([path], usualReplay, replayEnvironment);
    assert.deepEqual([report.exactlyOnce.accepted, report.flows.seen], [5, 1]);
    assert.match(reportInWords(report), /time\.pcap: 1 packet with a corrupt time/);
  }
});

test('replay - files out of order are said in one line, and sorted where that is asked for', async () => {
  const later = await captureOf('later.pcap.zst', [
    [tcp('A'), 10],
    [tcp('PA', 'x'), 11],
  ]);
  const earlier = await captureOf('earlier.pcap', [
    [tcp('A', 'a'), 1],
    [tcp('S'), 0],
  ]);
  const plain = await replay([later, earlier], usualReplay, replayEnvironment);
  assert.deepEqual(
    plain.notes.map((note) => note.replace(`${folder}/`, '').replace(`${folder}/`, '')),
    [
      'earlier.pcap: 1 packet out of order of time, by up to 1 s: --sort puts them in order',
      'earlier.pcap begins 10 s before later.pcap.zst ends: --sort puts all packets in order of time',
    ],
  );
  assert.equal(plain.exactlyOnce.accepted, 1);
  const sorted = await replay([later, earlier], { ...usualReplay, sort: true }, replayEnvironment);
  assert.deepEqual([sorted.exactlyOnce.accepted, sorted.notes, sorted.files.length], [4, [], 2]);
});

test('replay - link types that are not read are named, and a run that could read nothing fails', async () => {
  const wireless = await captureOf(
    'wireless.pcap',
    [
      [new Uint8Array(40), 0],
      [new Uint8Array(40), 1],
    ],
    127,
  );
  const wired = await captureOf('wired.pcap', [[tcp('S'), 0]]);
  const nothing = await replay([wireless], usualReplay, replayEnvironment);
  assert.deepEqual(nothing.problems, ['nothing of the captures could be read']);
  assert.match(
    reportInWords(nothing),
    /wireless\.pcap: packets that are not read: 2 of link type 127 \(802\.11 with radiotap header\)/,
  );
  const some = await replay([wireless, wired], usualReplay, replayEnvironment);
  assert.deepEqual([some.problems, some.exactlyOnce.accepted], [[], 1]);
});

test('replay - tunnels are told: entered ones, and others by kind and cause', async () => {
  const outside = { source: '192.0.2.1', target: '192.0.2.2' };
  const packets = [
    buildPacket({ ...outside, inner: { ...ends, tcp: { sourcePort: 1, targetPort: 2, flags: 'S' } } }),
    buildPacket({ ...outside, protocol: 50, payload: 'x'.repeat(40) }),
  ];
  const path = await captureOf(
    'tunnels.pcap',
    packets.map((bytes) => [bytes, 0]),
  );
  const report = await replay([path], { ...usualReplay, tunnel: 'inner' }, replayEnvironment);
  assert.deepEqual(report.tunnels, { entered: { ipip: 1 }, notEntered: { esp: { unread: 1 } } });
  const words = reportInWords(report);
  assert.match(words, /keyed inside tunnels: ipip 1\n/);
  assert.match(words, /tunnels not entered: 1 esp: encrypted, or of a kind that is not read\n/);
});

test('replay - a capture without packets accepts nothing, which fails', async () => {
  const { packets, problems } = await replay([await captureOf('none.pcap', [])], usualReplay, replayEnvironment);
  assert.equal(packets.read, 0);
  assert.deepEqual(problems, ['nothing was accepted: there are no packets in the captures']);
});

test('replay - a share of the bytes is one of the packets, also of a packed capture, and all of it is their end', async () => {
  const packets = Array.from({ length: 60 }, (_, n): Timed => {
    const udp = { sourcePort: 1_000 + n, targetPort: 53, payload: 'x'.repeat(20) };
    return [buildPacket({ ...ends, udp }), n / 10];
  });
  const files = [await captureOf('share.pcap', packets), await captureOf('share.pcap.zst', packets)];
  for (const file of files) {
    const { servers } = await replay([file], { ...usualReplay, addAt: { share: 0.5 }, servers: 1 }, replayEnvironment);
    const half = await replay([file], { ...usualReplay, addAt: { packets: 30 }, servers: 1 }, replayEnvironment);
    assert.deepEqual(
      servers.map(({ flows }) => flows),
      half.servers.map(({ flows }) => flows),
    );
    const last = await replay([file], { ...usualReplay, drainAt: { share: 1 }, servers: 2 }, replayEnvironment);
    assert.deepEqual(last.servers[0].flows > 0 && last.draining, [
      { server: 'g1-s1', flowsLeft: last.servers[0].flows },
    ]);
  }
});

test('replay - a moment that cannot be known is refused, and one that never comes is said', async () => {
  await assert.rejects(replay(['-'], { ...usualReplay, addAt: { share: 0.5 } }, replayEnvironment), {
    code: 'bad-config',
    message: 'standard input: a share of its bytes is not known before its end; name a number of packets',
  });
  const file = await captureOf('short.pcap', [[tcp('S'), 0]]);
  const { notes } = await replay([file], { ...usualReplay, drainAt: { packets: 1_000 } }, replayEnvironment);
  assert.deepEqual(notes, ['--drain-at: there are less than 1,000 packets, so nothing was done']);
});

test('replay - with two directions apart, both of a connection are accepted', async () => {
  const back = (flags: string, payload = '') =>
    buildPacket({
      source: ends.target,
      target: ends.source,
      tcp: { sourcePort: 80, targetPort: 40_000, flags, payload },
    });
  const packets = [tcp('S'), back('SA'), tcp('A'), back('PA', 'x'), tcp('FA'), back('A'), back('PA', 'y'), back('FA')];
  const file = await captureOf(
    'directed.pcap',
    packets.map((bytes, n): Timed => [bytes, n]),
  );
  for (const method of ['fig-6', 'fig-7'] as const) {
    const { exactlyOnce, flows } = await replay([file], { ...usualReplay, directed: true, method }, replayEnvironment);
    assert.deepEqual([exactlyOnce.accepted, exactlyOnce.nobody, flows.seen], [8, {}, 2]);
  }
});
