// The packets of a generated flow, one after the other: what each protocol opens with, goes on with and ends with.
//
// A kind is a packet that differs from others by more than fields, so it has a template of its own, one for each
// direction. Flows of packets that are all alike (TCP, UDP, an ICMP echo, a GTP-U tunnel) have one kind; SCTP and GTP-C
// flows go through several. Two sides of an echo or of GTP-C take turns as request and response.

import type { PacketSpec } from '../../../shared/packet/encode/build.ts';
import * as gtp from '../../../shared/packet/encode/buildPayload.ts';
import type { SctpChunkName } from '../../../shared/packet/encode/buildTransport.ts';
import { PacketTemplate, type TemplateSpec } from '../../../shared/packet/encode/template.ts';
import type { Protocol } from './mixes.ts';

const sctpKinds = [
  'data',
  'init',
  'init-ack',
  'cookie-echo',
  'cookie-ack',
  'shutdown',
  'shutdown-ack',
  'shutdown-complete',
] as const satisfies readonly SctpChunkName[];
/** Sessions of both versions of GTP-C in use: GTPv2-C first, then GTPv1-C with its PDP contexts. */
const gtpRequests = {
  'create-session': gtp.gtpCreateSession(),
  'modify-bearer': gtp.gtpModifyBearer(),
  'delete-session': gtp.gtpDeleteSession(),
  'create-pdp': gtp.gtpCreatePdp(),
  'update-pdp': gtp.gtpUpdatePdp(),
  'delete-pdp': gtp.gtpDeletePdp(),
} as const;
type GtpKind = keyof typeof gtpRequests;

const kinds = ['tcp', 'udp', 'icmp', 'gtp-u', ...sctpKinds, ...(Object.keys(gtpRequests) as GtpKind[])] as const;
type Kind = (typeof kinds)[number];
const kindNumber = Object.fromEntries(kinds.map((kind, i) => [kind, i])) as Record<Kind, number>;
const kindsOf: Readonly<Record<Protocol, readonly Kind[]>> = {
  tcp: ['tcp'],
  udp: ['udp'],
  icmp: ['icmp'],
  'gtp-u': ['gtp-u'],
  sctp: sctpKinds,
  'gtp-c': Object.keys(gtpRequests) as GtpKind[],
};

/** Addresses between which templates are made. */
export interface Ends {
  readonly source: string;
  readonly target: string;
  /** Those of the user's packets in a GTP-U tunnel. */
  readonly innerSource: string;
  readonly innerTarget: string;
  readonly vlans: readonly number[];
}

/**
 * Which kind of packet a flow sends as its number `sequence` of `total` (0: endless). `odd` chooses between the versions
 * of GTP-C.
 */
export function kindAt(
  protocol: Protocol,
  sequence: number,
  total: number,
  last: boolean,
  replies: boolean,
  odd: boolean,
): number {
  if (protocol === 'sctp') return sctpKind(sequence, total, last, replies);
  if (protocol !== 'gtp-c') return kindNumber[protocol];
  // Requests by the client; with replies each has its response, of the same kind.
  const turn = replies ? sequence >>> 1 : sequence;
  const turns = replies ? total >>> 1 : total;
  const first = kindNumber[odd ? 'create-pdp' : 'create-session'];
  return first + (turn === 0 ? 0 : last || turn === turns - 1 ? 2 : 1);
}

/** `total` packets, or as many as a whole flow needs: see FlowClass.packetsPerFlow. */
export function wholeFlow(protocol: Protocol, total: number, replies: boolean): number {
  switch (protocol) {
    case 'tcp':
      return Math.max(total, replies ? 4 : 2);
    case 'sctp':
      // The client has the last word.
      return replies ? Math.max(total, 7) | 1 : Math.max(total, 4);
    case 'gtp-c':
      return replies ? Math.max(total + (total & 1), 4) : Math.max(total, 2);
    case 'icmp':
      return replies ? total + (total & 1) : total;
    default:
      return total;
  }
}

/** Templates of what `protocols` need, at [2 * kind + direction]; the client's direction is 0. */
export function templatesFor(protocols: ReadonlySet<Protocol>, ends: Ends): PacketTemplate[] {
  const templates: PacketTemplate[] = [];
  for (const kind of new Set([...protocols].flatMap((protocol) => kindsOf[protocol]))) {
    templates[2 * kindNumber[kind]] = new PacketTemplate(templateSpec(kind, ends, false));
    templates[2 * kindNumber[kind] + 1] = new PacketTemplate(templateSpec(kind, ends, true));
  }
  return templates;
}

function sctpKind(sequence: number, total: number, last: boolean, replies: boolean): number {
  // RFC 9260: four packets set up (section 5.1), three shut down (section 9.2); without replies the client's side of
  // them.
  const left = last ? 0 : total === 0 ? Number.POSITIVE_INFINITY : total - 1 - sequence;
  if (sequence === 0) return kindNumber.init;
  if (left === 0) return kindNumber['shutdown-complete'];
  if (replies) {
    if (sequence <= 3) return kindNumber['init-ack'] + sequence - 1;
    return left === 1 ? kindNumber['shutdown-ack'] : left === 2 ? kindNumber.shutdown : kindNumber.data;
  }
  return sequence === 1 ? kindNumber['cookie-echo'] : left === 1 ? kindNumber.shutdown : kindNumber.data;
}

function templateSpec(kind: Kind, ends: Ends, reply: boolean): TemplateSpec {
  const ports = { sourcePort: 0, targetPort: 0 };
  const { vlans } = ends;
  const between: PacketSpec = reply
    ? { source: ends.target, target: ends.source, vlans }
    : { source: ends.source, target: ends.target, vlans };
  switch (kind) {
    case 'tcp':
      return { ...between, tcp: ports };
    case 'udp':
      return { ...between, udp: ports };
    case 'icmp':
      return { ...between, icmp: { kind: reply ? 'echo-reply' : 'echo-request' } };
    case 'gtp-u': {
      const [source, target] = reply ? [ends.innerTarget, ends.innerSource] : [ends.innerSource, ends.innerTarget];
      return { ...between, gtpUser: { source, target, udp: ports } };
    }
  }
  if (!isGtp(kind)) return { ...between, sctp: { ...ports, chunks: [kind] } };
  const request = gtpRequests[kind];
  return { ...between, gtpControl: reply ? gtp.gtpResponse(request) : request };
}

function isGtp(kind: Kind): kind is GtpKind {
  return Object.hasOwn(gtpRequests, kind);
}
