// Answers of servers on their way to the tier 1 by which their clients came in. A server's answer to a UDP client can only
// leave from the socket that the client talks to, and that socket is tier 1's. Like packets, answers travel in batches:
//
//   [ format, server, incarnation, sequence, count, meta, payload ]
//
//   meta     count rows of 40 bytes, network byte order; IPv4 addresses fill 4 of 16 bytes, the rest is 0
//            0       1       2       4            6          8                  24                 40
//            +-------+-------+-------+------------+----------+------------------+------------------+
//            | 4 / 6 |   0   | length| clientPort | vipPort  | client's address | VIP's address    |
//            +-------+-------+-------+------------+----------+------------------+------------------+
//   payload  the datagrams' bytes, end to end, in row order
//
// `sequence` counts the messages of one life (`incarnation`) of a server to one tier 1, so that holes show. The VIP is
// the address and port that the client sent to, and says from which socket the answer has to leave.

import { Packr } from 'msgpackr';
import { limits } from '../base/limits.ts';
import { isWhole } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';
import { u16 } from '../packet/bytes.ts';

export const answerRowBytes = 40;
const format = 1;
const fieldCount = 7;
/** First byte of a MessagePack array of seven elements. */
const arrayOfSeven = 0x90 | fieldCount;
const packr = new Packr({ useRecords: false });

/** Who the two ends are, as a row says it; the length is filled in when there is an answer. */
export interface AnswerEnds {
  readonly client: Uint8Array;
  readonly clientPort: number;
  readonly vip: Uint8Array;
  readonly vipPort: number;
}

/** The row of a client and the VIP that it talks to. Both addresses have 4 bytes, or both have 16. */
export function answerRow({ client, clientPort, vip, vipPort }: AnswerEnds): Uint8Array {
  const row = new Uint8Array(answerRowBytes);
  const view = new DataView(row.buffer);
  row[0] = client.length === 4 ? 4 : 6;
  view.setUint16(4, clientPort);
  view.setUint16(6, vipPort);
  row.set(client, 8);
  row.set(vip, 24);
  return row;
}

/** Where an answer comes from, and its place among those of its sender. */
export interface AnswersHeader {
  readonly server: string;
  readonly incarnation: number;
  readonly sequence: number;
}

/** Collects answers to one tier 1. */
export class AnswersBuilder {
  count = 0;
  readonly #meta = Buffer.alloc(limits.answerRows * answerRowBytes);
  #payload = Buffer.allocUnsafe(limits.frameTargetBytes);
  #bytes = 0;

  /** True when an answer of `length` bytes must go into the next message. */
  isFull(length: number): boolean {
    return this.count === limits.answerRows || (this.count > 0 && this.#bytes + length > limits.frameTargetBytes);
  }

  /** Appends a datagram of at most `limits.udpPayloadBytes`; the caller has checked `isFull`. */
  add(row: Uint8Array, datagram: Uint8Array): void {
    const at = this.count++ * answerRowBytes;
    this.#meta.set(row, at);
    this.#meta.writeUInt16BE(datagram.length, at + 2);
    const end = this.#bytes + datagram.length;
    // Only a datagram above the target can need more room, and it is alone.
    if (end > this.#payload.length) this.#payload = Buffer.allocUnsafe(end);
    this.#payload.set(datagram, this.#bytes);
    this.#bytes = end;
  }

  /** The message, and an empty builder. */
  finish({ server, incarnation, sequence }: AnswersHeader): Uint8Array {
    const meta = this.#meta.subarray(0, this.count * answerRowBytes);
    const payload = this.#payload.subarray(0, this.#bytes);
    const message = packr.pack([format, server, incarnation, sequence, this.count, meta, payload]);
    this.count = 0;
    this.#bytes = 0;
    return Uint8Array.from(message);
  }
}

/** Why a message on a return subject holds no answers. */
export const answerFaults = ['size', 'encoding', 'shape', 'format', 'count', 'rows'] as const;
export type AnswerFault = (typeof answerFaults)[number];

/** A decoded message, to be used again for the next. What it holds are views into the message. */
export class Answers implements AnswersHeader {
  server = '';
  incarnation = 0;
  sequence = 0;
  count = 0;
  meta: Uint8Array = new Uint8Array(0);
  payload: Uint8Array = new Uint8Array(0);

  /**
   * Reads a message into this object. The bytes come from the network: what is wrong with them is an answer, never an
   * exception; after it the fields are meaningless.
   */
  decode(message: Uint8Array): 'none' | AnswerFault {
    if (message.length < 2 || message.length > limits.frameMaxBytes) return 'size';
    if (message[0] !== arrayOfSeven) return 'encoding';
    let fields: unknown;
    try {
      fields = packr.unpack(message);
    } catch {
      return 'encoding';
    }
    if (!Array.isArray(fields) || fields.length !== fieldCount) return 'shape';
    const [version, server, incarnation, sequence, count, meta, payload] = fields;
    if (version !== format) return typeof version === 'number' ? 'format' : 'shape';
    if (typeof server !== 'string' || !isName(server) || !isCounter(incarnation) || !isCounter(sequence))
      return 'shape';
    if (!(meta instanceof Uint8Array) || !(payload instanceof Uint8Array)) return 'shape';
    if (!isWhole(count, 0, limits.answerRows) || meta.length !== count * answerRowBytes) return 'count';
    this.server = server;
    this.incarnation = incarnation;
    this.sequence = sequence;
    this.count = count;
    this.meta = meta;
    this.payload = payload;
    let sum = 0;
    for (let row = 0; row < count; row++) {
      const family = meta[row * answerRowBytes];
      if ((family !== 4 && family !== 6) || this.length(row) > limits.udpPayloadBytes) return 'rows';
      sum += this.length(row);
    }
    return sum === payload.length ? 'none' : 'rows';
  }

  /** 4 or 16: the bytes of both addresses of a row. */
  addressBytes(row: number): 4 | 16 {
    return this.meta[row * answerRowBytes] === 4 ? 4 : 16;
  }

  length(row: number): number {
    return u16(this.meta, row * answerRowBytes + 2);
  }

  clientPort(row: number): number {
    return u16(this.meta, row * answerRowBytes + 4);
  }

  vipPort(row: number): number {
    return u16(this.meta, row * answerRowBytes + 6);
  }

  /** Where in `meta` the addresses of a row begin. */
  clientAt(row: number): number {
    return row * answerRowBytes + 8;
  }

  vipAt(row: number): number {
    return row * answerRowBytes + 24;
  }
}

function isCounter(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
