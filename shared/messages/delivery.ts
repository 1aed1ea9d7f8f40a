// Accepted packets on their way to a server on other hardware than its actor (Fig. 3), on the subject `out.<server>`:
//
//   delivery  [ version, 1, server, life, sequence, count, meta, payload ]
//   ack       [ version, 2, server, serverLife, life, sequence, packets, isLeaving ]
//
//   meta      count rows of 12 bytes, little-endian, as in a frame (frame.ts):
//             0               4               8       10      12
//             +---------------+---------------+-------+-------+
//             |    hashHi     |    hashLo     | length| flags |
//             +---------------+---------------+-------+-------+
//   payload   the packets' bytes, end to end, in row order
//
// A server behind a handler is told when its flows start and end, in order with their packets; so events are rows too.
// The flag DATAGRAM, which no accepted packet has, marks a row as an event; its `length` is then the kind of event
// (DeliveryEvent) and its hash the flow's. The event `time` carries the packet time of the rows that follow, a float64 in
// the place of the hash, and begins a run of them; every delivery with rows begins with one. The event `repeat` behind it says that a server which has
// died may have had the packets of the run.
//
// `life` is the incarnation of the actor, `sequence` counts its deliveries from 1, so that holes show. An empty delivery
// says that the actor is there. The server answers on `ack.<server>` with the number of the newest delivery and how many
// packets it has got of that life: that is how an actor knows that somebody listens.

import { Packr } from 'msgpackr';
import { limits } from '../base/limits.ts';
import { isWhole } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';
import { FrameFlags } from '../flow/frameFlags.ts';

const version = 1;
const kinds = { delivery: 1, ack: 2 } as const;
const rowBytes = 12;
const fieldCount = 8;
/** First byte of a MessagePack array of eight elements. */
const arrayOfEight = 0x90 | fieldCount;
const packr = new Packr({ useRecords: false });

export const DeliveryEvent = {
  time: 0,
  started: 1,
  closed: 2,
  idle: 3,
  evicted: 4,
  moved: 5,
  bye: 6,
  repeat: 7,
} as const;
const lastEvent = DeliveryEvent.repeat;

/** Copies without making a view of the packet. */
const copyBytes = Buffer.prototype.copy as (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  sourceStart: number,
  sourceEnd: number,
) => number;

export interface DeliveryHeader {
  readonly server: string;
  readonly life: number;
  readonly sequence: number;
}

/** Collects what goes into one delivery. */
export class DeliveryBuilder {
  /** Rows so far. */
  count = 0;
  /** Packets among them. */
  packets = 0;
  readonly #meta = Buffer.allocUnsafe(limits.frameRows * rowBytes);
  #payload = Buffer.allocUnsafe(limits.frameTargetBytes);
  #bytes = 0;
  #timestampMs = Number.NaN;
  #isRepeat = false;

