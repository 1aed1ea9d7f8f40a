// Link layers by hand: the bytes before the IP header, and where the parser has to find that header.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Headers, parseLimits } from '../../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../../shared/packet/decode/parse.ts';
import { reasons } from '../../../../../shared/packet/decode/reasons.ts';
import { buildPacket } from '../../../../../shared/packet/encode/build.ts';

const ends = { source: '10.0.0.1', target: '192.0.2.1', udp: { sourcePort: 4000, targetPort: 53 } };
const ends6 = { source: '2001:db8::1', target: '2001:db8::2', udp: { sourcePort: 4000, targetPort: 53 } };
const ipv4 = buildPacket({ ...ends, link: 'none' });
const ipv6 = buildPacket({ ...ends6, link: 'none' });
const macs = '020000000002 020000000001';
const cooked = '0000 0001 0006 020000000009 0000';

interface LinkCase {
  readonly name: string;
  readonly linkType: number;
  /** The bytes before the IP header, in hexadecimal. */
  readonly before: string;
  readonly ip?: 4 | 6;
  readonly vlans?: readonly number[];
}

const ipCases: readonly LinkCase[] = [
  { name: 'Ethernet', linkType: 1, before: `${macs} 0800` },
  { name: 'Ethernet, IPv6', linkType: 1, before: `${macs} 86dd`, ip: 6 },
  { name: '802.1Q', linkType: 1, before: `${macs} 8100 6007 0800`, vlans: [7] },
  { name: '802.1ad over 802.1Q', linkType: 1, before: `${macs} 88a8 0005 8100 0006 0800`, vlans: [5, 6] },
  { name: 'old QinQ types', linkType: 1, before: `${macs} 9100 0001 9200 0002 8100 0003 0800`, vlans: [1, 2, 3] },
  {
    name: 'as many VLAN tags as are followed',
    linkType: 1,
    before: `${macs} ${'8100 0001 '.repeat(parseLimits.vlanTags)} 0800`,
    vlans: new Array(parseLimits.vlanTags).fill(1),
  },
  { name: 'VN-Tag', linkType: 1, before: `${macs} 8926 80000000 0800` },
  { name: 'E-Tag', linkType: 1, before: `${macs} 893f 000000000000 0800` },
  { name: '802.1ah', linkType: 1, before: `${macs} 88e7 00000064 ${macs} 8100 0009 0800`, vlans: [9] },
  { name: 'MPLS, one label', linkType: 1, before: `${macs} 8847 000101ff` },
  { name: 'MPLS, three labels, IPv6', linkType: 1, before: `${macs} 8847 000010ff 000020ff 000031ff`, ip: 6 },
  { name: 'MPLS pseudowire with control word', linkType: 1, before: `${macs} 8847 000011ff 00000000 ${macs} 0800` },
  {
    name: 'MPLS pseudowire without control word, VLAN inside',
    linkType: 1,
    before: `${macs} 8847 000011ff ${macs} 8100 0004 0800`,
    vlans: [4],
  },
  { name: 'VLAN over MPLS', linkType: 1, before: `${macs} 8100 0008 8848 000011ff`, vlans: [8] },
  { name: 'PPPoE session', linkType: 1, before: `${macs} 8864 1100 0001 0064 0021` },
  {
    name: 'PPPoE session under QinQ, IPv6',
    linkType: 1,
    before: `${macs} 8100 0001 8100 0002 8864 110000010064 0057`,
    ip: 6,
    vlans: [1, 2],
  },
  { name: 'LLC and SNAP', linkType: 1, before: `${macs} 0050 aaaa03 000000 0800` },
  {
    name: 'LLC and SNAP under a VLAN, bridged Ethernet organisation',
    linkType: 1,
    before: `${macs} 8100 0003 0050 aaaa03 0000f8 86dd`,
    ip: 6,
    vlans: [3],
  },
  { name: 'LLC with the SAP of IP', linkType: 1, before: `${macs} 0050 060603` },
  { name: 'Linux cooked', linkType: 113, before: `${cooked} 0800` },
  { name: 'Linux cooked, VLAN', linkType: 113, before: `${cooked} 8100 0007 86dd`, ip: 6, vlans: [7] },
  { name: 'Linux cooked, LLC', linkType: 113, before: `${cooked} 0004 aaaa03 000000 0800` },
  { name: 'Linux cooked 2', linkType: 276, before: '0800 0000 00000002 0001 00 06 020000000009 0000' },
  { name: 'raw IP', linkType: 101, before: '' },
  { name: 'raw IP, IPv6', linkType: 101, before: '', ip: 6 },
  { name: 'raw IP of the BSDs', linkType: 12, before: '' },
  { name: 'raw IP of OpenBSD', linkType: 14, before: '' },
  { name: 'IPv4 only', linkType: 228, before: '' },
  { name: 'IPv6 only', linkType: 229, before: '', ip: 6 },
  { name: 'loopback, little-endian', linkType: 0, before: '02000000' },
  { name: 'loopback, big-endian', linkType: 0, before: '00000002' },
  ...[24, 28, 30, 10].map((family) => ({
    name: `loopback, IPv6 as family ${family}`,
    linkType: 0,
    before: `${family.toString(16).padStart(2, '0')}000000`,
    ip: 6 as const,
  })),
  { name: 'loopback in network byte order', linkType: 108, before: '00000018', ip: 6 },
  { name: 'PPP', linkType: 9, before: 'ff03 0021' },
  { name: 'PPP without address and control', linkType: 9, before: '0057', ip: 6 },
  { name: 'PPP with a compressed protocol field', linkType: 50, before: 'ff03 21' },
  { name: 'PPP, MPLS', linkType: 9, before: '0281 000011ff' },
  { name: 'PPPoE as link type', linkType: 51, before: '1100 0001 0064 0021' },
  { name: 'Cisco HDLC', linkType: 104, before: '0f00 0800' },
  { name: 'Cisco HDLC under the name of PPP', linkType: 50, before: '0f00 0800' },
  { name: 'Cisco HDLC under the name of PPP, broadcast', linkType: 9, before: '8f00 86dd', ip: 6 },
  { name: 'loopback, IPv6 as family 2', linkType: 0, before: '02000000', ip: 6 },
  { name: 'loopback, an EtherType', linkType: 0, before: '00000800' },
  { name: 'Linux cooked, a GRE device', linkType: 113, before: '0000 030a 0000 0000000000000000 0800' },
  { name: 'NFLOG', linkType: 239, before: '02 00 0000 0800 0100 0800 0300 0600 0a00 7800 0000 4000 0900' },
  { name: 'NFLOG, big-endian, IPv6', linkType: 239, before: '0a 00 0001 0008 0001 86dd 0100 0044 0009', ip: 6 },
  { name: 'NFLOG, a bridge', linkType: 239, before: '07 00 0000 0800 0100 8100 0300 4000 0900 0007 0800', vlans: [7] },
  { name: 'Solaris IPNET', linkType: 226, before: `01 02 0004 ${'00000000'.repeat(5)}` },
  { name: 'Solaris IPNET, IPv6', linkType: 226, before: `01 1a 0004 ${'00000000'.repeat(5)}`, ip: 6 },
  { name: 'OpenBSD pflog', linkType: 117, before: `3d 02 ${'00'.repeat(62)}` },
  { name: 'OpenBSD pflog, IPv6', linkType: 117, before: `3d 18 ${'00'.repeat(62)}`, ip: 6 },
  { name: 'MPLS associated channel, IPv4', linkType: 1, before: `${macs} 8847 000011ff 10000021` },
  { name: 'MPLS associated channel, IPv6', linkType: 1, before: `${macs} 8847 000011ff 10000057`, ip: 6 },
  { name: 'HSR', linkType: 1, before: `${macs} 892f 0028 0001 0800` },
  { name: 'Cisco metadata', linkType: 1, before: `${macs} 8909 0101 0001 0007 0800` },
  { name: 'FabricPath', linkType: 1, before: `${macs} 8903 0041 ${macs} 8100 0005 0800`, vlans: [5] },
  { name: 'TRILL', linkType: 1, before: `${macs} 22f3 0001 0001 0002 ${macs} 0800` },
  { name: 'TRILL with options', linkType: 1, before: `${macs} 22f3 0081 0001 0002 0000000000000000 ${macs} 0800` },
  {
    name: 'inter-switch link',
    linkType: 1,
    before: `01000c0000 00 020000000001 0050 aaaa03 020000 000a 0000 0000 ${macs} 0800`,
  },
];

