// The handler `flow-stats`: one record a flow, in the manner of NetFlow (RFC 3954): who talked to whom, from when to
// when, how many packets and bytes, and how it ended.
//
//   out       file for the records, one line of JSON each, when a flow ends. A file from before is replaced; the servers
//             of one process (a replay has several) share it, and each record names its server
//   top       the largest flows, by bytes, shown in the report; default 10
//   maxFlows  records of open flows held at once; default 131,072, about 250 bytes each
//
// Where flows have backups, what is counted of a flow outlives its server (`state`, handler.ts): its record is written once, by the server at which it ends, with
// every packet of its life. A shadow counts as well and writes nothing. `began` is where the log has the flow's first packet: a server that died a moment
// after it had written a record may not have said so, and its heir writes that record again, alike but for `server`. `isPartial`
// marks a record that lacks what a lost server had counted.
//
// Addresses and ports are read from the first packet a flow shows here, from the header that its key is made of. A flow beyond
// maxFlows is not recorded; its packets are counted as `packetsUnrecorded`, and so are packets that are flows of their own (key
// `packet`). Records that the disk takes too slowly are dropped and counted as well.

import { createWriteStream, type WriteStream, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isSingle, linkTypeOf } from '../../../../shared/flow/frameFlags.ts';
import { formatAddress } from '../../../../shared/packet/addressText.ts';
import { Headers, type IpLayer } from '../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../shared/packet/decode/parse.ts';
import { checkOptions, integerOption } from '../options.ts';
import { FlowMap, formatFlowId } from './flowMap.ts';
import type {
  FlowEndReason,
  FlowEvent,
  FlowOrigin,
  HandlerFactory,
  PacketBatch,
  ServerContext,
  ServerHandler,
} from './handler.ts';

/** A line of the output. `protocol` is the IP protocol number; the addresses are missing where the packet is not IP. */
export interface FlowRecord {
  readonly flow: string;
  readonly server: string;
  readonly protocol?: number;
  readonly source?: string;
  readonly sourcePort?: number;
  readonly target?: string;
  readonly targetPort?: number;
  /** Addresses of the tunnel's packet, where the ones above are from inside a tunnel. */
  readonly outer?: Endpoints;
  /** Packet time of the first and the last packet, milliseconds since 1970. */
  readonly firstMs: number;
  lastMs: number;
  packets: number;
  bytes: number;
  /** Place of the first packet in the log, where it is known (PacketBatch.place). */
  readonly began?: string;
  /** A server was lost with the beginning. */
  readonly isPartial?: true;
  /** `open` for flows that had not ended when the server stopped. */
  end: FlowEndReason | 'open';
}

/** Bytes of records given to the file and not yet written beyond which further records are dropped. */
const maxUnwrittenBytes = 16 * 1024 * 1024;

/** Files that servers of this process have begun: the first one empties a file, the others add to it. */
const begun = new Set<string>();

class FlowStats implements ServerHandler {
  readonly state = 'shadow';
  readonly #server: string;
  readonly #tunnels: ServerContext['tunnels'];
  /** Undefined for a shadow, too. */
  readonly #out: string | undefined;
  readonly #top: number;
  readonly #maxFlows: number;
  readonly #open = new FlowMap<FlowRecord>();
  /** Flows that came from a lost server, whose record has not come. */
  readonly #bereft = new FlowMap<true>();
  readonly #headers = new Headers();
  /** Ended flows only, largest first. */
  readonly #largest: FlowRecord[] = [];
  #file: WriteStream | undefined;
  #fileError: Error | undefined;
  #ended = 0;
  #packets = 0;
  #bytes = 0;
  #packetsUnrecorded = 0;
  #packetsRepeated = 0;
  #recordsDropped = 0;

  constructor(context: ServerContext) {
    const { options } = context;
    checkOptions('flow-stats', options, ['out', 'top', 'maxFlows']);
    this.#server = context.server;
    this.#tunnels = context.tunnels;
    this.#out = context.isShadow === true ? undefined : options.out;
    this.#top = integerOption(options, 'top', 10, 0, 1_000);
    this.#maxFlows = integerOption(options, 'maxFlows', 131_072, 1, 16_777_216);
  }

