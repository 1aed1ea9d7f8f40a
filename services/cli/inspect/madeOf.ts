// What a flow key was made of, in words, where that is not addresses and ports: a column of `flowherd dissect`.

import { isSingle } from '../../../shared/flow/frameFlags.ts';
import type { FlowKeyer } from '../../../shared/flow/keyer.ts';
import { HintKind } from '../../../shared/flow/subscriber.ts';
import { formatAddress } from '../../../shared/packet/addressText.ts';
import { i32 } from '../../../shared/packet/bytes.ts';
import { Fragment } from '../../../shared/packet/decode/headers.ts';

/** Of a name, the bytes that are shown. */
const shownBytes = 64;

/** Of the packet in `buffer` that the keyer has read last; '' where addresses, ports or link headers tell. */
export function madeOf(keyer: FlowKeyer, buffer: Uint8Array): string {
  const { identifiers, subscriber, headers, flags, byPacket } = keyer;
  const { gtp, sip, quic } = identifiers;
  if (byPacket) return isSingle(flags) || headers.keyed.fragment === Fragment.WHOLE ? 'packet' : 'datagram';
  switch (identifiers.found) {
    case 'gtp-teid': {
      const teid = (i32(buffer, gtp.teid) >>> 0).toString(16).padStart(8, '0');
      return `${gtp.isControl ? 'gtp-c' : 'gtp-u'} teid 0x${teid} at ${addressAt(buffer, gtp.receiver, gtp.version)}`;
    }
    case 'sip-call-id':
      return `call-id ${printable(buffer, sip.offset, sip.length)}`;
    case 'quic-cid':
      return `cid ${hex(buffer, quic.offset, quic.length)}`;
  }
  const { kind, offset, length, version } = subscriber;
  switch (kind) {
    case HintKind.ADDRESS:
      return `address ${addressAt(buffer, offset, version)}`;
    case HintKind.HARDWARE:
      return `client ${hex(buffer, offset, length)}`;
    case HintKind.CLIENT_ID:
      return `client-id ${hex(buffer, offset, length)}`;
    case HintKind.DUID:
      return `duid ${hex(buffer, offset, length)}`;
    default:
      return '';
  }
}

function addressAt(buffer: Uint8Array, offset: number, version: number): string {
  return formatAddress(buffer, offset, offset + (version === 4 ? 4 : 16));
}

function hex(buffer: Uint8Array, offset: number, length: number): string {
  const shown = Buffer.from(buffer.subarray(offset, offset + Math.min(length, shownBytes))).toString('hex');
  return length > shownBytes ? `${shown}...` : shown;
}

/** What is no letter, digit or sign of ASCII is shown as a question mark. */
function printable(buffer: Uint8Array, offset: number, length: number): string {
  const bytes = buffer.subarray(offset, offset + Math.min(length, shownBytes));
  const text = Array.from(bytes, (byte) => (byte > 32 && byte < 127 ? String.fromCharCode(byte) : '?')).join('');
  return length > shownBytes ? `${text}...` : text;
}
