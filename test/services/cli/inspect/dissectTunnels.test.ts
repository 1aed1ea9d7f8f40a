// The dissect command on packets in tunnels and of tenants, on what is not read, and with the secret of a cluster.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { keyerFor, mapFromOptions, usualCluster } from '../../../../services/cli/config/settings.ts';
import { buildPacket, type PacketSpec } from '../../../../shared/packet/encode/build.ts';
import { sharedCase } from '../../../support/sharedCaptures.ts';
import { writeTiny } from '../../../support/tinyCapture.ts';

const program = resolve(import.meta.dirname, '../../../../services/cli/flowherd.js');
const folder = mkdtempSync(join(tmpdir(), 'dissect-'));
test.after(() => rmSync(folder, { recursive: true }));

async function captureOf(name: string, packets: readonly Uint8Array[], linkType = 1): Promise<string> {
  const path = join(folder, name);
  const rows = packets.map((bytes) => ({ bytes, originalLength: bytes.length, timeMs: 0, linkType }));
  writeFileSync(path, await writeTiny(rows));
  return path;
}

function dissect(args: readonly string[], secret?: string) {
  const env = { ...process.env, ...(secret === undefined ? {} : { FLOWHERD_SECRET: secret }) };
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'dissect', ...args], {
    encoding: 'utf8',
    env,
  });
  return { code: status, out: stdout, complaints: stderr };
}

const rowsOf = (out: string) =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const inside: PacketSpec = {
  source: '10.0.0.5',
  target: '10.0.0.80',
  vlans: [9],
  tcp: { sourcePort: 40_000, targetPort: 80, flags: 'S' },
};
const vxlan = (targetPort: number) =>
  buildPacket({
    source: '192.0.2.1',
    target: '192.0.2.2',
    vlans: [3],
    udp: { sourcePort: 50_000, targetPort, payload: Uint8Array.of(8, 0, 0, 0, 0, 0, 7, 0, ...buildPacket(inside)) },
  });
const esp = buildPacket({ source: '192.0.2.1', target: '192.0.2.2', protocol: 50, payload: 'x'.repeat(20) });

test('dissect - what is inside a tunnel is shown with what is around it, and a tunnel that is not entered with its cause', async () => {
  const path = await captureOf('tunnels.pcap', [vxlan(14_789), esp]);
  const args = ['--tunnel', 'inner', '--tunnel-port', 'vxlan=14789', path];
  const { code, out, complaints } = dissect(['--json', ...args]);
  assert.equal(code, 0);
  const [first, second] = rowsOf(out);
  const { src, dst, sport, inner_src, inner_dst, inner_proto, inner_sport, inner_dport, tunnel, vni, vlan } = first;
  assert.deepEqual(
    [src, dst, sport, inner_src, inner_dst, inner_proto, inner_sport, inner_dport, tunnel, vni, vlan],
    ['192.0.2.1', '192.0.2.2', 50_000, '10.0.0.5', '10.0.0.80', 6, 40_000, 80, 'vxlan', '7', '3,9'],
  );
  assert.deepEqual([second.not_entered, second.inner_src], ['esp:unread', undefined]);
  assert.match(complaints, /^flowherd: .*tunnels\.pcap: tunnels not entered: 1 esp: encrypted, .*\n$/);
  const table = dissect(args).out.split('\n');
  assert.match(
    table[1],
    /10\.0\.0\.5:40000 +10\.0\.0\.80:80 +in vxlan 192\.0\.2\.1 to 192\.0\.2\.2, vni 7, vlan 3,9, start/,
  );
  assert.match(table[2], /not entered: esp unread/);
});

test('dissect - with the options and the secret of a cluster the hashes are those of its keyer', async () => {
  const packet = vxlan(4789);
  const path = await captureOf('secret.pcap', [packet]);
  const options = { ...usualCluster, tunnel: 'inner', within: ['vlan', 'vni'], groupKey: 'five-tuple' } as const;
  const keyer = keyerFor(mapFromOptions(options, 'the secret'), 'the secret');
  assert.equal(keyer.read(packet, 0, packet.length, 1, 0), 0);
  const hex = (word: number) => (word >>> 0).toString(16).padStart(8, '0');
  const args = ['--json', '--tunnel', 'inner', '--within', 'vlan,vni', '--group-key', 'five-tuple', path];
  const [row] = rowsOf(dissect(args, 'the secret').out);
  assert.deepEqual([row.flow_hash, row.group_hash], [hex(keyer.flowHi) + hex(keyer.flowLo), hex(keyer.groupHash)]);
  const [other] = rowsOf(dissect(args, 'another').out);
  assert.notEqual(other.flow_hash, row.flow_hash);
});

test('dissect - a packet that no frame can carry shows that tier 1 drops it', async () => {
  const payload = 'x'.repeat(65_000);
  const large = Uint8Array.of(
    ...buildPacket({ ...inside, tcp: { sourcePort: 1, targetPort: 2, payload } }),
    ...new Uint8Array(600),
  );
  const path = await captureOf('large.pcap', [large]);
  const [row] = rowsOf(dissect(['--json', path]).out);
  assert.deepEqual([row.class, row.reason, row.sport], ['dropped', 'oversize', 1]);
});

test('dissect - link types that are not read are named, and exit code 1 says that nothing was read', async () => {
  const path = await captureOf('wireless.pcap', [new Uint8Array(30)], 127);
  const { code, complaints } = dissect(['--tsv', path]);
  assert.equal(code, 1);
  assert.match(
    complaints,
    /^flowherd: .*wireless\.pcap: packets that are not read: 1 of link type 127 \(802\.11 with radiotap header\)\n$/,
  );
});

test('dissect - the small captures show what is inside', (t) => {
  for (const [name, args] of [
    ['min-erspan.pcap', ['--tunnel', 'inner']],
    ['min-vxlan.pcap', ['--tunnel', 'inner']],
    ['min-pw-mac-4c.pcap', []],
    ['min-pw-mac-6c.pcap', []],
    ['min-pw-control-word.pcap', []],
  ] as const) {
    const path = sharedCase(t, name);
    if (path === undefined) return;
    const { code, out } = dissect([...args, path]);
    assert.equal(code, 0);
    assert.match(out, /10\.0\.0\.5:40000 +10\.0\.0\.80:80/, name);
  }
});
