// Addresses of UDP sockets as people write them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes, isFlowherdError } from '../../../shared/base/errors.ts';
import { parseUdpUrl, resolveUdp } from '../../../shared/base/udpAddress.ts';

test('udp address - host and port are read, IPv6 in brackets', () => {
  for (const [text, host, port] of [
    ['udp://192.0.2.1:53', '192.0.2.1', 53],
    ['udp://name-1.example.org:65535', 'name-1.example.org', 65_535],
    ['udp://[2001:db8::1]:5353', '2001:db8::1', 5_353],
    ['udp://[::]:53', '::', 53],
    ['udp://[fe80::1%eth0]:53', 'fe80::1%eth0', 53],
    ['udp://[fe80::1%25eth0]:53', 'fe80::1%eth0', 53],
    ['udp://[fe80::1%25br-lan.100]:53', 'fe80::1%br-lan.100', 53],
    ['udp://[fe80::1%2525]:53', 'fe80::1%25', 53],
    ['udp://[fe80::1%25]:53', 'fe80::1%25', 53],
    ['udp://[fe80::1%2]:53', 'fe80::1%2', 53],
    ['udp://[fe80::1%25eth0]:5060', 'fe80::1%eth0', 5_060],
    ['udp://[fe80::1%25br-lan.7]:5060', 'fe80::1%br-lan.7', 5_060],
    ['udp://[fe80::1%25]:5060', 'fe80::1%25', 5_060],
    ['udp://0.0.0.0:0', '0.0.0.0', 0],
  ] as const) {
    assert.deepEqual(parseUdpUrl(text, 0), { text, host, port });
  }
});

test('udp address - what is none is refused in one line that says how to write it', () => {
  for (const text of [
    'udp://',
    'udp://host',
    'udp://host:',
    'udp://:53',
    'udp://host:65536',
    'udp://host:53/path',
    'udp://2001:db8::1:53',
    'udp://[host]:53',
    'udp://[fe80::1%]:53',
    'udp://[fe80::1%25eth 0]:53',
    'udp://[fe80::1%a b]:53',
    'udp://[1:2]:53',
    'udp://[192.0.2.1]:53',
    'udp://host:1-',
    'udp://host:-1',
    'udp://user@host:53',
    'tcp://host:53',
  ]) {
    assert.throws(
      () => parseUdpUrl(text, 0),
      (error) => isFlowherdError(error, errorCodes.badConfig) && /udp:\/\/host:port/.test(error.message),
      text,
    );
  }
  assert.throws(() => parseUdpUrl('udp://host:0', 1), /port from 1/);
});

test('udp address - addresses are their own, and the family is told', async () => {
  assert.deepEqual(await resolveUdp(parseUdpUrl('udp://127.0.0.1:53', 1)), {
    text: 'udp://127.0.0.1:53',
    address: '127.0.0.1',
    family: 4,
    port: 53,
  });
  assert.equal((await resolveUdp(parseUdpUrl('udp://[::1]:53', 1))).family, 6);
  await assert.rejects(
    resolveUdp(parseUdpUrl('udp://[fe80::1%25nowhere0]:53', 1)),
    (error) => isFlowherdError(error, errorCodes.ioFailed) && /no network interface nowhere0/.test(error.message),
  );
  await assert.rejects(resolveUdp(parseUdpUrl('udp://no-such-host.invalid:53', 1)), (error) =>
    isFlowherdError(error, errorCodes.ioFailed),
  );
});
