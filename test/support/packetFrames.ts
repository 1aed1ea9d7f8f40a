// Packets on their way to a tier 1 over the bus, as an upstream router would send them: frames with hashes 0.

import { linkKindShift, linkKinds } from '../../shared/flow/frameFlags.ts';
import { FrameBuilder } from '../../shared/log/records/frame.ts';

const ethernet = 1;

/** A frame with these packets. */
export function packetFrame(
  sender: string,
  number: number,
  packets: readonly Uint8Array[],
  { linkType = ethernet, flags = 0 } = {},
): Uint8Array {
  const builder = new FrameBuilder();
  const kind = linkKinds.indexOf(linkType as (typeof linkKinds)[number]);
  for (const packet of packets) builder.add(packet, 0, packet.length, 0, 0, flags | (kind << linkKindShift));
  const header = { tier1Id: sender, number, follows: number - 1, mapVersion: 0, timestampMs: 0 };
  return Uint8Array.from(builder.finish(header));
}