test('packet parser - the IP header is found behind every link layer', async (t) => {
  for (const { name, linkType, before, ip = 4, vlans = [] } of ipCases) {
    await t.test(name, () => {
      const head = hex(before);
      const headers = parsed(linkType, join(head, ip === 4 ? ipv4 : ipv6), 'none');
      assert.equal(headers.outer.version, ip);
      assert.equal(headers.outer.offset, head.length);
      assert.deepEqual([headers.outer.sourcePort, headers.outer.targetPort], [4000, 53]);
      assert.deepEqual([...headers.link.vlans.subarray(0, headers.link.vlanCount)], vlans);
    });
  }
});

interface OtherCase {
  readonly name: string;
  readonly linkType: number;
  readonly bytes: string;
  /** 'none' means a packet that is not IP. */
  readonly reason: string;
}

const otherCases: readonly OtherCase[] = [
  { name: 'ARP', linkType: 1, bytes: `${macs} 0806 0001080006040001`, reason: 'none' },
  { name: 'LLDP', linkType: 1, bytes: `${macs} 88cc 0207`, reason: 'none' },
  { name: 'spanning tree over LLC', linkType: 1, bytes: `${macs} 0026 424203 0000`, reason: 'none' },
  { name: 'IPX in raw 802.3', linkType: 1, bytes: `${macs} 0026 ffff 0022`, reason: 'none' },
  { name: 'SNAP of another organisation', linkType: 1, bytes: `${macs} 0026 aaaa03 00000c 2000`, reason: 'none' },
  { name: 'PPPoE discovery', linkType: 1, bytes: `${macs} 8863 1109 0000 0000`, reason: 'none' },
  { name: 'PPP link control', linkType: 9, bytes: 'ff03 c021 01010004', reason: 'none' },
  { name: 'MPLS associated channel', linkType: 1, bytes: `${macs} 8847 000011ff 10000007`, reason: 'none' },
  { name: 'MPLS with nothing behind', linkType: 1, bytes: `${macs} 8847 000011ff`, reason: 'none' },
  { name: 'Linux cooked, ARP', linkType: 113, bytes: `${cooked} 0806 0001`, reason: 'none' },
  { name: 'Linux cooked, a protocol of its own', linkType: 113, bytes: `${cooked} 0003 0001`, reason: 'none' },
  { name: 'loopback in network byte order, the other order', linkType: 108, bytes: '02000000 45', reason: 'none' },
  { name: 'netlink', linkType: 113, bytes: '0004 0338 0000 0000000000000000 0800 45', reason: 'none' },
  {
    name: 'netlink, version 2',
    linkType: 276,
    bytes: '0004 0000 00000002 0338 04 00 0000000000000000 060603',
    reason: 'none',
  },
  { name: 'a cut associated channel', linkType: 1, bytes: `${macs} 8847 000011ff 1000`, reason: 'none' },
  { name: 'a cut TRILL header', linkType: 1, bytes: `${macs} 22f3 0001 0001`, reason: 'link-header-cut' },
  { name: 'a cut HSR tag', linkType: 1, bytes: `${macs} 892f 0028`, reason: 'link-header-cut' },
  {
    name: 'a cut inter-switch link',
    linkType: 1,
    bytes: '01000c0000 00 020000000001 0050 aaaa03',
    reason: 'link-header-cut',
  },
  { name: 'loopback, another family', linkType: 0, bytes: '07000000 00', reason: 'none' },
  { name: 'nothing at all', linkType: 1, bytes: '', reason: 'empty' },
  { name: 'a cut Ethernet header', linkType: 1, bytes: `${macs} 08`, reason: 'link-header-cut' },
  { name: 'a cut VLAN tag', linkType: 1, bytes: `${macs} 8100 0001 08`, reason: 'link-header-cut' },
  { name: 'a cut label stack', linkType: 1, bytes: `${macs} 8847 000010ff 00`, reason: 'link-header-cut' },
  { name: 'a cut PPPoE header', linkType: 1, bytes: `${macs} 8864 1100`, reason: 'link-header-cut' },
  { name: 'a cut PPP protocol', linkType: 9, bytes: 'ff03 00', reason: 'link-header-cut' },
  { name: 'a cut Linux cooked header', linkType: 113, bytes: cooked, reason: 'link-header-cut' },
  { name: 'a cut Linux cooked 2 header', linkType: 276, bytes: '0800', reason: 'link-header-cut' },
  { name: 'a cut loopback header', linkType: 0, bytes: '0200', reason: 'link-header-cut' },
  { name: 'too many VLAN tags', linkType: 1, bytes: `${macs} ${'8100 0001 '.repeat(9)} 0800`, reason: 'link-nesting' },
  {
    name: 'a label stack without a bottom',
    linkType: 1,
    bytes: `${macs} 8847 ${'000010ff'.repeat(40)}`,
    reason: 'link-nesting',
  },
  {
    name: 'Ethernet in Ethernet without end',
    linkType: 1,
    bytes: `${macs} ${`88e7 00000001 ${macs}`.repeat(20)} 0800`,
    reason: 'link-nesting',
  },
  { name: 'NFLOG without a packet', linkType: 239, bytes: '02 00 0000 0800 0100 0800 0300', reason: 'none' },
  { name: 'a cut NFLOG header', linkType: 239, bytes: '02 00', reason: 'link-header-cut' },
  {
    name: 'an NFLOG attribute without length',
    linkType: 239,
    bytes: '02 00 0000 0000 0900 45',
    reason: 'link-header-cut',
  },
  { name: 'a cut pflog header', linkType: 117, bytes: '3d 02 0000', reason: 'link-header-cut' },
  { name: '802.11', linkType: 105, bytes: '0800', reason: 'link-80211' },
  { name: 'radiotap', linkType: 127, bytes: '0000', reason: 'link-80211' },
  { name: 'USB', linkType: 220, bytes: '0000', reason: 'link-type' },
];

test('packet parser - what is not IP is told from what is damaged or unknown', async (t) => {
  for (const { name, linkType, bytes, reason } of otherCases) {
    await t.test(name, () => {
      const headers = parsed(linkType, hex(bytes), reason);
      assert.equal(headers.outer.version, 0);
    });
  }
});

test('packet parser - the MAC pair is the outermost, the cooked address the sender', () => {
  const inner = '0a000000000b 0a000000000a';
  const wire = parsed(1, join(hex(`${macs} 8847 000011ff 00000000 ${inner} 0800`), ipv4), 'none');
  assert.equal(wire.link.macs, 0);
  const sll = parsed(113, join(hex(`${cooked} 0800`), ipv4), 'none');
  assert.deepEqual([sll.link.macs, sll.link.address, sll.link.addressLength], [-1, 6, 6]);
});

function parsed(linkType: number, packet: Uint8Array, reason: string): Headers {
  const headers = new Headers();
  const code = parse(packet, 0, packet.length, linkType, headers, false);
  assert.equal(reasons[code].name, reason);
  return headers;
}

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
}

function join(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
