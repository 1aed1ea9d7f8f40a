// The dissect command as its users meet it: its three forms, its complaints and its exit codes.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Writable } from 'node:stream';
import test from 'node:test';
import { type DissectForm, dissect, dissectColumns } from '../../../../services/cli/inspect/dissect.ts';
import type { KeyOptions } from '../../../../shared/flow/keyer.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../../shared/packet/encode/build.ts';
import { writeTiny } from '../../../support/tinyCapture.ts';

const ports = { sourcePort: 4000, targetPort: 443 };
const syn: PacketSpec = { source: '10.0.0.1', target: '192.0.2.1', vlans: [7], tcp: { ...ports, flags: 'S' } };
const reset: PacketSpec = { source: '2001:db8::1', target: '::ffff:192.0.2.1', tcp: { ...ports, flags: 'RA' } };
const large: PacketSpec = { source: '10.0.0.1', target: '192.0.2.1', udp: { ...ports, payload: 'x'.repeat(60) } };
const packets = [
  buildPacket(syn),
  buildPacket(reset),
  ...fragmentPacket({ ...large, identification: 3 }, 48),
  buildPacket({ etherType: 0x0806 }),
  buildPacket(syn).subarray(0, 30),
];

const folder = mkdtempSync(join(tmpdir(), 'dissect-'));
test.after(() => rmSync(folder, { recursive: true }));

async function captureOf(bytes: readonly Uint8Array[], name: string): Promise<string> {
  const path = join(folder, name);
  const rows = bytes.map((packet) => ({ bytes: packet, originalLength: packet.length, timeMs: 0, linkType: 1 }));
  writeFileSync(path, await writeTiny(rows));
  return path;
}

async function run(path: string, form: DissectForm, options: Partial<KeyOptions> = {}) {
  const texts = { out: '', complaints: '' };
  const collect = (name: keyof typeof texts) =>
    new Writable({
      write(chunk, _encoding, done) {
        texts[name] += chunk;
        done();
      },
    });
  const code = await dissect(path, { secret: 'x', ...options }, form, collect('out'), collect('complaints'));
  return { code, ...texts };
}

/** Runs the command itself, with arguments after `dissect`. */
function command(args: readonly string[], input?: Uint8Array) {
  const source = resolve(import.meta.dirname, '../../../../services/cli/inspect/dissect.ts');
  const script = `const { dissectCommand } = await import(${JSON.stringify(source)});
    await dissectCommand(() => ({ secret: process.env.FLOWHERD_SECRET })).parseAsync(process.argv.slice(1), { from: 'user' });`;
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', script, '--', ...args], {
    input,
    encoding: 'utf8',
  });
  return { code: result.status, out: result.stdout, complaints: result.stderr };
}

test('dissect - tab-separated cells: one line a packet under the header, empty where there is nothing', async () => {
  const { code, out, complaints } = await run(await captureOf(packets, 'all.pcap'), 'tsv');
  assert.deepEqual([code, complaints], [0, '']);
  const [header, ...lines] = out.slice(0, -1).split('\n');
  assert.equal(header, dissectColumns.join('\t'));
  const isHash = (cell: string) => /^(?:[0-9a-f]{16}|[0-9a-f]{8})$/.test(cell);
  const shown = lines.map((line) => {
    const cells = line.split('\t').map((cell) => (isHash(cell) ? '#' : cell));
    // What belongs to tunnels, and to keys of other things than addresses and ports, is empty here.
    assert.deepEqual(cells.splice(20), new Array(9).fill(''));
    return cells;
  });
  const some = ['#', '#'];
  assert.deepEqual(shown, [
    [
      '1',
      '4',
      '10.0.0.1',
      '192.0.2.1',
      '6',
      '4000',
      '443',
      '0x0002',
      '',
      '',
      'type1',
      '1',
      '0',
      ...some,
      '',
      '7',
      '',
      'tcp',
      '0',
    ],
    [
      '2',
      '6',
      '2001:db8::1',
      '::ffff:192.0.2.1',
      '6',
      '4000',
      '443',
      '0x0014',
      '',
      '',
      'type1',
      '0',
      '1',
      ...some,
      '',
      '',
      '',
      'tcp',
      '0',
    ],
    [
      '3',
      '4',
      '10.0.0.1',
      '192.0.2.1',
      '17',
      '4000',
      '443',
      '',
      '0',
      '1',
      'type2',
      '0',
      '0',
      ...some,
      '',
      '',
      '#',
      'udp',
      '0',
    ],
    [
      '4',
      '4',
      '10.0.0.1',
      '192.0.2.1',
      '17',
      '',
      '',
      '',
      '48',
      '0',
      'type2',
      '0',
      '0',
      '',
      '#',
      '',
      '',
      '#',
      'udp',
      '0',
    ],
    ['5', '', '', '', '', '', '', '', '', '', 'non-ip', '0', '0', ...some, '', '', '', 'non-ip', '0'],
    ['6', '', '', '', '', '', '', '', '', '', 'malformed', '0', '0', '', '', 'ipv4-header-cut', '7', '', '', '0'],
  ]);
  const cells = lines.map((line) => line.split('\t'));
  assert.equal(cells[2][17], cells[3][17]);
  assert.equal(new Set([cells[0][14], cells[2][14], cells[3][14]]).size, 1);
});

test('dissect - a line of JSON holds what the line of cells holds, absent values left out', async () => {
  const path = await captureOf(packets, 'same.pcap');
  const [tsv, json] = [await run(path, 'tsv'), await run(path, 'json')];
  const objects = json.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const lines = tsv.out.trimEnd().split('\n').slice(1);
  assert.equal(objects.length, lines.length);
  for (const [i, line] of lines.entries()) {
    const cells = line.split('\t').map((cell, column) => [dissectColumns[column], cell]);
    const expected = Object.fromEntries(cells.filter(([, cell]) => cell !== ''));
    assert.deepEqual(Object.fromEntries(Object.entries(objects[i]).map(([k, v]) => [k, String(v)])), expected);
  }
});

