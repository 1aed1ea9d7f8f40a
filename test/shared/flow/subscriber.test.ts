// The key `subscriber`: whose packets are one flow, and whom signalling is about.

import assert from 'node:assert/strict';
import test from 'node:test';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import {
  dhcp,
  dhcpPorts,
  radiusAccounting,
  radiusAccountingPorts,
} from '../../../shared/packet/encode/buildPayload.ts';
import {
  allocated4,
  allocated6,
  allocatedBoth,
  controlPorts,
  dhcp6,
  endpoint1,
  endpoint2,
  endUser4,
  gtp1,
  gtp2,
  imsi1,
  imsi2,
} from '../../support/identifiedPackets.ts';

const a = '10.0.0.1';
const b = '192.0.2.1';
const a6 = '2001:db8::1';
const b6 = '2001:db8:ffff::2';
const ports = { sourcePort: 4000, targetPort: 443 };

function keysOf(packet: PacketSpec | Uint8Array, options: Partial<KeyOptions>): { readonly flow: string } {
  const keyer = new FlowKeyer({ secret: 'a secret', ...options });
  const bytes = packet instanceof Uint8Array ? packet : buildPacket(packet);
  assert.equal(keyer.read(bytes, 0, bytes.length, 1, 0), 0);
  return { flow: `${keyer.flowHi},${keyer.flowLo}` };
}

test('flow keys - subscriber: source upstream, destination downstream, and whom signalling is about', () => {
  const options = { flowKey: 'subscriber', subscriberNetworks: ['10.0.0.0/8', '2001:db8::/48'] } as const;
  const of = (spec: PacketSpec) => keysOf(spec, options).flow;
  const base = of({ source: a, target: b, tcp: ports });
  assert.equal(of({ source: '198.51.100.9', target: a, udp: ports }), base);
  assert.equal(of({ source: a, target: '10.0.0.2', protocol: 89 }), base);
  // Between two subscribers, or two strangers, the lower address in both directions; its sender's where directions are apart.
  assert.equal(of({ source: '10.0.0.2', target: a, protocol: 89 }), base);
  assert.equal(of({ source: b, target: '192.0.2.9', udp: ports }), of({ source: '192.0.2.9', target: b, udp: ports }));
  assert.equal(
    of({ source: a6, target: '2001:db8::9', tcp: ports }),
    of({ source: '2001:db8::9', target: a6, protocol: 89 }),
  );
  const directed = (source: string, target: string) =>
    keysOf({ source, target, udp: ports }, { ...options, symmetric: false }).flow;
  assert.notEqual(directed('10.0.0.2', a), directed(a, '10.0.0.2'));
  assert.equal(directed(b, a), directed(a, b));
  assert.equal(of({ source: a6, target: b6, udp: ports }), of({ source: b6, target: a6, tcp: ports }));
  const servers = { source: b, target: '192.0.2.200' };
  const framedAddress = Uint8Array.of(10, 0, 0, 1);
  assert.equal(
    of({ ...servers, udp: { ...radiusAccountingPorts, payload: radiusAccounting('start', { framedAddress }) } }),
    base,
  );
  const dhcpOf = (payload: Uint8Array) =>
    of({ source: '0.0.0.0', target: '255.255.255.255', udp: { ...dhcpPorts, payload } });
  assert.equal(dhcpOf(dhcp('release', { clientAddress: framedAddress })), base);
  const start = {
    ...servers,
    udp: { ...radiusAccountingPorts, payload: radiusAccounting('start', { framedAddress }) },
  };
  assert.equal(
    new Set(fragmentPacket({ ...start, identification: 5 }, 48).map((part) => keysOf(part, options).flow)).size,
    1,
  );
  const mac = (last: number) => dhcpOf(dhcp('discover', { clientMac: Uint8Array.of(2, 0, 0, 0, 0, last) }));
  assert.equal(new Set([mac(1), mac(2), base]).size, 3);
});