  async start(): Promise<void> {
    if (this.#out === undefined) return;
    const path = resolve(this.#out);
    if (!begun.has(path)) writeFileSync(path, '');
    begun.add(path);
    // Appending, so that the lines of several servers never overwrite each other.
    const file = createWriteStream(path, { flags: 'a' });
    await new Promise((open, fail) => file.once('open', open).once('error', fail));
    file.on('error', (error) => {
      this.#fileError ??= error;
    });
    this.#file = file;
  }

  onFlowStart({ hi, lo }: FlowEvent, origin: FlowOrigin): void {
    if (origin === 'promoted') this.#bereft.set(hi, lo, true);
  }

  onPackets(batch: PacketBatch): void {
    for (let i = 0; i < batch.count; i++) {
      if (batch.isRepeat && batch.isInState(i)) {
        this.#packetsRepeated++;
        continue;
      }
      const hi = batch.flowHi[i]!;
      const lo = batch.flowLo[i]!;
      const length = batch.lengths[i]!;
      this.#packets++;
      this.#bytes += length;
      let record = this.#open.get(hi, lo);
      if (record === undefined) {
        if (this.#open.size >= this.#maxFlows || isSingle(batch.flags[i]!)) {
          this.#packetsUnrecorded++;
          continue;
        }
        record = this.#begin(batch, i);
        this.#open.set(hi, lo, record);
      }
      record.packets++;
      record.bytes += length;
      record.lastMs = batch.timestampMs;
    }
  }

  onFlowEnd({ hi, lo }: FlowEvent, reason: FlowEndReason): void | Promise<void> {
    this.#bereft.delete(hi, lo);
    const record = this.#open.delete(hi, lo);
    return record === undefined ? undefined : this.#finish(record, reason);
  }

  saveFlow(hi: number, lo: number): Uint8Array | undefined {
    const record = this.#open.get(hi, lo);
    return record === undefined ? undefined : Buffer.from(JSON.stringify(record));
  }

  loadFlow(hi: number, lo: number, bytes: Uint8Array): void {
    const record = JSON.parse(Buffer.from(bytes).toString()) as FlowRecord;
    this.#bereft.delete(hi, lo);
    this.#open.set(hi, lo, { ...record, server: this.#server });
  }

  dropFlow(hi: number, lo: number): void {
    this.#bereft.delete(hi, lo);
    this.#open.delete(hi, lo);
  }

  async stop(): Promise<void> {
    for (const record of this.#open.values()) void this.#finish(record, 'open');
    this.#open.clear();
    const file = this.#file;
    if (file === undefined) return;
    await new Promise<void>((resolve) => file.end(() => resolve()));
    if (this.#fileError !== undefined) throw this.#fileError;
  }

  report(): Record<string, unknown> {
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      openFlows: this.#open.size,
      endedFlows: this.#ended,
      packetsUnrecorded: this.#packetsUnrecorded,
      ...(this.#packetsRepeated === 0 ? {} : { packetsRepeated: this.#packetsRepeated }),
      recordsDropped: this.#recordsDropped,
      ...(this.#fileError === undefined ? {} : { error: this.#fileError.message }),
      top: this.#largestNow(),
    };
  }

  #begin(batch: PacketBatch, i: number): FlowRecord {
    const offset = batch.offsets[i]!;
    const headers = this.#headers;
    // What the parser finds wrong is no matter here: as much as could be read is in the headers.
    parse(batch.data, offset, offset + batch.lengths[i]!, linkTypeOf(batch.flags[i]!), headers, this.#tunnels);
    const { keyed, outer } = headers;
    const hi = batch.flowHi[i]!;
    const lo = batch.flowLo[i]!;
    const began = batch.place(i);
    return {
      flow: formatFlowId(hi, lo),
      server: this.#server,
      ...endpoints(batch.data, keyed),
      ...(keyed === outer ? {} : { outer: endpoints(batch.data, outer) }),
      firstMs: batch.timestampMs,
      lastMs: batch.timestampMs,
      packets: 0,
      bytes: 0,
      ...(began === '' ? {} : { began }),
      ...(this.#bereft.delete(hi, lo) === undefined ? {} : { isPartial: true }),
      end: 'open',
    };
  }

  /** Resolves when the file has the record. */
  #finish(record: FlowRecord, reason: FlowRecord['end']): Promise<void> | undefined {
    record.end = reason;
    this.#ended++;
    rank(this.#largest, record, this.#top);
    const file = this.#file;
    if (file === undefined) return undefined;
    if (this.#fileError === undefined && file.writableLength <= maxUnwrittenBytes) {
      return new Promise((resolve) => file.write(`${JSON.stringify(record)}\n`, () => resolve()));
    }
    this.#recordsDropped++;
    return undefined;
  }

  /** The largest flows, ended or open; one pass over the open ones. */
  #largestNow(): FlowRecord[] {
    const largest = [...this.#largest];
    for (const record of this.#open.values()) rank(largest, record, this.#top);
    return largest.map((record) => ({ ...record }));
  }
}

/** Puts the record in its place among the `top` largest, or leaves it when it is smaller than all of them. */
function rank(largest: FlowRecord[], record: FlowRecord, top: number): void {
  if (top === 0 || (largest.length >= top && record.bytes <= largest[largest.length - 1]!.bytes)) return;
  let at = largest.length;
  while (at > 0 && largest[at - 1]!.bytes < record.bytes) at--;
  largest.splice(at, 0, record);
  if (largest.length > top) largest.pop();
}

type Endpoints = Pick<FlowRecord, 'protocol' | 'source' | 'sourcePort' | 'target' | 'targetPort'>;

function endpoints(data: Uint8Array, ip: IpLayer): Endpoints {
  if (ip.version === 0) return {};
  const bytes = ip.version === 4 ? 4 : 16;
  return {
    protocol: ip.protocol,
    source: formatAddress(data, ip.source, ip.source + bytes),
    ...(ip.sourcePort < 0 ? {} : { sourcePort: ip.sourcePort }),
    target: formatAddress(data, ip.target, ip.target + bytes),
    ...(ip.targetPort < 0 ? {} : { targetPort: ip.targetPort }),
  };
}

const create: HandlerFactory = (context) => new FlowStats(context);

export default create;
