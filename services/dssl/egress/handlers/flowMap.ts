// A map from flows to whatever a server keeps about them, keyed by the two halves of the flow hash as a batch has them.
//
// A Map would need a string or a nested map for a 64-bit key, and would make one for every packet. This one looks a
// packet's flow up without making anything: open addressing over an Int32Array of places, with the entries' keys and
// values in dense arrays beside it. Flow hashes are even already, so their low bits are the place to look first.

const empty = -1;

export class FlowMap<T> {
  /** Index into the dense arrays, or `empty`; a power of two of them, at most half of them in use. */
  #places = new Int32Array(64).fill(empty);
  #hi = new Int32Array(32);
  #lo = new Int32Array(32);
  readonly #values: T[] = [];

  get size(): number {
    return this.#values.length;
  }

  get(hi: number, lo: number): T | undefined {
    const place = this.#find(hi, lo);
    const index = this.#places[place]!;
    return index === empty ? undefined : this.#values[index];
  }

  set(hi: number, lo: number, value: T): void {
    const place = this.#find(hi, lo);
    const index = this.#places[place]!;
    if (index !== empty) {
      this.#values[index] = value;
      return;
    }
    const next = this.#values.length;
    this.#places[place] = next;
    if (next === this.#hi.length) this.#grow();
    this.#hi[next] = hi;
    this.#lo[next] = lo;
    this.#values.push(value);
    if (this.#values.length * 2 > this.#places.length) this.#spread();
  }

  /** Takes the flow out and returns what was kept of it. */
  delete(hi: number, lo: number): T | undefined {
    const place = this.#find(hi, lo);
    const index = this.#places[place]!;
    if (index === empty) return undefined;
    const value = this.#values[index]!;
    this.#closeGap(place);
    // The last entry moves into the hole, so that the arrays stay dense.
    const last = this.#values.length - 1;
    if (index !== last) {
      this.#places[this.#find(this.#hi[last]!, this.#lo[last]!)] = index;
      this.#hi[index] = this.#hi[last]!;
      this.#lo[index] = this.#lo[last]!;
      this.#values[index] = this.#values[last]!;
    }
    this.#values.pop();
    return value;
  }

  /** What is kept of all flows, in no particular order. Valid until the next set or delete. */
  values(): readonly T[] {
    return this.#values;
  }

  clear(): void {
    this.#places.fill(empty);
    this.#values.length = 0;
  }

  /** The place of the flow, or the empty one where it would go. */
  #find(hi: number, lo: number): number {
    const mask = this.#places.length - 1;
    let place = (lo ^ (hi << 7)) & mask;
    for (;;) {
      const index = this.#places[place]!;
      if (index === empty || (this.#lo[index] === (lo | 0) && this.#hi[index] === (hi | 0))) return place;
      place = (place + 1) & mask;
    }
  }

  /**
   * Empties a place and moves later entries of its run back, so that no search stops early (Knuth 6.4, algorithm R).
   */
  #closeGap(from: number): void {
    const places = this.#places;
    const mask = places.length - 1;
    let gap = from;
    for (let place = (gap + 1) & mask; places[place] !== empty; place = (place + 1) & mask) {
      const index = places[place]!;
      const home = (this.#lo[index]! ^ (this.#hi[index]! << 7)) & mask;
      // It may move only if its home is not between the gap and where it stands.
      if (((place - home) & mask) < ((place - gap) & mask)) continue;
      places[gap] = index;
      gap = place;
    }
    places[gap] = empty;
  }

  #grow(): void {
    const hi = new Int32Array(this.#hi.length * 2);
    const lo = new Int32Array(this.#lo.length * 2);
    hi.set(this.#hi);
    lo.set(this.#lo);
    this.#hi = hi;
    this.#lo = lo;
  }

  #spread(): void {
    this.#places = new Int32Array(this.#places.length * 2).fill(empty);
    for (let index = 0; index < this.#values.length; index++) {
      this.#places[this.#find(this.#hi[index]!, this.#lo[index]!)] = index;
    }
  }
}

/** The flow hash as 16 hex digits: FlowEvent.flowId. */
export function formatFlowId(hi: number, lo: number): string {
  return (hi >>> 0).toString(16).padStart(8, '0') + (lo >>> 0).toString(16).padStart(8, '0');
}
