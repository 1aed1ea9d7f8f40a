// What signalling and tunnels put into UDP: GTP-U and GTP-C, RADIUS accounting, DHCP. Each function returns the payload
// for `udp: { payload }` of a packet description, so that a session start is:
//
//   buildPacket({ source, target, udp: { ...gtpControlPorts, payload: gtpCreateSession({ imsi: '262011234567890' }) }
//   })
//
// Only what a parser needs to tell a start from an end, and to read the subscriber, is filled in with care; the rest is
// valid in form.

import { put16, put32, writeBytes } from './buildBytes.ts';

export const gtpUserPorts = { sourcePort: 2152, targetPort: 2152 } as const;
export const gtpControlPorts = { sourcePort: 2123, targetPort: 2123 } as const;
export const radiusAccountingPorts = { sourcePort: 1645, targetPort: 1813 } as const;
export const dhcpPorts = { sourcePort: 68, targetPort: 67 } as const;

export interface GtpUserSpec {
  /** Tunnel endpoint of the receiver, u32. */
  readonly teid: number;
  /** The subscriber's packet, from its IP header on. */
  readonly inner: Uint8Array;
  /** Adds the 4 optional bytes with this sequence number. */
  readonly sequence?: number;
  /** Extension headers, each its type and content (4n - 2 bytes). */
  readonly extensions?: readonly { readonly type: number; readonly content: Uint8Array }[];
}

/** A GTP-U G-PDU (3GPP TS 29.281, section 5.1). */
export function gtpUser(spec: GtpUserSpec): Uint8Array {
  const extensions = spec.extensions ?? [];
  const hasExtra = spec.sequence !== undefined || extensions.length > 0;
  const out = new Uint8Array(
    8 + (hasExtra ? 4 : 0) + extensions.reduce((n, e) => n + e.content.length + 2, 0) + spec.inner.length,
  );
  out[0] = 0x30 | (extensions.length > 0 ? 4 : 0) | (spec.sequence !== undefined ? 2 : 0);
  out[1] = 255;
  put16(out, 2, out.length - 8);
  put32(out, 4, spec.teid);
  let at = 8;
  if (hasExtra) {
    put16(out, at, spec.sequence ?? 0);
    out[at + 3] = extensions[0]?.type ?? 0;
    at += 4;
  }
  for (const [i, extension] of extensions.entries()) {
    out[at] = (extension.content.length + 2) / 4;
    out.set(extension.content, at + 1);
    at += extension.content.length + 2;
    out[at - 1] = extensions[i + 1]?.type ?? 0;
  }
  out.set(spec.inner, at);
  return out;
}

export interface GtpControlSpec {
  /** Up to 15 digits; default 001010000000001 (the test network). */
  readonly imsi?: string;
  /** Tunnel endpoint in the header: 0 in a first request. */
  readonly teid?: number;
  /** Tunnel endpoint the sender wants to be answered at. */
  readonly senderTeid?: number;
  readonly sequence?: number;
}

/** A GTPv2-C create session request (3GPP TS 29.274, section 7.2.1), type 32. */
export function gtpCreateSession(spec: GtpControlSpec = {}): Uint8Array {
  const senderTeid = new Uint8Array(9);
  senderTeid[0] = 0x8a; // IPv4 present; interface S5/S8 SGW control
  put32(senderTeid, 1, spec.senderTeid ?? 1);
  senderTeid.set([192, 0, 2, 1], 5);
  return gtpV2(32, spec, [
    [1, imsiDigits(spec.imsi)],
    [87, senderTeid],
    [71, apn('internet')],
  ]);
}

/** A GTPv2-C modify bearer request (3GPP TS 29.274, section 7.2.7), type 34; none of its elements is mandatory. */
export function gtpModifyBearer(spec: GtpControlSpec = {}): Uint8Array {
  return gtpV2(34, { teid: 1, ...spec }, []);
}

/** A GTPv2-C delete session request (3GPP TS 29.274, section 7.2.9), type 36. */
export function gtpDeleteSession(spec: GtpControlSpec = {}): Uint8Array {
  return gtpV2(36, { teid: 1, ...spec }, [[73, Uint8Array.of(5)]]);
}

/** A GTPv1-C create PDP context request (3GPP TS 29.060, section 7.3.1), type 16. */
export function gtpCreatePdp(spec: GtpControlSpec = {}): Uint8Array {
  const teid = new Uint8Array(5);
  teid[0] = 17;
  put32(teid, 1, spec.senderTeid ?? 1);
  return gtpV1(16, spec, [Uint8Array.of(2, ...imsiDigits(spec.imsi)), teid, Uint8Array.of(20, 5)]);
}

/** A GTPv1-C update PDP context request (3GPP TS 29.060, section 7.3.3), type 18. */
export function gtpUpdatePdp(spec: GtpControlSpec = {}): Uint8Array {
  return gtpV1(18, { teid: 1, ...spec }, [Uint8Array.of(20, 5)]);
}

/** A GTPv1-C delete PDP context request (3GPP TS 29.060, section 7.3.5), type 20. */
export function gtpDeletePdp(spec: GtpControlSpec = {}): Uint8Array {
  return gtpV1(20, { teid: 1, ...spec }, [Uint8Array.of(19, 0xff), Uint8Array.of(20, 5)]);
}

