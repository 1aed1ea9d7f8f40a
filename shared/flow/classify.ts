// Says of a packet what a flow's life depends on: is the flow's start visible (type 1) or not (type 2), does this packet
// start or end it, and which idle limit applies.
//
// Type 1 are the protocols that open with a message of their own: TCP, SCTP, DCCP, and the signalling of sessions (GTP-C,
// RADIUS accounting, DHCP). Signalling sessions share one five-tuple, so their starts and ends carry AGGREGATE. The ports
// of GTP-C and RADIUS lie in the range from which old systems take ephemeral ports; what merely uses such a port and does
// not speak the protocol is ordinary UDP, or a DNS client could never get a flow.
//
// Sources: RFC 9293 (TCP), RFC 9260 (SCTP), RFC 4340 (DCCP), and the files read here for the rest.

import { u16 } from '../packet/bytes.ts';
import { Dhcp6Type, DhcpPort, DhcpType, readDhcp, readDhcp6 } from '../packet/decode/dhcp.ts';
import { GtpMessage, GtpPort, readGtpControl } from '../packet/decode/gtp.ts';
import type { IpLayer } from '../packet/decode/headers.ts';
import { RadiusMessage, RadiusPort, readAccounting } from '../packet/decode/radius.ts';
import { Protocol } from '../packet/decode/transport.ts';
import { FrameFlags, isSingle, ProtocolClass, protocolClassShift, RESET } from './frameFlags.ts';

const { TYPE1, START, END, AGGREGATE, HANDSHAKE } = FrameFlags;

const TcpFlag = { FIN: 1, SYN: 2, RST: 4, ACK: 16 } as const;
const SctpChunk = { INIT: 1, INIT_ACK: 2, ABORT: 6, SHUTDOWN_COMPLETE: 14 } as const;
const DccpType = { REQUEST: 0, RESPONSE: 1, CLOSE: 6, RESET: 7 } as const;

const classTcp = TYPE1 | (ProtocolClass.TCP << protocolClassShift);
const classUdp = ProtocolClass.UDP << protocolClassShift;
const classSctp = TYPE1 | (ProtocolClass.SCTP << protocolClassShift);
const classDccp = TYPE1 | (ProtocolClass.DCCP << protocolClassShift);
const classIcmp = ProtocolClass.ICMP << protocolClassShift;
const classGtp = TYPE1 | AGGREGATE | (ProtocolClass.GTP_C << protocolClassShift);
const classRadius = TYPE1 | AGGREGATE | (ProtocolClass.RADIUS << protocolClassShift);
const classDhcp = TYPE1 | AGGREGATE | (ProtocolClass.DHCP << protocolClassShift);

/**
 * FrameFlags for a packet with the IP header `layer`: type, start, end, aggregate and protocol class. With `eachWay` the two
 * directions are flows of their own, and the answer to a start is the start of the other one.
 */
export function classify(buffer: Uint8Array, layer: IpLayer, eachWay = false): number {
  switch (layer.protocol) {
    case Protocol.UDP:
      return isSignallingPort(layer.sourcePort) || isSignallingPort(layer.targetPort)
        ? classifySignalling(buffer, layer)
        : classUdp;
    case Protocol.TCP:
      return classifyTcp(layer.tcpFlags, eachWay);
    case Protocol.SCTP: {
      const chunk = layer.messageType;
      if (chunk === SctpChunk.INIT) return classSctp | START;
      if (chunk === SctpChunk.INIT_ACK) return classSctp | (eachWay ? START : HANDSHAKE);
      if (chunk === SctpChunk.SHUTDOWN_COMPLETE) return classSctp | END;
      return chunk === SctpChunk.ABORT ? classSctp | RESET : classSctp;
    }
    case Protocol.DCCP: {
      const type = layer.messageType;
      if (type === DccpType.REQUEST) return classDccp | START;
      if (type === DccpType.RESPONSE) return classDccp | (eachWay ? START : HANDSHAKE);
      if (type === DccpType.RESET) return classDccp | RESET;
      return type === DccpType.CLOSE ? classDccp | END : classDccp;
    }
    case Protocol.UDP_LITE:
      return classUdp;
    case Protocol.ICMP:
    case Protocol.ICMPV6:
      return classIcmp;
    default:
      return 0;
  }
}

