// The demo's capture, held in memory whole, so that its packets and the generated ones can be fed from one loop and the
// show can end at any moment. Played again, it begins where it ended: a pass lasts longer than the cluster remembers
// recent starts, so a connection that is opened again counts as a new one, and what goes on without a visible start
// (UDP) goes on at the server it had.

import { readCapture } from '../../../shared/capture/reader.ts';

interface HeldPacket {
  readonly offset: number;
  readonly length: number;
  readonly linkType: number;
  readonly link: number;
  /** Milliseconds since the first packet. */
  readonly atMs: number;
}

export class HeldCapture {
  readonly bytes: Uint8Array;
  readonly packets: readonly HeldPacket[];

  private constructor(bytes: Uint8Array, packets: readonly HeldPacket[]) {
    this.bytes = bytes;
    this.packets = packets;
  }

  /** Reads a capture file whole. Rejects with a CaptureError. */
  static async read(path: string): Promise<HeldCapture> {
    const chunks: Uint8Array[] = [];
    const packets: HeldPacket[] = [];
    let offset = 0;
    let firstMs = -1;
    let latestMs = 0;
    for await (const batch of readCapture(path)) {
      for (let row = 0; row < batch.count; row++) {
        const length = batch.lengths[row];
        chunks.push(batch.buffer.slice(batch.offsets[row], batch.offsets[row] + length));
        if (firstMs < 0) firstMs = batch.timesMs[row];
        latestMs = Math.max(latestMs, batch.timesMs[row] - firstMs);
        packets.push({ offset, length, linkType: batch.linkTypes[row], link: batch.interfaces[row], atMs: latestMs });
        offset += length;
      }
    }
    return new HeldCapture(Buffer.concat(chunks), packets);
  }

  /** From the first packet to the last. */
  get durationMs(): number {
    return this.packets.at(-1)?.atMs ?? 0;
  }
}
