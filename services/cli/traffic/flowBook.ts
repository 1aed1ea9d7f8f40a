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
  /** Flows begun so far. */
  begun = 0;
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
   * The row of a flow that sends a packet at `nowMs`; a new one when it has none. `typeOne`, asked of the first packet
   * only: whether the flow's start shows in a packet.
   */
  sends(flow: number, nowMs: number, typeOne: () => boolean): number {
    let row = this.#rows.get(flow);
    if (row === undefined) {
      row = this.#newRow();
      this.#rows.set(flow, row);
      this.number[row] = flow;
      this.typeOne[row] = typeOne() ? 1 : 0;
      this.begun++;
    } else if (nowMs - this.#lastMs[row] > (this.#packets[row] < handshakePackets ? shortMemoryMs : longMemoryMs)) {
      this.#forget(row);
    }
    this.#lastMs[row] = nowMs;
    this.#packets[row]++;
    return row;
  }

  /** The flow is over, and nothing more will be heard of it. */
  remove(row: number): void {
    this.#rows.delete(this.number[row]);
    this.#free.push(row);
  }

  /** From here on any server may take it, or none. */
  #forget(row: number): void {
    this.server[row] = 0;
    this.former[row] = 0;
    if (this.start[row] === Start.accepted) this.start[row] = Start.forgotten;
  }

  #newRow(): number {
    const row = this.#free.pop() ?? this.#used++;
    if (row === this.number.length) this.#grow();
    this.server[row] = 0;
    this.former[row] = 0;
    this.since[row] = 0;
    this.start[row] = Start.pending;
    this.via[row] = 0;
    this.moved[row] = 0;
    this.missing[row] = 0;
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
    this.moved = grown(this.moved, new Uint8Array(rows));
    this.missing = grown(this.missing, new Uint8Array(rows));
    this.#lastMs = grown(this.#lastMs, new Float64Array(rows));
    this.#packets = grown(this.#packets, new Uint32Array(rows));
  }
}
