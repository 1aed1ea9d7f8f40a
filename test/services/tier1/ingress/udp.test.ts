// Tier 1 as a virtual address: real sockets on the loopback interface, and the embedded bus.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { dropsIn } from '../../../../services/tier1/ingress/kernelDrops.ts';
import { errorCodes, isFlowherdError } from '../../../../shared/base/errors.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { parseAddress } from '../../../../shared/packet/addressText.ts';
import { buildPacket } from '../../../../shared/packet/encode/build.ts';
import { inUrl, loopbacks, UdpPeer } from '../../../support/udp.ts';
import { until } from '../../../support/until.ts';
import { VipTier1 } from '../../../support/vipTier1.ts';

interface Report {
  readonly vips: { datagrams: number; bytes: number; overload: number; droppedBySystem: number | null }[];
  readonly answers: {
    sent: number;
    dropped: Record<string, number>;
    badMessages: Record<string, number>;
    lostMessages: number;
    repeatedMessages: number;
  };
}

const reportOf = (vips: VipTier1): Report => vips.ingress.report() as unknown as Report;

test('udp ingress - a datagram is a packet from its client to the VIP, and answers leave from the VIP', async (t) => {
  const hosts = loopbacks();
  if (hosts.length === 1) t.diagnostic('this machine has no ::1, so only IPv4 was tried');
  for (const host of hosts) {
    const vips = await VipTier1.start([`udp://${inUrl(host)}:0`]);
    const [port] = vips.ports;
    const client = await UdpPeer.open(host);
    client.send('hello', port);
    client.send('', port);
    const packets = await vips.packets(2);
    const udp = { sourcePort: client.port, targetPort: port, payload: 'hello' };
    const fragments = host.includes(':') ? {} : { dontFragment: true };
    const expected = buildPacket({ link: 'none', source: host, target: host, ...fragments, udp });
    assert.deepEqual(packets[0].bytes, expected);
    assert.equal(packets[1].payload.length, 0);
    vips.answer(packets[0], 'hello yourself');
    const [answer] = await client.count(1);
    assert.deepEqual([answer.text, answer.address, answer.port], ['hello yourself', host, port]);
    await vips.stop();
    client.close();
    const { vips: counts, answers } = reportOf(vips);
    assert.deepEqual([counts[0].datagrams, counts[0].bytes, answers.sent], [2, 5, 1]);
    assert.equal(vips.tier1.distributor.received, 2);
    assert.equal(vips.tier1.distributor.distributed, 2);
  }
});

test('udp ingress - the largest datagram goes through, and comes back', async () => {
  const vips = await VipTier1.start(['udp://127.0.0.1:0']);
  const client = await UdpPeer.open();
  const largest = randomBytes(65_507);
  client.send(largest, vips.ports[0]);
  const [packet] = await vips.packets(1);
  assert.deepEqual(packet.payload, Uint8Array.from(largest));
  assert.equal(packet.bytes.length, limits.packetBytes);
  vips.answer(packet, 'x'.repeat(65_507));
  assert.equal((await client.count(1))[0].data.length, 65_507);
  await vips.stop();
  client.close();
});

test('udp ingress - two VIPs of one tier 1 are told apart, in both directions', async () => {
  const vips = await VipTier1.start(['udp://127.0.0.1:0', 'udp://127.0.0.1:0']);
  const [first, second] = vips.ports;
  const client = await UdpPeer.open();
  client.send('to the first', first);
  client.send('to the second', second);
  for (const packet of await vips.packets(2)) vips.answer(packet, `${Buffer.from(packet.payload)} and back`);
  const answers = [...(await client.count(2))].map(({ text, address, port }) => [text, address, port]);
  assert.deepEqual(answers.sort(), [
    ['to the first and back', '127.0.0.1', first],
    ['to the second and back', '127.0.0.1', second],
  ]);
  await vips.stop();
  client.close();
  assert.deepEqual(
    reportOf(vips).vips.map(({ datagrams }) => datagrams),
    [1, 1],
  );
});

