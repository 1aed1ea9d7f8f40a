// Receipts: which packets of a traffic generator's run a server has got. An actor answers them on `receipt.<run>`, many
// in a message, and the generator puts the answers of all servers together: a packet that two of them name was accepted
// twice, one that none names by nobody.
//
//   [ version, server, group, incarnation, sequence, isLast, skippedEntries, flows, evicted, expired, rows ]
//
//   sequence        counts the messages of this server to this run from 1: a hole means that receipts were lost
//   isLast          the server has left and will not speak again
//   skippedEntries  entries of the log that this actor has passed over since it saw the run first: they had been trimmed, or lay
//                   before a state that it fetched
//   flows           flows that it holds now
//   evicted         flows that it forgot since it saw the run first, for want of room; `expired`: because they were silent
//   rows            12 bytes each, little-endian
//                   0               4               8   9   10      12
//                   +---------------+---------------+---+---+-------+
//                   |   packet id   |     flow      |ver| 0 | waited|     id and flow are those of the packet's stamp
//                   +---------------+---------------+---+---+-------+
//
// `ver` says what became of the packet (`receiptVerdicts`). `waited` is how long the receipt waited for others, in units
// of 10 microseconds: whoever measures how long a packet took can leave that out. A message without rows, four times a
// second, says that the server is still there and where its numbering stands.

import { Packr } from 'msgpackr';
import { limits } from '../base/limits.ts';
import { isWhole } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';

const version = 2;
const fieldCount = 11;
const rowBytes = 12;
const waitedUnitsPerMs = 100;
const messageBytesMax = 64 * 1024;
const packr = new Packr({ useRecords: false });

/**
 * `accepted` is the server's own, and so is `repeated`, which a server that has died may have had before; the others are why an actor had to drop a packet of which nobody else can know more.
 * Several actors may drop one packet, and another one may still accept it.
 */
export const receiptVerdicts = ['accepted', 'tableFull', 'noServer', 'fragment', 'absent', 'repeated'] as const;

/** Who writes a message, and what it says beside its rows. */
export interface ReceiptHeader {
  readonly server: string;
  readonly group: string;
  /** Names the life of the server. */
  readonly incarnation: number;
  readonly sequence: number;
  readonly isLast: boolean;
  readonly skippedEntries: number;
  readonly flows: number;
  readonly evicted: number;
  readonly expired: number;
}

/** Collects the rows of one message. */
export class ReceiptRows {
  count = 0;
  readonly #bytes = new Uint8Array(limits.receiptRows * rowBytes);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #addedAtMs = new Float64Array(limits.receiptRows);

  get isFull(): boolean {
    return this.count === limits.receiptRows;
  }

  /** `verdict` is an index into `receiptVerdicts`. The caller has checked `isFull`. */
  add(id: number, flow: number, verdict: number, nowMs: number): void {
    const at = this.count * rowBytes;
    this.#view.setUint32(at, id, true);
    this.#view.setUint32(at + 4, flow, true);
    this.#view.setUint8(at + 8, verdict);
    this.#addedAtMs[this.count++] = nowMs;
  }

  /** The message with these rows; they are empty then. */
  finish(header: ReceiptHeader, nowMs: number): Uint8Array {
    for (let row = 0; row < this.count; row++) {
      const waited = Math.round((nowMs - this.#addedAtMs[row]) * waitedUnitsPerMs);
      this.#view.setUint16(row * rowBytes + 10, Math.max(0, Math.min(0xffff, waited)), true);
    }
    const rows = this.#bytes.subarray(0, this.count * rowBytes);
    this.count = 0;
    const { server, group, incarnation, sequence, isLast, skippedEntries, flows, evicted, expired } = header;
    const fields = [
      version,
      server,
      group,
      incarnation,
      sequence,
      isLast,
      skippedEntries,
      flows,
      evicted,
      expired,
      rows,
    ];
    return Uint8Array.from(packr.pack(fields));
  }
}

/** One decoded message, to be used again for the next. */
export class Receipt implements ReceiptHeader {
  server = '';
  group = '';
  incarnation = 0;
  sequence = 0;
  isLast = false;
  skippedEntries = 0;
  flows = 0;
  evicted = 0;
  expired = 0;
  count = 0;
  #rows: DataView = new DataView(new ArrayBuffer(0));

  /** Reads a message into this object; false, and the fields are meaningless, when it is none. */
  decode(message: Uint8Array): boolean {
    if (message.length > messageBytesMax) return false;
    let fields: unknown;
    try {
      fields = packr.unpack(message);
    } catch {
      return false;
    }
    if (!Array.isArray(fields) || fields.length !== fieldCount || fields[0] !== version) return false;
    const [, server, group, incarnation, sequence, isLast, skippedEntries, flows, evicted, expired, rows] = fields;
    if (!isNameValue(server) || !isNameValue(group) || typeof isLast !== 'boolean') return false;
    if (!isCount(incarnation) || !isCount(sequence) || sequence === 0) return false;
    if (!isCount(skippedEntries) || !isCount(flows) || !isCount(evicted) || !isCount(expired)) return false;
    if (!(rows instanceof Uint8Array) || rows.length % rowBytes !== 0) return false;
    this.server = server;
    this.group = group;
    this.incarnation = incarnation;
    this.sequence = sequence;
    this.isLast = isLast;
    this.skippedEntries = skippedEntries;
    this.flows = flows;
    this.evicted = evicted;
    this.expired = expired;
    this.count = rows.length / rowBytes;
    this.#rows = new DataView(rows.buffer, rows.byteOffset, rows.length);
    return true;
  }

  id(row: number): number {
    return this.#rows.getUint32(row * rowBytes, true);
  }

  flow(row: number): number {
    return this.#rows.getUint32(row * rowBytes + 4, true);
  }

  /** An index into `receiptVerdicts`, or a number beyond it. */
  verdict(row: number): number {
    return this.#rows.getUint8(row * rowBytes + 8);
  }

  waitedMs(row: number): number {
    return this.#rows.getUint16(row * rowBytes + 10, true) / waitedUnitsPerMs;
  }
}

/** The name of a run on the bus: 8 hex digits. */
export function runName(run: number): string {
  return (run >>> 0).toString(16).padStart(8, '0');
}

function isNameValue(value: unknown): value is string {
  return typeof value === 'string' && isName(value);
}

function isCount(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
