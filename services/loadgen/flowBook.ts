// The flows of a generator's run that are still of interest: those that may send more packets, and those of which packets
// are on their way. One row of numbers a flow, used again when the flow is over, so that memory is bounded by the flows
// that are open at once and not by the length of the run.

/** What became of the packet that started the flow. */
export const Start = {
  /** Not known yet. */
  pending: 0,
  accepted: 1,
  /** No server has the flow, so packets in mid-flow are nobody's. */
  missed: 2,
  /** The flow was silent for so long that its server may have forgotten it. */
  forgotten: 3,
} as const;

/** What the cluster sees in a packet: its flow's key, and whether the flow's start shows in a packet, and in this one. */
export interface PacketKey {
  readonly hi: number;
  readonly lo: number;
  readonly typeOne: boolean;
  readonly starts: boolean;
  /** The packet is a flow of its own, so where the others go says nothing. */
  readonly isSingle?: boolean;
}

/** Whether replies have the key of the client's packets. */
const Replies = { unknown: 0, alike: 1, apart: 2 } as const;
const nobody = -1;

/** A flow that may be in its handshake is remembered for at least so long, any other for longer (idleLimits.ts). */
const shortMemoryMs = 29_000;
const longMemoryMs = 59_000;
/** Packets after which no server takes a flow to be in its handshake. */
const handshakePackets = 4;

const firstRows = 1_024;

export class FlowBook {
  /** By row. `server` and `former`: number of the server that has the flow, and of the one before it; 0 for none. */
  number = new Float64Array(firstRows);
  server = new Uint16Array(firstRows);
  former = new Uint16Array(firstRows);
  /** First packet of the flow that `server` accepted. */
  since = new Float64Array(firstRows);
  start = new Uint8Array(firstRows);
  /** Tier 1 that the flow's packets go to, plus one; 0 for none. */
  via = new Uint16Array(firstRows);
  typeOne = new Uint8Array(firstRows);
  /** Whether the flow was counted already as one that moved, or as one of which packets are missing. */
  moved = new Uint8Array(firstRows);
  missing = new Uint8Array(firstRows);
  /** Each of its packets may go to another server. */
  scattered = new Uint8Array(firstRows);
  /** When the oldest packet was handed to the bus that no server has taken yet, in milliseconds; NaN when there is none. */
  waitsSince = new Float64Array(firstRows);
  /** The packet that was sent last. */
  newest = new Float64Array(firstRows);
  /** Flows begun so far. */
  begun = 0;
  /** Of the packet that was sent last: whether it is the one that starts what is in its row. */
  isFirst = false;
  #hi = new Int32Array(firstRows);
  #lo = new Int32Array(firstRows);
  #replies = new Uint8Array(firstRows);
  /** The row of the other direction, where that has one. */
  #partner = new Int32Array(firstRows);
  #lastMs = new Float64Array(firstRows);
  #packets = new Uint32Array(firstRows);
  readonly #rows = new Map<number, number>();
  readonly #free: number[] = [];
  #used = 0;

  /** Flows that have a row. */
  get size(): number {
    return this.#rows.size;
  }

  /**
   * The row of a flow that sends a packet at `nowMs`; a new one when it has none. `read` is asked for the packet's key when
   * that is not known from an earlier one.
   */
  sends(flow: number, nowMs: number, isReply: boolean, read: () => PacketKey): number {
    let row = this.#rows.get(flow);
    this.isFirst = false;
    if (row === undefined) {
      row = this.#newRow(flow, read());
      this.#rows.set(flow, row);
      this.begun++;
    } else if (isReply) row = this.#replyRow(row, read);
    const memoryMs = this.#packets[row] < handshakePackets ? shortMemoryMs : longMemoryMs;
    if (this.#packets[row] > 0 && nowMs - this.#lastMs[row] > memoryMs) this.#forget(row);
    this.#lastMs[row] = nowMs;
    this.#packets[row]++;
    return row;
  }

  /** The flow in `row` is over, in both directions, and nothing more will be heard of it. */
  remove(row: number): void {
    this.#rows.delete(this.number[row]);
    const partner = this.#partner[row];
    if (partner !== nobody) this.#free.push(partner);
    this.#free.push(row);
  }

  #replyRow(row: number, read: () => PacketKey): number {
    if (this.#replies[row] === Replies.unknown) {
      const key = read();
      if (key.hi === this.#hi[row] && key.lo === this.#lo[row]) this.#replies[row] = Replies.alike;
      else {
        const own = this.#newRow(this.number[row], key);
        this.#replies[row] = Replies.apart;
        this.#partner[row] = own;
        this.#partner[own] = row;
      }
    }
    return this.#replies[row] === Replies.apart ? this.#partner[row] : row;
  }

  /** From here on any server may take it, or none. */
  #forget(row: number): void {
    this.server[row] = 0;
    this.former[row] = 0;
    if (this.start[row] === Start.accepted) this.start[row] = Start.forgotten;
  }

  #newRow(flow: number, key: PacketKey): number {
    const row = this.#free.pop() ?? this.#used++;
    if (row === this.number.length) this.#grow();
    this.server[row] = 0;
    this.former[row] = 0;
    this.since[row] = 0;
    this.number[row] = flow;
    this.#hi[row] = key.hi;
    this.#lo[row] = key.lo;
    this.typeOne[row] = key.typeOne ? 1 : 0;
    // No server takes what begins in its middle, as the answers to a start do where they are a flow of their own.
    this.isFirst = key.starts || !key.typeOne;
    this.start[row] = this.isFirst ? Start.pending : Start.missed;
    this.#replies[row] = Replies.unknown;
    this.#partner[row] = nobody;
    this.via[row] = 0;
    this.waitsSince[row] = Number.NaN;
    this.newest[row] = 0;
    this.moved[row] = 0;
    this.missing[row] = 0;
    this.scattered[row] = key.isSingle === true ? 1 : 0;
    this.#packets[row] = 0;
    return row;
  }

  #grow(): void {
    const grown = <T extends { readonly length: number; set(from: T): void }>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    const rows = 2 * this.number.length;
    this.number = grown(this.number, new Float64Array(rows));
    this.server = grown(this.server, new Uint16Array(rows));
    this.former = grown(this.former, new Uint16Array(rows));
    this.since = grown(this.since, new Float64Array(rows));
    this.start = grown(this.start, new Uint8Array(rows));
    this.via = grown(this.via, new Uint16Array(rows));
    this.typeOne = grown(this.typeOne, new Uint8Array(rows));
    this.waitsSince = grown(this.waitsSince, new Float64Array(rows));
    this.newest = grown(this.newest, new Float64Array(rows));
    this.moved = grown(this.moved, new Uint8Array(rows));
    this.missing = grown(this.missing, new Uint8Array(rows));
    this.scattered = grown(this.scattered, new Uint8Array(rows));
    this.#hi = grown(this.#hi, new Int32Array(rows));
    this.#lo = grown(this.#lo, new Int32Array(rows));
    this.#replies = grown(this.#replies, new Uint8Array(rows));
    this.#partner = grown(this.#partner, new Int32Array(rows));
    this.#lastMs = grown(this.#lastMs, new Float64Array(rows));
    this.#packets = grown(this.#packets, new Uint32Array(rows));
  }
}
