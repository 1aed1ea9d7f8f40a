// Room for the bytes of a queue of entries: they are copied one behind the other into blocks, and a block whose entries have all
// been dropped is used again. At several hundred megabytes a second a fresh buffer for each entry would cost more than the copy.

const firstBlockBytes = 64 * 1024;
const blockBytes = 1_048_576;
/** Blocks kept for use again; more of them go to the collector. */
const spareBlocks = 4;

interface Block {
  readonly bytes: Uint8Array;
  used: number;
  entries: number;
}

export class ByteBlocks {
  /** Oldest first; the last one is being filled. */
  #blocks: Block[] = [];
  #spare: Block[] = [];

  /** Copies `data` behind what is there. The result is valid until it is dropped. */
  add(data: Uint8Array): Uint8Array {
    let block = this.#blocks.at(-1);
    if (block === undefined || block.used + data.length > block.bytes.length) {
      block = this.#fresh(data.length);
      this.#blocks.push(block);
    }
    const copy = block.bytes.subarray(block.used, block.used + data.length);
    copy.set(data);
    block.used += data.length;
    block.entries++;
    return copy;
  }

  /** Drops what was added first. */
  dropOldest(): void {
    while (this.#blocks.length > 1 && this.#blocks[0].entries === 0) this.#retire();
    const block = this.#blocks[0];
    block.entries--;
    if (block.entries > 0) return;
    if (this.#blocks.length > 1) this.#retire();
    else block.used = 0;
  }

  clear(): void {
    this.#blocks = [];
    this.#spare = [];
  }

  #fresh(bytes: number): Block {
    const spare = this.#spare.pop();
    if (spare !== undefined && spare.bytes.length >= bytes) return spare;
    const size = this.#blocks.length === 0 ? firstBlockBytes : blockBytes;
    return { bytes: new Uint8Array(Math.max(size, bytes)), used: 0, entries: 0 };
  }

  #retire(): void {
    const block = this.#blocks.shift();
    if (block === undefined || block.bytes.length < blockBytes || this.#spare.length >= spareBlocks) return;
    block.used = 0;
    this.#spare.push(block);
  }
}
