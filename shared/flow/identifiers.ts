// What a packet says it belongs to, beyond its addresses and ports: a GTP tunnel, a SIP call, a QUIC connection.
//
// Only a whole packet is asked. Of a fragmented datagram the first fragment may show an identifier and the others do not, so
// none is looked into: all are keyed by their addresses, and found by their datagram. Nor is a packet whose identifier cannot
// be read: it is keyed as under `five-tuple`, and its group is chosen by the pair of its addresses. So a flow is either known by
// an identifier, in flow key and group key alike, or by five-tuple and address pair, and in neither case split.
//
// An ICMP error is about a packet that it quotes, and goes where that packet went, as far as the quote reaches.

import { u16 } from '../packet/bytes.ts';
import { Fragment, type IpLayer } from '../packet/decode/headers.ts';
import { GtpTunnel } from '../packet/decode/messages/gtpTunnel.ts';
import { QuicId } from '../packet/decode/messages/quic.ts';
import { SipCallId } from '../packet/decode/messages/sip.ts';
import { Protocol } from '../packet/decode/transport.ts';
import type { GroupKeyPolicy } from './policies.ts';

/** The policies whose key is an identifier in the payload. */
export const identifierPolicies = ['gtp-teid', 'sip-call-id', 'quic-cid'] as const;
export type IdentifierPolicy = (typeof identifierPolicies)[number];

export function isIdentifierPolicy(policy: GroupKeyPolicy): policy is IdentifierPolicy {
  return identifierPolicies.some((each) => each === policy);
}

/** Of a QUIC connection id, the bytes that count: as long as the ids of common servers. */
export const defaultCidLength = 8;
export const cidLengthMax = 20;

/** Looks into one packet at a time; what it found stays in the readers. */
export class Identifiers {
  readonly gtp = new GtpTunnel();
  readonly sip = new SipCallId();
  readonly quic = new QuicId();
  /** Which one was found last; undefined when there was none. */
  found: IdentifierPolicy | undefined;
  readonly #cidLength: number;

  constructor(cidLength: number) {
    this.#cidLength = cidLength;
  }

  /** Whether the packet with the IP header `layer` shows the identifier that `policy` goes by. */
  find(policy: IdentifierPolicy, buffer: Uint8Array, layer: IpLayer): boolean {
    this.found = undefined;
    if (layer.fragment !== Fragment.WHOLE || layer.sourcePort < 0) return false;
    if (this.#read(policy, buffer, layer)) this.found = policy;
    return this.found !== undefined;
  }

  #read(policy: IdentifierPolicy, buffer: Uint8Array, layer: IpLayer): boolean {
    if (policy === 'gtp-teid') return this.gtp.find(buffer, layer);
    if (policy === 'quic-cid') return this.quic.find(buffer, layer, this.#cidLength);
    const { payload, end } = layer;
    if (layer.protocol === Protocol.UDP && end - payload >= 8) {
      return this.sip.find(buffer, payload + 8, Math.min(end, payload + u16(buffer, payload + 4)));
    }
    if (layer.protocol !== Protocol.TCP || layer.tcpFlags < 0) return false;
    return this.sip.find(buffer, payload + ((buffer[payload + 12] >> 4) << 2), end);
  }
}
