// Names of link types by their numbers in capture files (tcpdump.org/linktypes.html), for messages about those that are not
// read. The list has what people capture; a number that is not in it is told by itself.
import { linkKinds } from '../../../flow/frameFlags.ts';
import { LinkType } from './link.ts';

const names: Readonly<Record<number, string>> = {
  0: 'BSD loopback',
  1: 'Ethernet',
  6: 'token ring',
  7: 'ARCNET',
  8: 'SLIP',
  9: 'PPP',
  10: 'FDDI',
  12: 'raw IP',
  14: 'raw IP',
  50: 'PPP over serial',
  51: 'PPP over Ethernet',
  100: 'ATM, RFC 1483',
  101: 'raw IP',
  104: 'Cisco HDLC',
  105: '802.11',
  107: 'frame relay',
  108: 'OpenBSD loopback',
  113: 'Linux cooked',
  114: 'LocalTalk',
  117: 'OpenBSD pflog',
  119: '802.11 with Prism header',
  122: 'IP over Fibre Channel',
  123: 'ATM of SunATM',
  127: '802.11 with radiotap header',
  129: 'ARCNET of Linux',
  138: 'IP over FireWire',
  140: 'MTP2',
  141: 'MTP3',
  142: 'SCCP',
  143: 'DOCSIS',
  144: 'IrDA of Linux',
  147: 'user 0',
  148: 'user 1',
  149: 'user 2',
  150: 'user 3',
  163: '802.11 with AVS header',
  166: 'PPP with direction',
  177: 'LAPD of Linux',
  187: 'Bluetooth HCI',
  189: 'USB of Linux',
  192: 'PPI',
  195: '802.15.4',
  197: 'ERF',
  201: 'Bluetooth HCI with direction',
  204: 'PPP with direction',
  205: 'Cisco HDLC with direction',
  206: 'frame relay with direction',
  220: 'USB of Linux, padded',
  224: 'Fibre Channel',
  225: 'Fibre Channel with delimiters',
  226: 'Solaris IPNET',
  227: 'CAN of Linux',
  228: 'raw IPv4',
  229: 'raw IPv6',
  230: '802.15.4 without check sequence',
  231: 'D-Bus',
  239: 'NFLOG of Linux',
  240: 'netANALYZER',
  242: 'IP over InfiniBand',
  243: 'MPEG-2 transport stream',
  247: 'InfiniBand',
  248: 'SCTP',
  249: 'USBPcap',
  251: 'Bluetooth Low Energy',
  252: 'Wireshark upper PDU',
  253: 'netlink of Linux',
  258: 'pktap of Apple',
  266: 'USB 2.0',
  274: 'Ethernet with preamble',
  276: 'Linux cooked, version 2',
  283: '802.15.4 with TAP header',
};

const alsoRead: readonly number[] = [LinkType.RAW_BSD, LinkType.RAW_OPENBSD];

/** Whether packets of this link type are read. */
export function isLinkTypeRead(linkType: number): boolean {
  return (linkKinds as readonly number[]).includes(linkType) || alsoRead.includes(linkType);
}

/** `link type 127 (802.11 with radiotap header)`. */
export function linkTypeInWords(linkType: number): string {
  const name = names[linkType];
  return name === undefined ? `link type ${linkType}` : `link type ${linkType} (${name})`;
}

/** Packets by link type, of those types that are not read. */
export class UnreadLinkTypes {
  /** Packets that came, of whatever type. */
  packets = 0;
  readonly #counts = new Map<number, number>();

  /** Counts packets `0 ≤ i < count` of a batch by their link types. */
  add(linkTypes: Uint16Array, count: number): void {
    this.packets += count;
    for (let row = 0; row < count; row++) {
      const linkType = linkTypes[row];
      if (linkType !== LinkType.ETHERNET && !isLinkTypeRead(linkType)) {
        this.#counts.set(linkType, (this.#counts.get(linkType) ?? 0) + 1);
      }
    }
  }

  /** Numbers of the types, the most frequent first, with their packets. */
  get counts(): readonly (readonly [linkType: number, packets: number])[] {
    return [...this.#counts].sort(([, one], [, other]) => other - one);
  }

  /** Packets came, and none of them is read. */
  get isAll(): boolean {
    return this.packets > 0 && this.counts.reduce((sum, [, packets]) => sum + packets, 0) === this.packets;
  }

  /** One line that names the types; undefined when all packets are read. */
  get words(): string | undefined {
    const parts = this.counts.map(
      ([type, packets]) => `${packets.toLocaleString('en-US')} of ${linkTypeInWords(type)}`,
    );
    return parts.length === 0 ? undefined : `packets that are not read: ${parts.join(', ')}`;
  }
}
