// Packets that come to tier 1 over the bus, in frames as tier 1 itself sends them: what comes out of a message, in which
// order, and what is counted when it is no frame, when frames are missing, or when there is no room for more. Pure: the
// shell (subject.ts) brings messages and the time.
//
// Hashes in these frames mean nothing; tier 1 makes its own. Of the flags only the link kind is read. Rows without a
// packet (DATAGRAM) are passed over: tier 1 makes those itself, too.
//
// Nobody can ask the bus to wait, since a subscription is called when it is called. So a frame that comes while there
// is no room for any more is dropped whole, and counted as `overload`.

import { limits } from '../../../shared/base/limits.ts';
import { FrameFlags, linkTypeOf } from '../../../shared/flow/frameFlags.ts';
import { Frame, type FrameFault, frameFaults } from '../../../shared/log/records/frame.ts';
import type { HelloSender } from '../../../shared/messages/hello.ts';
import { NumberedStream, NumberedStreams } from '../../../shared/messages/numberedStreams.ts';
import { seedOf } from '../../../shared/placement/seed.ts';
import { type Distributor, frameDrops } from '../distribute.ts';

class Sender extends NumberedStream {
  /** Ingress link of the sender's packets. */
  readonly link: number;
  packets = 0;
  readonly dropped: Record<string, number> = {};

  constructor(id: string, sequence: number, nowMs: number) {
    super(id, sequence, nowMs);
    this.link = linkOf(id);
  }

  drop(cause: string, packets: number): void {
    this.dropped[cause] = (this.dropped[cause] ?? 0) + packets;
  }
}

export class FrameFeed {
  frames = 0;
  packets = 0;
  /** Messages that were no frames, by fault. */
  readonly faults = Object.fromEntries(frameFaults.slice(1).map((fault) => [fault, 0])) as Record<
    Exclude<FrameFault, 'none'>,
    number
  >;
  readonly #distributor: Distributor;
  readonly #frame = new Frame();
  readonly #senders = new NumberedStreams<Sender>({
    most: limits.inputSenders,
    create: (id, sequence, nowMs) => new Sender(id, sequence, nowMs),
  });

  constructor(distributor: Distributor) {
    this.#distributor = distributor;
  }

  get lostFrames(): number {
    return this.#senders.lost;
  }

  get repeatedFrames(): number {
    return this.#senders.repeated;
  }

  /** Messages that were no frames. */
  get faulty(): number {
    return Object.values(this.faults).reduce((sum, count) => sum + count, 0);
  }

  /** Who has sent, and what became of it, as hello messages say it. */
  get senders(): HelloSender[] {
    return [...this.#senders.all()].map(({ id, packets, lost, dropped }) => ({
      name: id,
      received: packets,
      lostFrames: lost,
      dropped: { ...dropped },
    }));
  }

  /** One message. Its packets came at wall time `nowMs`; `hasRoom`: whether there is room for more. Never throws. */
  onMessage(message: Uint8Array, nowMs: number, hasRoom: boolean): void {
    const frame = this.#frame;
    const fault = frame.decode(message);
    if (fault !== 'none') {
      this.faults[fault]++;
      return;
    }
    const sender = this.#senders.arrive(frame.tier1Id, frame.number, nowMs);
    if (sender === undefined) return;
    this.frames++;
    if (hasRoom) this.#feed(sender, nowMs);
    else this.#refuse(sender);
  }

  #feed(sender: Sender, nowMs: number): void {
    const distributor = this.#distributor;
    const frame = this.#frame;
    const droppedBefore = distributor.droppedPackets;
    const before = distributor.dropped;
    let start = 0;
    for (let row = 0; row < frame.count; row++) {
      const end = start + frame.length(row);
      const flags = frame.flags(row);
      if (!(flags & FrameFlags.DATAGRAM)) {
        distributor.packet(frame.payload, start, end, linkTypeOf(flags), sender.link, nowMs);
        sender.packets++;
        this.packets++;
      }
      start = end;
    }
    if (distributor.droppedPackets === droppedBefore) return;
    for (const [cause, count] of Object.entries(distributor.dropped)) {
      const more = count - (before[cause] ?? 0);
      // A frame that did not get into the log may have held packets of others as well.
      if (more > 0 && !frameDrops.includes(cause)) sender.drop(cause, more);
    }
  }

  #refuse(sender: Sender): void {
    const frame = this.#frame;
    let packets = 0;
    for (let row = 0; row < frame.count; row++) if (!(frame.flags(row) & FrameFlags.DATAGRAM)) packets++;
    sender.packets += packets;
    sender.drop('overload', packets);
    this.packets += packets;
    this.#distributor.refuse('overload', packets, frame.payload.length);
  }
}

/**
 * The link number of a sender comes from its name alone: every tier 1 makes the same one, and makes it again after a
 * restart, so that a flow keyed by its ingress link stays one flow when its sender changes to another tier 1.
 */
function linkOf(name: string): number {
  return seedOf(0, 'link', name).lo >>> 1;
}