  /** True when a packet of `length` bytes, or an event (0), must go into the next delivery. A row may bring its time. */
  isFull(length: number): boolean {
    return (
      this.count + (this.#isRepeat ? 3 : 2) > limits.frameRows ||
      (this.packets > 0 && this.#bytes + length > limits.frameTargetBytes)
    );
  }

  /** What follows is a run of its own, also when it is of the same time: a handler gets it as a batch of its own. */
  beginRun(isRepeat = false): void {
    this.#timestampMs = Number.NaN;
    this.#isRepeat = isRepeat;
  }

  /** Appends data[offset .. offset + length); the caller has checked `isFull`. */
  addPacket(
    data: Uint8Array,
    offset: number,
    length: number,
    hi: number,
    lo: number,
    flags: number,
    timestampMs: number,
  ): void {
    this.#setTime(timestampMs);
    this.#row(hi, lo, length, flags & ~FrameFlags.DATAGRAM);
    const end = this.#bytes + length;
    if (end > this.#payload.length) {
      const larger = Buffer.allocUnsafe(end);
      this.#payload.copy(larger, 0, 0, this.#bytes);
      this.#payload = larger;
    }
    copyBytes.call(data, this.#payload, this.#bytes, offset, offset + length);
    this.#bytes = end;
    this.packets++;
  }

  /** Appends an event of a flow; the caller has checked `isFull`. */
  addEvent(event: number, hi: number, lo: number, timestampMs: number): void {
    this.#setTime(timestampMs);
    this.#row(hi, lo, event, FrameFlags.DATAGRAM);
  }

  /** The message, and an empty builder. */
  finish({ server, life, sequence }: DeliveryHeader): Uint8Array {
    const meta = this.#meta.subarray(0, this.count * rowBytes);
    const payload = this.#payload.subarray(0, this.#bytes);
    const message = packr.pack([version, kinds.delivery, server, life, sequence, this.count, meta, payload]);
    this.count = 0;
    this.packets = 0;
    this.#bytes = 0;
    this.#timestampMs = Number.NaN;
    return Uint8Array.from(message);
  }

  #setTime(timestampMs: number): void {
    if (timestampMs === this.#timestampMs) return;
    this.#timestampMs = timestampMs;
    const at = this.count * rowBytes;
    this.#row(0, 0, DeliveryEvent.time, FrameFlags.DATAGRAM);
    this.#meta.writeDoubleLE(timestampMs, at);
    if (this.#isRepeat) this.#row(0, 0, DeliveryEvent.repeat, FrameFlags.DATAGRAM);
  }

  #row(hi: number, lo: number, length: number, flags: number): void {
    const at = this.count++ * rowBytes;
    this.#meta.writeInt32LE(hi | 0, at);
    this.#meta.writeInt32LE(lo | 0, at + 4);
    this.#meta.writeUInt16LE(length, at + 8);
    this.#meta.writeUInt16LE(flags, at + 10);
  }
}

/** Why a message is no delivery. */
export const deliveryFaults = ['size', 'encoding', 'shape', 'format', 'count', 'rows'] as const;
export type DeliveryFault = (typeof deliveryFaults)[number];

/** A decoded delivery, to be used again for the next. `payload` is a view into the message. */
export class Delivery implements DeliveryHeader {
  server = '';
  life = 0;
  sequence = 0;
  count = 0;
  payload: Uint8Array = new Uint8Array(0);
  #meta: DataView = new DataView(new ArrayBuffer(0));

  /**
   * Reads a message into this object. The bytes come from the network: what is wrong with them is an answer, never an
   * exception; after it the fields are meaningless.
   */
  decode(message: Uint8Array): 'none' | DeliveryFault {
    const fields = fieldsOf(message, kinds.delivery);
    if (typeof fields === 'string') return fields;
    const [, , server, life, sequence, count, meta, payload] = fields;
    if (!isServer(server) || !isCounter(life) || !isCounter(sequence)) return 'shape';
    if (!(meta instanceof Uint8Array) || !(payload instanceof Uint8Array)) return 'shape';
    if (!isWhole(count, 0, limits.frameRows) || meta.length !== count * rowBytes) return 'count';
    this.server = server;
    this.life = life;
    this.sequence = sequence;
    this.count = count;
    this.payload = payload;
    this.#meta = new DataView(meta.buffer, meta.byteOffset, meta.length);
    let sum = 0;
    for (let row = 0; row < count; row++) {
      const isEvent = this.isEvent(row);
      if (isEvent && this.event(row) > lastEvent) return 'rows';
      if (row === 0 && (!isEvent || this.event(0) !== DeliveryEvent.time)) return 'rows';
      if (isEvent && this.event(row) === DeliveryEvent.time && !Number.isFinite(this.timestampMs(row))) return 'rows';
      if (!isEvent) sum += this.length(row);
    }
    return sum === payload.length ? 'none' : 'rows';
  }

  isEvent(row: number): boolean {
    return (this.flags(row) & FrameFlags.DATAGRAM) !== 0;
  }

  /** Of an event: one of DeliveryEvent. */
  event(row: number): number {
    return this.length(row);
  }

  /** Of the event `time`. */
  timestampMs(row: number): number {
    return this.#meta.getFloat64(row * rowBytes, true);
  }

  hashHi(row: number): number {
    return this.#meta.getInt32(row * rowBytes, true);
  }

  hashLo(row: number): number {
    return this.#meta.getInt32(row * rowBytes + 4, true);
  }

  length(row: number): number {
    return this.#meta.getUint16(row * rowBytes + 8, true);
  }

  flags(row: number): number {
    return this.#meta.getUint16(row * rowBytes + 10, true);
  }
}

/** What a server has got of one life of its actor. */
export interface DeliveryAck {
  readonly server: string;
  /** Tells this life of the server process from others. */
  readonly serverLife: number;
  /** The actor's life; 0 when none has been heard. */
  readonly life: number;
  /** The newest delivery, and the packets of all that came. */
  readonly sequence: number;
  readonly packets: number;
  /** The server's last word. */
  readonly isLeaving: boolean;
}

export function encodeAck(ack: DeliveryAck): Uint8Array {
  const { server, serverLife, life, sequence, packets, isLeaving } = ack;
  return Uint8Array.from(packr.pack([version, kinds.ack, server, serverLife, life, sequence, packets, isLeaving]));
}

/** Reads an acknowledgement; undefined when the message is none. Never throws. */
export function decodeAck(message: Uint8Array): DeliveryAck | undefined {
  const fields = fieldsOf(message, kinds.ack);
  if (typeof fields === 'string') return undefined;
  const [, , server, serverLife, life, sequence, packets, isLeaving] = fields;
  if (!isServer(server) || !isCounter(serverLife) || !isCounter(life)) return undefined;
  if (!isCounter(sequence) || !isCounter(packets) || typeof isLeaving !== 'boolean') return undefined;
  return { server, serverLife, life, sequence, packets, isLeaving };
}

function fieldsOf(message: Uint8Array, kind: number): unknown[] | DeliveryFault {
  if (message.length < 2 || message.length > limits.frameMaxBytes) return 'size';
  if (message[0] !== arrayOfEight) return 'encoding';
  let fields: unknown;
  try {
    fields = packr.unpack(message);
  } catch {
    return 'encoding';
  }
  if (!Array.isArray(fields) || fields.length !== fieldCount) return 'shape';
  if (fields[0] !== version) return typeof fields[0] === 'number' ? 'format' : 'shape';
  return fields[1] === kind ? fields : 'shape';
}

function isServer(value: unknown): value is string {
  return typeof value === 'string' && isName(value);
}

function isCounter(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