test('dissect - the table for people is aligned and says what was seen', async () => {
  const { out } = await run(await captureOf(packets, 'table.pcap'), 'table');
  const lines = out.trimEnd().split('\n');
  assert.equal(lines.length, packets.length + 1);
  assert.match(lines[1], /10\.0\.0\.1:4000 .* 192\.0\.2\.1:443 .* vlan 7, start/);
  assert.match(lines[2], /\[2001:db8::1\]:4000/);
  assert.match(lines[4], /fragment at 48 +~[0-9a-f]{16}/);
  const column = lines[0].indexOf('destination');
  for (const line of lines.slice(1, 4)) assert.match(line.slice(column - 2, column + 1), /^ {2}\S$/);
});

test('dissect - policy, direction and tunnel reach the keys', async () => {
  const there = buildPacket(large);
  const back = buildPacket({
    source: large.target!,
    target: large.source!,
    udp: { sourcePort: 443, targetPort: 4000 },
  });
  const path = await captureOf([there, back], 'both.pcap');
  const hashes = (options: Partial<KeyOptions>) =>
    run(path, 'json', options).then(({ out }) =>
      out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    );
  const [folded, directed, coarse] = [
    await hashes({}),
    await hashes({ symmetric: false }),
    await hashes({ flowKey: 'address-pair' }),
  ];
  assert.equal(folded[0].flow_hash, folded[1].flow_hash);
  assert.notEqual(directed[0].flow_hash, directed[1].flow_hash);
  assert.equal(coarse[0].aggregate, 1);
  assert.notEqual(coarse[0].flow_hash, folded[0].flow_hash);
});

test('dissect - a capture that breaks off is shown up to there, with one line of complaint', async () => {
  const path = await captureOf(packets, 'broken.pcap');
  const whole = await writeTiny([{ bytes: packets[0], originalLength: 99, timeMs: 0, linkType: 1 }]);
  writeFileSync(path, Buffer.concat([whole, Buffer.alloc(9, 0xff)]));
  const { code, out, complaints } = await run(path, 'tsv');
  assert.equal(code, 0);
  assert.equal(out.trimEnd().split('\n').length, 2);
  assert.match(complaints, /^flowherd: .*broken\.pcap: .*\n$/);
});

test('dissect - what cannot be read at all is one line and exit code 1', async () => {
  for (const [name, content] of [
    ['missing.pcap', undefined],
    ['text.pcap', 'this is no capture at all, just text'],
  ] as const) {
    const path = join(folder, name);
    if (content !== undefined) writeFileSync(path, content);
    const { code, complaints } = await run(path, 'tsv');
    assert.equal(code, 1);
    assert.match(complaints, new RegExp(`^flowherd: [^\n]*${name}[^\n]*\n$`));
  }
});

test('dissect - a reader that closes the pipe ends the work quietly', async () => {
  const path = await captureOf(new Array(3_000).fill(packets[0]), 'long.pcap');
  let complaints = '';
  let writes = 0;
  const closed = new Writable({
    write(_chunk, _encoding, done) {
      writes++;
      done(writes > 1 ? Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }) : null);
    },
  });
  const listener = new Writable({
    write(chunk, _encoding, done) {
      complaints += chunk;
      done();
    },
  });
  assert.equal(await dissect(path, { secret: 'x' }, 'tsv', closed, listener), 0);
  assert.deepEqual([writes, complaints], [2, '']);
});

test('dissect - the command: help, standard input, and exit code 2 for wrong arguments', async () => {
  const help = command(['--help']);
  assert.equal(help.code, 0);
  assert.match(help.out, /Examples:\n {2}\$ npx flowherd dissect traffic\.pcapng/);
  const rows = packets.map((bytes) => ({ bytes, originalLength: bytes.length, timeMs: 0, linkType: 1 }));
  const piped = command(['--tsv', '-'], await writeTiny(rows));
  assert.deepEqual([piped.code, piped.complaints], [0, '']);
  assert.equal(piped.out.split('\n').length, packets.length + 2);
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['--key', 'port', 'x.pcap'], /Allowed choices are five-tuple/],
    [['--group-key', 'vlan', 'x.pcap'], /^flowherd: dissect: group key 'vlan' is not coarser/],
    [['--key', 'subscriber', 'x.pcap'], /^flowherd: dissect: .*subscriber networks/],
    [['--json', '--tsv', 'x.pcap'], /cannot be used with/],
    [['--secret-file', join(folder, 'none'), 'x.pcap'], /^flowherd: dissect: the secret file .* cannot be read/],
    [[], /missing required argument 'file'/],
  ];
  for (const [args, complaint] of wrong) {
    const { code, complaints } = command(args);
    assert.equal(code, 2, args.join(' '));
    assert.match(complaints, complaint);
    assert.equal(complaints.trimEnd().split('\n').length, 1);
  }
});

test('dissect - an IPv4 address within an IPv6 address is written as such', async () => {
  const sources = ['::1.2.3.4', '::ffff:1.2.3.4', '::1', '::', '2001:db8::1:2', '::1:2:3'];
  const bytes = sources.map((source) => buildPacket({ source, target: '2001:db8::2', protocol: 59 }));
  const { out } = await run(await captureOf(bytes, 'embedded.pcap'), 'tsv');
  const shown = out.trimEnd().split('\n').slice(1);
  assert.deepEqual(
    shown.map((line) => line.split('\t')[2]),
    sources,
  );
});
