// A frame as any MessagePack writer would make it: one array of nine fields. The product assembles its frames in place;
// this is what they are compared with, and what tests make damaged ones from.

import { Packr } from 'msgpackr';
import { type FrameHeader, frameFormat } from '../../shared/log/records/frame.ts';

const packr = new Packr({ useRecords: false });

export function encodeFrame(header: FrameHeader, count: number, meta: Uint8Array, payload: Uint8Array): Uint8Array {
  const { tier1Id, number, follows, mapVersion, timestampMs } = header;
  return Uint8Array.from(
    packr.pack([frameFormat, tier1Id, number, follows, mapVersion, timestampMs, count, meta, payload]),
  );
}
