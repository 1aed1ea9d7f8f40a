// The UDP datagram in an accepted packet, and its client and VIP as answers name them. Nothing is made for a packet.

import { FrameFlags, linkTypeOf } from '../../../../shared/flow/frameFlags.ts';
import { answerRowBytes } from '../../../../shared/messages/answers.ts';
import { u16 } from '../../../../shared/packet/bytes.ts';
import { Fragment, Headers, type IpLayer } from '../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../shared/packet/decode/parse.ts';
import { Protocol } from '../../../../shared/packet/decode/transport.ts';

/** Why a packet has no datagram that could be sent on. */
export type DatagramFault = 'not-udp' | 'fragment' | 'malformed';

const udpHeaderBytes = 8;

/** Copies without making a view of the packet. */
export const copyBytes = Buffer.prototype.copy as (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  sourceStart: number,
  sourceEnd: number,
) => number;

export class Datagram {
  /** Where the payload lies in the packet's data, after a `read` without a fault. */
  start = 0;
  end = 0;
  /** Client and VIP, likewise. */
  readonly row = new Uint8Array(answerRowBytes);
  readonly #headers = new Headers();

  /** Reads the packet data[start .. end). Undefined: there is a datagram. */
  read(data: Uint8Array, start: number, end: number, flags: number): DatagramFault | undefined {
    const { outer } = this.#headers;
    const reason = parse(data, start, end, linkTypeOf(flags), this.#headers, false);
    if (outer.version !== 0 && (outer.fragment !== Fragment.WHOLE || flags & FrameFlags.LATER_FRAGMENT)) {
      return 'fragment';
    }
    if (reason !== 0) return 'malformed';
    if (outer.version === 0 || outer.protocol !== Protocol.UDP) return 'not-udp';
    const room = outer.end - outer.payload;
    const length = room < udpHeaderBytes ? 0 : u16(data, outer.payload + 4);
    // Also what a capture has cut off.
    if (length < udpHeaderBytes || length > room) return 'malformed';
    this.start = outer.payload + udpHeaderBytes;
    this.end = outer.payload + length;
    writeRow(this.row, data, outer);
    return undefined;
  }
}

/** As `answerRow` in shared/messages/answers.ts, without making anything. */
function writeRow(row: Uint8Array, data: Uint8Array, layer: IpLayer): void {
  const bytes = layer.version === 4 ? 4 : 16;
  row[0] = layer.version;
  copyBytes.call(data, row, 4, layer.payload, layer.payload + 4);
  if (bytes === 4) row.fill(0, 8);
  copyBytes.call(data, row, 8, layer.source, layer.source + bytes);
  copyBytes.call(data, row, 24, layer.target, layer.target + bytes);
}