/** FrameFlags for TCP with these flag bits, or -1 where they could not be read; `eachWay` as for `classify`. */
export function classifyTcp(flags: number, eachWay = false): number {
  // The usual segment: ACK, perhaps PSH. A header whose flags are not there starts and ends nothing.
  if (flags < 0 || (flags & (TcpFlag.FIN | TcpFlag.SYN | TcpFlag.RST)) === 0) return classTcp;
  const opens = (flags & TcpFlag.SYN) !== 0 && (eachWay || (flags & TcpFlag.ACK) === 0) ? START : 0;
  if (flags & TcpFlag.RST) return classTcp | opens | RESET;
  if (flags & TcpFlag.FIN) return classTcp | opens | END;
  return classTcp | (opens || HANDSHAKE);
}

/** FrameFlags for UDP with these ports; -1 where they are ports of signalling, and only the message can tell. */
export function classifyUdp(sourcePort: number, targetPort: number): number {
  // Above the highest of them there is nothing to compare.
  if (sourcePort > GtpPort.VERSION_0 && targetPort > GtpPort.VERSION_0) return classUdp;
  return isSignallingPort(sourcePort) || isSignallingPort(targetPort) ? -1 : classUdp;
}

/** The same for a packet quoted in an ICMP error, which starts and ends nothing, and confirms nothing either. */
export function classifyQuoted(buffer: Uint8Array, layer: IpLayer): number {
  const flags = classify(buffer, layer) & ~(START | END);
  return flags & TYPE1 ? flags | HANDSHAKE : flags;
}

/** Flags of a packet in a flow of many kinds of packets. One that claims to be start and end is no flow of its own (SINGLE). */
export function aggregated(flags: number): number {
  const kept = flags & ~TYPE1;
  return isSingle(kept) ? kept & ~END : kept;
}

function isSignallingPort(port: number): boolean {
  switch (port) {
    case DhcpPort.SERVER:
    case DhcpPort.CLIENT:
    case DhcpPort.CLIENT_V6:
    case DhcpPort.SERVER_V6:
    case RadiusPort.ACCOUNTING:
    case RadiusPort.ACCOUNTING_OLD:
    case GtpPort.CONTROL:
    case GtpPort.VERSION_0:
      return true;
    default:
      return false;
  }
}

function classifySignalling(buffer: Uint8Array, layer: IpLayer): number {
  const message = layer.payload + 8;
  // What the UDP header does not count is not the message's; a length below its own 8 bytes leaves nothing of one.
  const length = layer.end < message ? 0 : u16(buffer, layer.payload + 4) - 8;
  const end = Math.min(layer.end, message + Math.max(length, 0));
  if (hasPort(layer, DhcpPort.SERVER, DhcpPort.CLIENT)) {
    const type = readDhcp(buffer, message, end);
    if (type === DhcpType.DISCOVER || type === DhcpType.REQUEST) return classDhcp | START;
    return type === DhcpType.RELEASE ? classDhcp | END : classDhcp;
  }
  if (hasPort(layer, DhcpPort.SERVER_V6, DhcpPort.CLIENT_V6)) {
    const type = readDhcp6(buffer, message, end);
    if (type === Dhcp6Type.SOLICIT || type === Dhcp6Type.REQUEST) return classDhcp | START;
    return type === Dhcp6Type.RELEASE ? classDhcp | END : classDhcp;
  }
  if (hasPort(layer, RadiusPort.ACCOUNTING, RadiusPort.ACCOUNTING_OLD)) {
    const radius = readAccounting(buffer, message, end, length);
    if (radius === RadiusMessage.START) return classRadius | START;
    if (radius === RadiusMessage.STOP) return classRadius | END;
    if (radius === RadiusMessage.OTHER) return classRadius;
  }
  if (hasPort(layer, GtpPort.CONTROL, GtpPort.VERSION_0)) {
    const gtp = readGtpControl(buffer, message, end, length);
    if (gtp === GtpMessage.CREATE) return classGtp | START;
    if (gtp === GtpMessage.DELETE) return classGtp | END;
    if (gtp === GtpMessage.OTHER) return classGtp;
  }
  return classUdp;
}

function hasPort(layer: IpLayer, first: number, second: number): boolean {
  const { sourcePort, targetPort } = layer;
  return sourcePort === first || sourcePort === second || targetPort === first || targetPort === second;
}
