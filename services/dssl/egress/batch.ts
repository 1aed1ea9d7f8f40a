// The one PacketBatch that an egress fills again and again.

import { limits } from '../../../shared/base/limits.ts';
import { FrameFlags, linkTypeOf } from '../../../shared/flow/frameFlags.ts';
import { formatFlowId } from './handlers/flowMap.ts';
import type { PacketBatch } from './handlers/handler.ts';

/**
 * Rows of packets over the bytes of one frame. Takes `limits.frameRows` packets; whoever adds more hands it over first.
 */
export class BatchBuffer implements PacketBatch {
  count = 0;
  timestampMs = 0;
  isRepeat = false;
  epoch = 0;
  position = 0;
  data: Uint8Array = new Uint8Array(0);
  readonly offsets = new Uint32Array(limits.frameRows);
  readonly lengths = new Uint32Array(limits.frameRows);
  readonly flowHi = new Int32Array(limits.frameRows);
  readonly flowLo = new Int32Array(limits.frameRows);
  readonly flags = new Uint16Array(limits.frameRows);
  readonly rows = new Uint16Array(limits.frameRows);
  readonly #inState = new Uint8Array(limits.frameRows);
  /** Sum of the lengths. */
  bytes = 0;

  get isFull(): boolean {
    return this.count === limits.frameRows;
  }

  add(offset: number, length: number, hi: number, lo: number, flags: number, row: number, isInState: boolean): void {
    const i = this.count++;
    this.offsets[i] = offset;
    this.lengths[i] = length;
    this.flowHi[i] = hi;
    this.flowLo[i] = lo;
    this.flags[i] = flags;
    this.rows[i] = row;
    this.#inState[i] = isInState ? 1 : 0;
    this.bytes += length;
  }

  clear(): void {
    this.count = 0;
    this.bytes = 0;
  }

  packet(i: number): Uint8Array {
    return this.data.subarray(this.offsets[i], this.offsets[i]! + this.lengths[i]!);
  }

  flowId(i: number): string {
    return formatFlowId(this.flowHi[i]!, this.flowLo[i]!);
  }

  linkType(i: number): number {
    return linkTypeOf(this.flags[i]!);
  }

  isStart(i: number): boolean {
    return (this.flags[i]! & FrameFlags.START) !== 0;
  }

  isEnd(i: number): boolean {
    return (this.flags[i]! & FrameFlags.END) !== 0;
  }

  isInState(i: number): boolean {
    return this.#inState[i] === 1;
  }

  place(i: number): string {
    if (this.position === 0) return '';
    return `${hex(this.epoch, 8)}-${hex(this.position, 14)}-${hex(this.rows[i]!, 4)}`;
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
