// The column `key` of dissect: what a flow key was made of, where it is not addresses and ports.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Dissector, dissectColumns } from '../../../../services/cli/inspect/dissect.ts';
import type { KeyOptions } from '../../../../shared/flow/keyer.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../../shared/packet/encode/build.ts';
import * as make from '../../../support/identifiedPackets.ts';

const ends = { source: '10.0.0.1', target: '192.0.2.1' };
const column = dissectColumns.indexOf('key');

function keyOf(options: Partial<KeyOptions>, packet: PacketSpec | Uint8Array): unknown {
  const bytes = packet instanceof Uint8Array ? packet : buildPacket({ ...ends, ...packet });
  return new Dissector({ secret: 'x', ...options }).row(bytes, 0, bytes.length, 1, 0)[column];
}

test('dissect - shows the tunnel, the call, the connection id, the subscriber or the client that a key was made of', () => {
  const subscriber = { flowKey: 'subscriber', subscriberNetworks: ['10.0.0.0/8'] } as const;
  const udp = (sourcePort: number, targetPort: number, payload: Uint8Array | string) => ({
    udp: { sourcePort, targetPort, payload },
  });
  const cases: readonly (readonly [Partial<KeyOptions>, PacketSpec, string])[] = [
    [{}, udp(1, 2, ''), ''],
    [{ groupKey: 'subscriber', subscriberNetworks: ['10.0.0.0/8'] }, udp(1, 2, ''), ''],
    [{ flowKey: 'gtp-teid' }, udp(2152, 2152, make.gtp1(255, 0xabc)), 'gtp-u teid 0x00000abc at 192.0.2.1'],
    [
      { flowKey: 'gtp-teid' },
      udp(2123, 2123, make.gtp2(32, 0, make.endpoint2(7))),
      'gtp-c teid 0x00000007 at 10.0.0.1',
    ],
    [{ flowKey: 'gtp-teid' }, udp(2152, 2152, make.gtp1(1, 0)), ''],
    [{ flowKey: 'sip-call-id' }, udp(5060, 5060, make.sip('Call-ID: a\u00e9@x')), 'call-id a??@x'],
    [{ flowKey: 'quic-cid' }, udp(5, 443, make.quicShort([1, 2, 3, 4, 5, 6, 7, 250])), 'cid 01020304050607fa'],
    [subscriber, udp(1, 2, ''), 'address 10.0.0.1'],
    [subscriber, udp(546, 547, make.dhcp6(1, [0, 1, 254])), 'duid 0001fe'],
    [{ flowKey: 'packet' }, udp(1, 2, ''), 'packet'],
  ];
  for (const [options, packet, expected] of cases) assert.equal(keyOf(options, packet), expected);
});

test('dissect - a fragment under the key `packet` is shown as its datagram', () => {
  const pieces = fragmentPacket(
    { ...ends, identification: 3, udp: { sourcePort: 1, targetPort: 2, payload: 'x'.repeat(60) } },
    32,
  );
  assert.deepEqual(new Set(pieces.map((piece) => keyOf({ flowKey: 'packet' }, piece))), new Set(['datagram']));
});
