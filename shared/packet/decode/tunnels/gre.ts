// GRE (RFC 2784, 2890), and what else has its protocol number: PPTP (RFC 2637), NVGRE (RFC 7637) and the mirrored frames of
// ERSPAN (draft-foschiano-erspan-03).
import { u16 } from '../../bytes.ts';
import { type LinkLayer, Network } from '../headers.ts';
import { readEthernet, readEtherType } from '../link/ethernet.ts';
import { EtherType } from '../link/etherType.ts';
import { outcomeOf } from './enter.ts';
import { Outcome, Tunnel } from './kinds.ts';

const Flag = { CHECKSUM: 0x8000, ROUTING: 0x4000, KEY: 0x2000, SEQUENCE: 0x1000, ACKNOWLEDGEMENT: 0x80 } as const;
/** EtherTypes of mirrored frames: types I and II, and type III. */
const erspanType = 0x88be;
const erspan3Type = 0x22eb;
const erspan2Header = 8;
const erspan3Header = 12;

/** Reads the GRE header at `offset`; returns an Outcome, and sets `link.tunnel` to the kind it turns out to be. */
export function enterGre(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 4) return Outcome.DAMAGED;
  const flags = u16(buffer, offset);
  const type = u16(buffer, offset + 2);
  const version = flags & 7;
  const sequenceBytes = flags & Flag.SEQUENCE ? 4 : 0;
  if (version === 1) {
    link.tunnel = Tunnel.PPTP;
    const next = offset + 8 + sequenceBytes + (flags & Flag.ACKNOWLEDGEMENT ? 4 : 0);
    // Without a sequence number it acknowledges and carries nothing (RFC 2637 section 4.1).
    if (sequenceBytes === 0 || next >= end) return Outcome.CONTROL;
    return outcomeOf(readEtherType(buffer, next, end, EtherType.PPP, link, 0), link);
  }
  // The routing field of RFC 1701 has no length of its own that could be trusted.
  if (version !== 0 || (flags & Flag.ROUTING) !== 0) return Outcome.OTHER_HEADER;
  const key = offset + 4 + (flags & Flag.CHECKSUM ? 4 : 0);
  const next = key + (flags & Flag.KEY ? 4 : 0) + sequenceBytes;
  if (type === erspanType) return enterMirrored(buffer, next, end, sequenceBytes > 0, link);
  if (type === erspan3Type) return enterMirrored3(buffer, next, end, link);
  // Nothing behind the header, or protocol 0, is a keepalive.
  if (next >= end) return next > end ? Outcome.DAMAGED : Outcome.CONTROL;
  if (type === 0) return Outcome.CONTROL;
  if (type === EtherType.BRIDGED && (flags & Flag.KEY) !== 0) {
    // RFC 7637 section 3.2: the key is a network identifier of 24 bits; the rest may differ within a flow.
    link.tunnel = Tunnel.NVGRE;
    link.vni = (buffer[key] << 16) | u16(buffer, key + 1);
  }
  return outcomeOf(readEtherType(buffer, next, end, type, link, 0), link);
}

/** Types I and II have one number: without a sequence number of GRE there is no header between that and the frame. */
function enterMirrored(buffer: Uint8Array, offset: number, end: number, isType2: boolean, link: LinkLayer): number {
  link.tunnel = Tunnel.ERSPAN;
  if (!isType2) return outcomeOf(readEthernet(buffer, offset, end, link, 0), link);
  if (end - offset < erspan2Header) return Outcome.DAMAGED;
  if (buffer[offset] >> 4 !== 1) return Outcome.OTHER_HEADER;
  return outcomeOf(readEthernet(buffer, offset + erspan2Header, end, link, 0), link);
}

/** Type III: the frame's type is in bits 1 to 5 of the eleventh byte, and the last bit of the header announces eight bytes more. */
function enterMirrored3(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  link.tunnel = Tunnel.ERSPAN;
  if (end - offset < erspan3Header) return Outcome.DAMAGED;
  if (buffer[offset] >> 4 !== 2) return Outcome.OTHER_HEADER;
  const next = offset + erspan3Header + (buffer[offset + 11] & 1 ? 8 : 0);
  const frameType = (buffer[offset + 10] >> 2) & 31;
  if (frameType === 2) {
    link.payload = next;
    link.network = Network.BY_NIBBLE;
    return Outcome.ENTERED;
  }
  return frameType === 0 ? outcomeOf(readEthernet(buffer, next, end, link, 0), link) : Outcome.UNREAD;
}