test('flow keys - subscriber: a client is one flow until its address is settled, and its address from then on', () => {
  const options = { flowKey: 'subscriber', subscriberNetworks: ['10.0.0.0/8'] } as const;
  const of = (payload: Uint8Array, from = '0.0.0.0') =>
    keysOf({ source: from, target: '255.255.255.255', udp: { ...dhcpPorts, payload } }, options).flow;
  const packets = keysOf({ source: a, target: b, tcp: ports }, options).flow;
  const withAddress = (payload: Uint8Array) => {
    payload.set([10, 0, 0, 1], 16);
    return payload;
  };
  const request = dhcp('request');
  request.set([53, 1, 3, 50, 4, 10, 0, 0, 1, 255], 240);
  const client = of(dhcp('discover'));
  assert.equal(of(request), client);
  assert.equal(of(withAddress(dhcp('offer')), b), client);
  assert.equal(of(withAddress(dhcp('ack')), b), packets);
  assert.equal(of(dhcp('release', { clientAddress: Uint8Array.of(10, 0, 0, 1) }), a), packets);
  // Without a hardware address, the client id (option 61) counts.
  const nameless = (name: number, type: 'discover' | 'request') => {
    const payload = dhcp(type, { clientMac: new Uint8Array(6) });
    payload.set([53, 1, type === 'discover' ? 1 : 3, 61, 5, 255, 1, 2, 3, name, 255], 240);
    return of(payload);
  };
  assert.equal(nameless(1, 'discover'), nameless(1, 'request'));
  assert.notEqual(nameless(1, 'discover'), nameless(2, 'discover'));
  // DHCPv6: the DUID, through relays and back.
  const six = (payload: Uint8Array, source = 'fe80::1', udp = { sourcePort: 546, targetPort: 547 }) =>
    keysOf({ source, target: 'ff02::1:2', udp: { ...udp, payload } }, options).flow;
  const duid = [0, 1, 0, 1, 1, 2, 3, 4, 5];
  assert.equal(six(dhcp6(3, duid)), six(dhcp6(1, duid)));
  assert.equal(six(dhcp6(7, duid), 'fe80::2', { sourcePort: 547, targetPort: 546 }), six(dhcp6(1, duid)));
  assert.equal(six(dhcp6(1, duid, 3), 'fe80::7', { sourcePort: 547, targetPort: 547 }), six(dhcp6(1, duid)));
  assert.notEqual(six(dhcp6(1, [...duid, 6])), six(dhcp6(1, duid)));
});

test('flow keys - subscriber: a GTP-C message that creates a session is about the address that it gives', () => {
  const options = { flowKey: 'subscriber', subscriberNetworks: ['10.0.0.0/8', '2001:db8::/48'] } as const;
  const gateways = { source: '198.51.100.1', target: '198.51.100.2' };
  const of = (payload: Uint8Array) => keysOf({ ...gateways, udp: { ...controlPorts, payload } }, options).flow;
  const packets = keysOf({ source: a, target: b, tcp: ports }, options).flow;
  const four = [10, 0, 0, 1];
  const six = [0x20, 0x01, 0x0d, 0xb8, ...new Array<number>(11).fill(0), 1];
  assert.equal(of(gtp2(32, 0, [...imsi2, ...endpoint2(1), ...allocated4(four)])), packets);
  assert.equal(of(gtp2(33, 1, [2, 0, 2, 0, 16, 0, ...allocated4(four)])), packets);
  assert.equal(of(gtp2(33, 1, allocatedBoth(six, four))), packets);
  assert.equal(of(gtp2(33, 1, allocated6(six))), keysOf({ source: a6, target: b6, tcp: ports }, options).flow);
  assert.equal(of(gtp1(16, 0, [...imsi1, ...endpoint1(1), ...endUser4(four)])), packets);
  assert.equal(of(gtp1(17, 1, [1, 128, ...endpoint1(1), ...endUser4(four)])), packets);
  // An address that is still to be assigned is none, and other messages have none.
  const open = of(gtp2(32, 0, [...imsi2, ...allocated4([0, 0, 0, 0])]));
  assert.equal(open, keysOf({ ...gateways, udp: ports }, options).flow);
  assert.equal(of(gtp2(34, 1, allocated4(four))), open);
});
