// Memory for frames in the making. A message is given away when it is finished, so each frame needs memory of its own; asking
// the system for it frame by frame costs more than to copy the packets. So it is cut from slabs, and what a frame did not
// need in the end is used for the next.

const slabBytes = 1024 * 1024;

/** Memory for one message. */
export class FrameMemory {
  readonly bytes: Buffer;
  readonly view: DataView;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
}

/** One for all builders that work side by side: those that are empty hold no memory. */
export class FramePool {
  readonly #messageBytes: number;
  readonly #free: FrameMemory[] = [];
  #slab = Buffer.alloc(0);
  #used = 0;

  /** `messageBytes`: what a usual message needs. */
  constructor(messageBytes: number) {
    this.#messageBytes = messageBytes;
  }

  /** Memory for a message of that size, or of the usual one if that is more. */
  take(bytes = 0): FrameMemory {
    if (bytes > this.#messageBytes) return new FrameMemory(Buffer.allocUnsafeSlow(bytes));
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#used + this.#messageBytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(slabBytes);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += this.#messageBytes;
    return new FrameMemory(this.#slab.subarray(start, this.#used));
  }

  /** Takes memory back that nobody will look at any more. */
  giveBack(memory: FrameMemory): void {
    if (memory.bytes.length === this.#messageBytes) this.#free.push(memory);
  }
}
