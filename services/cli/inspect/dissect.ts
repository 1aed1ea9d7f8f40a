// `flowherd dissect`: what tier 1 sees in every packet of a capture. It asks the very keyer that the hot path uses and
// shows what that found: the outermost IP header, ports, flags, which flow and group hash follow, or why there is none; and
// the inner header where that is what the keys are made of. It has the options of a cluster by the same names (config/keys.ts).
// It answers "why did this packet go there?", and its tables can be compared with those of other dissectors.
//
// Three forms: an aligned table for people, a line of tab-separated cells, or a line of JSON a packet. All are written as
// they are made, a batch at a time, so a capture may be larger than memory and a closed pipe just ends the work.
import { readFileSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { Command, Option } from 'commander';
import { FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import { eachBatch, readCapture } from '../../../shared/capture/reader.ts';
import { FrameFlags, protocolClassOf } from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { notEnteredInWords } from '../../../shared/flow/tunnelCounts.ts';
import { formatAddress } from '../../../shared/packet/addressText.ts';
import { Fragment, type IpLayer } from '../../../shared/packet/decode/headers.ts';
import { UnreadLinkTypes } from '../../../shared/packet/decode/link/linkTypes.ts';
import { reasons } from '../../../shared/packet/decode/reasons.ts';
import { tunnelKinds, tunnelOutcomes } from '../../../shared/packet/decode/tunnels/kinds.ts';
import type { Tier1Drop } from '../../tier1/distribute.ts';
import { addKeyOptions, type KeyChoice, keyOptionsOf, keySettings } from '../config/keys.ts';
import type { Environment } from '../process/environment.ts';
import { madeOf } from './madeOf.ts';

/** The columns of --tsv and the keys of --json, in order. An absent value is an empty cell, and no key in JSON. */
export const dissectColumns = [
  'frame',
  'ip_version',
  'src',
  'dst',
  'proto',
  'sport',
  'dport',
  'tcp_flags',
  'frag_offset',
  'more_fragments',
  'class',
  'flow_start',
  'flow_end',
  'flow_hash',
  'group_hash',
  'reason',
  'vlan',
  'datagram_hash',
  'protocol_class',
  'aggregate',
  'inner_src',
  'inner_dst',
  'inner_proto',
  'inner_sport',
  'inner_dport',
  'tunnel',
  'vni',
  'not_entered',
  'key',
] as const;

/** One packet as tier 1 sees it, in the order of `dissectColumns`; '' where there is nothing. */
export type DissectRow = (string | number)[];

export type DissectForm = 'table' | 'tsv' | 'json';

/** Turns packets into rows. */
export class Dissector {
  readonly keyer: FlowKeyer;
  #frame = 0;

  /** Throws an Error when the options do not go together. */
  constructor(options: KeyOptions) {
    this.keyer = new FlowKeyer(options);
  }

  /** The row of the next packet, numbered from 1. */
  row(buffer: Uint8Array, start: number, end: number, linkType: number, link: number): DissectRow {
    const { keyer } = this;
    const reason = keyer.read(buffer, start, end, linkType, link);
    const { outer, keyed: inner, passage, link: linkLayer } = keyer.headers;
    const keyed = reason === 0;
    // Tier 1 looks at the keys first and at the length after.
    const isOversize = keyed && end - start > limits.packetBytes;
    const flags = keyed ? keyer.flags : 0;
    const later = (flags & FrameFlags.LATER_FRAGMENT) !== 0;
    const class_ = !keyed
      ? reasons[reason].class
      : isOversize
        ? 'dropped'
        : outer.version === 0
          ? 'non-ip'
          : typeOf(flags);
    return [
      ++this.#frame,
      ...(outer.version === 0 ? noHeader : headerCells(buffer, outer)),
      class_,
      flags & FrameFlags.START ? 1 : 0,
      flags & FrameFlags.END ? 1 : 0,
      keyed && !later ? hex64(keyer.flowHi, keyer.flowLo) : '',
      keyed ? hex32(keyer.groupHash) : '',
      keyed ? (isOversize ? oversize : '') : reasons[reason].name,
      [...linkLayer.vlans.subarray(0, linkLayer.vlanCount), ...passage.vlans.subarray(0, passage.vlanCount)].join(','),
      keyer.hasDatagram || later ? hex64(keyer.datagramHi, keyer.datagramLo) : '',
      keyed ? protocolClassOf(flags) : '',
      flags & FrameFlags.AGGREGATE ? 1 : 0,
      ...(inner === outer ? noInner : innerCells(buffer, inner)),
      [...passage.tunnels.subarray(0, passage.depth)].map((kind) => tunnelKinds[kind].name).join(','),
      passage.vnis.subarray(0, passage.vniCount).join(','),
      passage.outcome === 0 ? '' : `${tunnelKinds[passage.closed].name}:${tunnelOutcomes[passage.outcome]}`,
      keyed ? madeOf(keyer, buffer) : '',
    ];
  }
}

/** The drop of tier 1 for what no frame can carry. */
const oversize = 'oversize' satisfies Tier1Drop;

const noInner = ['', '', '', '', ''];

function innerCells(buffer: Uint8Array, layer: IpLayer): (string | number)[] {
  const [, source, target, protocol, sourcePort, targetPort] = headerCells(buffer, layer);
  return [source, target, protocol, sourcePort, targetPort];
}

const noHeader = ['', '', '', '', '', '', '', '', ''];

function headerCells(buffer: Uint8Array, layer: IpLayer): (string | number)[] {
  const whole = layer.fragment === Fragment.WHOLE;
  return [
    layer.version,
    addressText(buffer, layer.source, layer.version),
    addressText(buffer, layer.target, layer.version),
    layer.protocol,
    layer.sourcePort < 0 ? '' : layer.sourcePort,
    layer.targetPort < 0 ? '' : layer.targetPort,
    layer.tcpFlags < 0 ? '' : `0x${layer.tcpFlags.toString(16).padStart(4, '0')}`,
    whole ? '' : layer.fragmentOffset,
    whole ? '' : layer.moreFragments,
  ];
}

function typeOf(flags: number): string {
  return flags & FrameFlags.TYPE1 ? 'type1' : 'type2';
}

function addressText(buffer: Uint8Array, offset: number, version: number): string {
  const text = formatAddress(buffer, offset, offset + (version === 4 ? 4 : 16));
  // Addresses with an IPv4 address in them (RFC 4291 section 2.5.5) are written with it as such (RFC 5952 section 5).
  const parts = text.split(':');
  if (parts.length === 5 && text.startsWith('::ffff:'))
    return `::ffff:${formatAddress(buffer, offset + 12, offset + 16)}`;
  if (parts.length === 4 && text.startsWith('::')) return `::${formatAddress(buffer, offset + 12, offset + 16)}`;
  return text;
}

function hex32(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}

function hex64(hi: number, lo: number): string {
  return (hi >>> 0).toString(16).padStart(8, '0') + (lo >>> 0).toString(16).padStart(8, '0');
}

/**
 * Dissects the capture at `path` ('-' is standard input) and writes it to `out`, complaints to `complaints`. Returns the
 * exit code: 0, also when the capture breaks off after its first packets, or 1 when nothing of it could be read. Throws when the options are wrong.
 */
export async function dissect(
  path: string,
  options: KeyOptions,
  form: DissectForm,
  out: Writable,
  complaints: Writable,
): Promise<number> {
  const dissector = new Dissector(options);
  const unread = new UnreadLinkTypes();
  const writer = writers[form]();
  // Without a listener a pipe closed by its reader would end the process with a stack trace; write() reports it as well,
  // and the event may come after it, so the listener stays.
  out.on('error', () => {});
  try {
    await write(out, writer.header);
    const { packets, problem } = await eachBatch(readCapture(path), async (batch) => {
      const { buffer, count, offsets, lengths, linkTypes, interfaces } = batch;
      unread.add(linkTypes, count);
      const rows: DissectRow[] = [];
      for (let index = 0; index < count; index++) {
        const start = offsets[index];
        rows.push(dissector.row(buffer, start, start + lengths[index], linkTypes[index], interfaces[index]));
      }
      await write(out, writer.rows(rows));
    });
    const name = path === '-' ? 'standard input' : path;
    const said = [problem, unread.words, notEnteredLine(dissector.keyer)].filter((line) => line !== undefined);
    for (const line of said) complaints.write(`flowherd: ${name}: ${line}\n`);
    return unread.isAll || (problem !== undefined && packets === 0) ? 1 : 0;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'EPIPE') return 0;
    complaints.write(`flowherd: ${reasonOf(error)}\n`);
    return 1;
  }
}

function notEnteredLine({ tunnels }: FlowKeyer): string | undefined {
  const words = notEnteredInWords(tunnels.report);
  return words.length === 0 ? undefined : `tunnels not entered: ${words.join('; ')}`;
}

/** Resolves when the stream has taken the text, so that a slow reader slows the work instead of filling memory. */
function write(out: Writable, text: string): Promise<void> {
  if (text === '') return Promise.resolve();
  return new Promise((resolve, reject) => {
    out.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

interface RowWriter {
  readonly header: string;
  rows(rows: readonly DissectRow[]): string;
}

const writers: Readonly<Record<DissectForm, () => RowWriter>> = {
  tsv: () => ({
    header: `${dissectColumns.join('\t')}\n`,
    rows: (rows) => rows.map((row) => `${row.join('\t')}\n`).join(''),
  }),
  json: () => ({
    header: '',
    rows: (rows) => rows.map((row) => `${jsonOf(row)}\n`).join(''),
  }),
  table: tableWriter,
};

function jsonOf(row: DissectRow): string {
  return JSON.stringify(
    Object.fromEntries(dissectColumns.map((name, i) => [name, row[i]]).filter(([, cell]) => cell !== '')),
  );
}

/** Columns for people. A column is as wide as what was seen so far, so it can widen from one batch to the next. */
function tableWriter(): RowWriter {
  const titles = ['frame', 'class', 'proto', 'source', 'destination', 'seen', 'flow hash', 'group hash', 'reason'];
  const widths = titles.map((title) => title.length);
  let titled = false;
  return {
    header: '',
    rows(rows) {
      const cells = rows.map(tableCells);
      for (const line of cells) for (const [i, cell] of line.entries()) widths[i] = Math.max(widths[i], cell.length);
      if (!titled) cells.unshift(titles);
      titled = true;
      return cells
        .map(
          (line) =>
            `${line
              .map((cell, i) => cell.padEnd(widths[i]))
              .join('  ')
              .trimEnd()}\n`,
        )
        .join('');
    },
  };
}

function tableCells(row: DissectRow): string[] {
  const cell = Object.fromEntries(dissectColumns.map((name, i) => [name, String(row[i])]));
  const end = (address: string, port: string) =>
    port === '' ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const isInner = cell.inner_src !== '';
  const seen = [
    isInner ? `in ${cell.tunnel.replaceAll(',', ', ')} ${cell.src} to ${cell.dst}` : '',
    cell.vni === '' ? '' : `vni ${cell.vni}`,
    cell.not_entered === '' ? '' : `not entered: ${cell.not_entered.replace(':', ' ')}`,
    cell.key,
    cell.vlan === '' ? '' : `vlan ${cell.vlan}`,
    cell.flow_start === '1' ? 'start' : '',
    cell.flow_end === '1' ? 'end' : '',
    cell.aggregate === '1' ? 'aggregate' : '',
    cell.frag_offset === '' ? '' : `fragment at ${cell.frag_offset}`,
  ].filter((part) => part !== '');
  const number = isInner ? cell.inner_proto : cell.proto;
  const proto = cell.protocol_class === 'other' || cell.protocol_class === '' ? number : cell.protocol_class;
  return [
    cell.frame,
    cell.class,
    proto,
    isInner ? end(cell.inner_src, cell.inner_sport) : end(cell.src, cell.sport),
    isInner ? end(cell.inner_dst, cell.inner_dport) : end(cell.dst, cell.dport),
    seen.join(', '),
    cell.flow_hash === '' && cell.datagram_hash !== '' ? `~${cell.datagram_hash}` : cell.flow_hash,
    cell.group_hash,
    cell.reason,
  ];
}

/** Key of the hashes where no cluster's secret is given: the output is the same everywhere, and nobody's real hashes. */
const publicSecret = 'flowherd dissect';

interface DissectOptions extends KeyChoice {
  readonly secretFile?: string;
  readonly json?: boolean;
  readonly tsv?: boolean;
}

/** The command line of `dissect`. Exit codes: 0; 1 when nothing of the capture can be read; 2 for wrong arguments. */
export function dissectCommand(environment: () => Pick<Environment, 'secret'>): Command {
  const command = new Command('dissect')
    .summary('show how tier 1 sees each packet of a capture: headers, flow and group hash, or why it has none')
    .description('Shows how tier 1 sees each packet of a capture: headers, flow and group hash, or why it has none.')
    .argument('<file>', "pcap or pcapng, packed with gzip or zstd too; '-' reads standard input");
  return addKeyOptions(command)
    .option(
      '--secret-file <file>',
      "the cluster's secret, to see its very hashes; default: FLOWHERD_SECRET, or a public one",
    )
    .addOption(new Option('--json', 'one JSON object a line').conflicts('tsv'))
    .addOption(new Option('--tsv', 'tab-separated cells with a header line').conflicts('json'))
    .addHelpText(
      'after',
      `
Examples:
  $ npx flowherd dissect traffic.pcapng
  $ npx flowherd dissect --tsv --key subscriber --subscribers 10.0.0.0/8 traffic.pcap | cut -f 1,3,4,14
  $ npx flowherd dissect --tunnel inner --tunnel-port vxlan=14789 --within vni traffic.pcap
  $ tcpdump -i lo -w - | npx flowherd dissect --json -

With the options and the secret of a cluster the hashes are the cluster's. FLOWHERD_SECRET or FLOWHERD_SECRET_FILE names the
secret, as for the cluster. A hash after '~' in the table is that of a datagram: the fragment has no ports and finds its flow by
the first one. What is inside a tunnel is shown in place of the addresses around it, which stand beside. What a key was made of stands
beside too, where it is not addresses and ports: a subscriber, a TEID, a Call-ID, a connection id.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .action(async (file: string, options: DissectOptions) => {
      const form = options.json ? 'json' : options.tsv ? 'tsv' : 'table';
      try {
        const given = options.secretFile === undefined ? environment().secret : readSecret(options.secretFile);
        const keys = keyOptionsOf(keySettings(options), given ?? publicSecret);
        process.exitCode = await dissect(file, keys, form, process.stdout, process.stderr);
      } catch (error) {
        process.stderr.write(`flowherd: dissect: ${reasonOf(error)}\n`);
        process.exitCode = 2;
      }
    });
}

/** The file's first line is the secret. */
function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n', 1)[0].trim();
  } catch (error) {
    throw new FlowherdError('bad-file', `the secret file ${path} cannot be read: ${reasonOf(error)}`, error);
  }
}