/** The response that accepts a request of either version: its type is the next one. */
export function gtpResponse(request: Uint8Array, spec: GtpControlSpec = {}): Uint8Array {
  const type = request[1]! + 1;
  const accepted = { teid: 1, ...spec };
  // Cause: "request accepted".
  if (request[0]! >>> 5 === 2) return gtpV2(type, accepted, [[2, Uint8Array.of(16, 0)]]);
  return gtpV1(type, accepted, [Uint8Array.of(1, 128)]);
}

export interface RadiusSpec {
  readonly identifier?: number;
  /** User-Name (1). */
  readonly user?: string;
  /** Acct-Session-Id (44). */
  readonly session?: string;
  /** Framed-IP-Address (8), 4 bytes: the subscriber's address. */
  readonly framedAddress?: Uint8Array;
  /** NAS-IP-Address (4), 4 bytes. */
  readonly nasAddress?: Uint8Array;
  /** 16 bytes; default zeros, which a RADIUS server refuses but a parser need not check (it is keyed with a secret). */
  readonly authenticator?: Uint8Array;
}

const accountingStatus = { start: 1, stop: 2, interim: 3 } as const;

/** A RADIUS Accounting-Request (RFC 2866, section 4.1). */
export function radiusAccounting(status: keyof typeof accountingStatus, spec: RadiusSpec = {}): Uint8Array {
  const out = new Uint8Array(1024);
  out[0] = 4;
  out[1] = spec.identifier ?? 1;
  out.set(spec.authenticator ?? new Uint8Array(16), 4);
  let at = 20;
  const attribute = (type: number, value: Uint8Array | string) => {
    const end = writeBytes(value, out, at + 2);
    out[at] = type;
    out[at + 1] = end - at;
    at = end;
  };
  attribute(1, spec.user ?? 'user@example.org');
  attribute(4, spec.nasAddress ?? Uint8Array.of(192, 0, 2, 1));
  attribute(8, spec.framedAddress ?? Uint8Array.of(10, 0, 0, 1));
  attribute(40, Uint8Array.of(0, 0, 0, accountingStatus[status]));
  attribute(44, spec.session ?? 'session-1');
  put16(out, 2, at);
  return out.slice(0, at);
}

const dhcpMessages = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;

export interface DhcpSpec {
  readonly transaction?: number;
  /** 6 bytes. */
  readonly clientMac?: Uint8Array;
  /** ciaddr, 4 bytes: what a client that renews or releases has. */
  readonly clientAddress?: Uint8Array;
}

/** A DHCP message (RFC 2131, section 2; option 53 of RFC 2132 says which). */
export function dhcp(message: keyof typeof dhcpMessages, spec: DhcpSpec = {}): Uint8Array {
  const fromServer = message === 'offer' || message === 'ack' || message === 'nak';
  const out = new Uint8Array(300);
  out.set([fromServer ? 2 : 1, 1, 6, 0]);
  put32(out, 4, spec.transaction ?? 1);
  out.set(spec.clientAddress ?? [0, 0, 0, 0], 12);
  out.set(spec.clientMac ?? [2, 0, 0, 0, 0, 1], 28);
  put32(out, 236, 0x63825363);
  out.set([53, 1, dhcpMessages[message], 55, 3, 1, 3, 6, 255], 240);
  return out;
}

function gtpV2(type: number, spec: GtpControlSpec, elements: readonly [number, Uint8Array][]): Uint8Array {
  const out = new Uint8Array(512);
  out[0] = 0x48; // version 2, with a TEID
  out[1] = type;
  put32(out, 4, spec.teid ?? 0);
  put32(out, 8, (spec.sequence ?? 1) << 8);
  let at = 12;
  for (const [element, value] of elements) {
    out[at] = element;
    put16(out, at + 1, value.length);
    out.set(value, at + 4);
    at += 4 + value.length;
  }
  put16(out, 2, at - 4);
  return out.slice(0, at);
}

function gtpV1(type: number, spec: GtpControlSpec, elements: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(512);
  out[0] = 0x32; // version 1, protocol type GTP, with a sequence number
  out[1] = type;
  put32(out, 4, spec.teid ?? 0);
  put16(out, 8, spec.sequence ?? 1);
  let at = 12;
  for (const element of elements) {
    out.set(element, at);
    at += element.length;
  }
  put16(out, 2, at - 8);
  return out.slice(0, at);
}

/** Digits two a byte, the first in the low half, filled up to 8 bytes with ones (TBCD, 3GPP TS 29.002). */
function imsiDigits(imsi = '001010000000001'): Uint8Array {
  const out = new Uint8Array(8).fill(0xff);
  for (let i = 0; i < imsi.length; i++) {
    const digit = Number(imsi[i]);
    const byte = out[i >> 1]!;
    out[i >> 1] = i % 2 === 0 ? (byte & 0xf0) | digit : (byte & 0x0f) | (digit << 4);
  }
  return out;
}

function apn(name: string): Uint8Array {
  const out = new Uint8Array(name.length + 1);
  out[0] = name.length;
  writeBytes(name, out, 1);
  return out;
}