test('udp ingress - answers go only from own VIPs to what can be a client, and all others are counted', async () => {
  const vips = await VipTier1.start(['udp://127.0.0.1:0']);
  const client = await UdpPeer.open();
  client.send('hello', vips.ports[0]);
  const [packet] = await vips.packets(1);
  vips.answer(packet, 'x', { target: '127.0.0.9' });
  vips.answer(packet, 'x', { targetPort: packet.targetPort ^ 1 });
  vips.answer(packet, 'x', { source: '::1', target: '::1' });
  for (const source of ['224.0.0.1', '255.255.255.255', '0.0.0.0']) vips.answer(packet, 'x', { source });
  vips.answer(packet, 'x', { sourcePort: 0 });
  for (let sent = 0; sent < 100; sent++) vips.publish(randomBytes(2 + sent * 3).fill(0xc1, 0, 1));
  vips.publish(new Uint8Array(1));
  vips.loseAnswers(4);
  vips.answer(packet, 'the right one');
  vips.loseAnswers(-1);
  vips.answer(packet, 'said before');
  vips.answer(packet, 'and another');
  const texts = (await client.count(2)).map(({ text }) => text);
  assert.deepEqual(texts, ['the right one', 'and another']);
  await vips.stop();
  client.close();
  const { answers } = reportOf(vips);
  assert.deepEqual(answers, {
    sent: 2,
    dropped: { 'no-vip': 3, 'bad-client': 4 },
    badMessages: { size: 1, encoding: 100 },
    lostMessages: 4,
    repeatedMessages: 1,
  });
});

test('udp ingress - what the bus does not take is dropped for that cause, and everything is accounted for', async () => {
  // One frame fills the window, and the embedded bus delivers only after the turn of the event loop that filled it.
  const vips = await VipTier1.start(['udp://127.0.0.1:0'], 1_000);
  const client = await UdpPeer.open();
  const { distributor } = vips.tier1;
  // Two of these fill a frame. All of them come in at once, and fit the smallest receive buffer there is.
  for (let sent = 0; distributor.drops.overload === 0 && sent < 600; ) {
    for (let burst = 0; burst < 6; burst++) client.send(new Uint8Array(13_000), vips.ports[0]);
    sent += 6;
    await until(() => reportOf(vips).vips[0].datagrams === sent);
  }
  await vips.stop();
  client.close();
  const { received, distributed, drops } = distributor;
  assert.equal(received, reportOf(vips).vips[0].datagrams);
  assert.ok(drops.overload > 0);
  assert.equal(drops.overload, reportOf(vips).vips[0].overload);
  assert.equal(received, distributed + drops.overload);
});

test('udp ingress - what the system drops before anybody reads it is shown', async (t) => {
  const vips = await VipTier1.start(['udp://127.0.0.1:0']);
  const client = await UdpPeer.open();
  const last = await UdpPeer.open();
  // More than the largest receive buffer that is asked for, in one turn of the event loop.
  const sent = Math.ceil((3 * limits.vipReceiveBytes) / 65_507);
  const largest = new Uint8Array(65_507);
  for (let i = 0; i < sent; i++) client.send(largest, vips.ports[0]);
  // What has been kept is read before the last one, which comes when there is room.
  await until(() => vips.tier1.distributor.received > 0);
  await until(() => {
    last.send('last', vips.ports[0]);
    return reportOf(vips).vips[0].bytes % largest.length !== 0;
  });
  const { datagrams } = reportOf(vips).vips[0];
  await vips.stop();
  client.close();
  last.close();
  const [{ droppedBySystem }] = reportOf(vips).vips;
  if (process.platform === 'linux') {
    assert.ok(droppedBySystem !== null && droppedBySystem > 0 && datagrams < sent, `${droppedBySystem}, ${datagrams}`);
    assert.equal(vips.lines.filter((line) => /^the system dropped datagrams/.test(line)).length, 1);
  } else {
    t.diagnostic('only Linux says what it drops');
  }
});

test('udp ingress - an address that cannot be had is said in one line, and nothing stays open', async () => {
  const taken = await UdpPeer.open();
  for (const [inputs, says] of [
    [[taken.url], /it is taken already/],
    [['udp://127.0.0.1:0', taken.url], /it is taken already/],
    [['udp://192.0.2.1:5353'], /not an address of this machine/],
    [['udp://no-such-host.invalid:5353'], /no address for no-such-host\.invalid/],
  ] as const) {
    await assert.rejects(VipTier1.start(inputs), (error) => {
      assert.ok(isFlowherdError(error, errorCodes.ioFailed), String(error));
      assert.match(error.message, says);
      assert.ok(!error.message.includes('\n'));
      return true;
    });
  }
  taken.close();
});

test('kernel drops - the line of a socket is found by its address and port, in both tables', () => {
  const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  312: 0100007F:14EB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81925 2 0000000000000000 17
 1312: 00000000:14EB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81926 2 0000000000000000 4
    7: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 81927 2 0 9
`;
  assert.equal(dropsIn(table, parseAddress('127.0.0.1'), 0x14eb), 17);
  assert.equal(dropsIn(table, parseAddress('0.0.0.0'), 0x14eb), 4);
  assert.equal(dropsIn(table, parseAddress('2001:db8::1'), 53), 9);
  assert.equal(dropsIn(table, parseAddress('127.0.0.1'), 53), undefined);
  assert.equal(dropsIn('', parseAddress('127.0.0.1'), 53), undefined);
});
