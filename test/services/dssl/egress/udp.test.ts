// A backend behind an actor: real sockets on the loopback interface, accepted packets by hand, answers as a tier 1 would
// read them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goneMs } from '../../../../services/dssl/egress/remote/returns.ts';
import { type Clock, systemClock } from '../../../../shared/base/clock.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { buildPacket, fragmentPacket } from '../../../../shared/packet/encode/build.ts';
import { UdpPeer } from '../../../support/udp.ts';
import { query, udpEgress as setUp } from '../../../support/udpEgress.ts';
import { until } from '../../../support/until.ts';

const echo = () => UdpPeer.serve(({ text }) => `re: ${text}`);

test('udp egress - each client has a socket of its own, and gets its own answers by the way it came last', async () => {
  const backend = await echo();
  const { egress, ask, answered, report } = await setUp(backend.url);
  ask(1, 'one');
  ask(2, 'two', { tier1: 't2' });
  await answered.count(2);
  ask(1, 'three', { tier1: 't3' });
  await answered.count(3);
  const vip = '192.0.2.1 53';
  const byText = new Map(answered.items.map((answer) => [answer.text, answer]));
  assert.deepEqual(byText.get('re: one'), { tier1: 't1', client: '198.51.100.7 10001', vip, text: 're: one' });
  assert.deepEqual(byText.get('re: two'), { tier1: 't2', client: '198.51.100.7 10002', vip, text: 're: two' });
  assert.deepEqual(byText.get('re: three'), { tier1: 't3', client: '198.51.100.7 10001', vip, text: 're: three' });
  const ports = new Map(backend.received.map(({ text, port }) => [text, port]));
  assert.equal(ports.get('one'), ports.get('three'));
  assert.notEqual(ports.get('one'), ports.get('two'));
  const { forwarded, answers, answersSent, sockets } = report();
  assert.deepEqual([forwarded, answers, answersSent, sockets.open], [3, 3, 3, 2]);
  await egress.stop();
  assert.equal(report().sockets.open, 0);
  backend.close();
});

test('udp egress - IPv6, an empty datagram, tagged Ethernet, and bytes behind the datagram', async () => {
  const backend = await echo();
  const { egress, accept, answered } = await setUp(backend.url);
  accept(query(1, 'six', { source: '2001:db8::7', target: '2001:db8::1' }));
  accept(query(2, '', { vlans: [5, 6] }));
  accept(Buffer.concat([query(3, 'with a trailer'), Buffer.from('TRAILER')]));
  accept(query(4, 'raw', { link: 'none' }), { link: 101 });
  const texts = (await answered.count(4)).map(({ client, text }) => `${client}: ${text}`);
  assert.deepEqual(texts.sort(), [
    '198.51.100.7 10002: re: ',
    '198.51.100.7 10003: re: with a trailer',
    '198.51.100.7 10004: re: raw',
    '2001:db8::7 10001: re: six',
  ]);
  await egress.stop();
  backend.close();
});

test('udp egress - what is no whole datagram is dropped and counted by cause', async () => {
  const backend = await echo();
  const { egress, accept, report } = await setUp(backend.url);
  const ends = { source: '198.51.100.7', target: '192.0.2.1' };
  accept(buildPacket({ ...ends, tcp: { sourcePort: 1, targetPort: 2, flags: 'S' } }));
  accept(buildPacket({ etherType: 0x88b5 }));
  const udp = { sourcePort: 1, targetPort: 2, payload: 'x'.repeat(100) };
  for (const fragment of fragmentPacket({ ...ends, udp }, 64)) accept(fragment);
  accept(query(2, 'cut off').slice(0, -3));
  const short = query(3, 'wrong length');
  short[14 + 20 + 5] = 7;
  accept(short);
  await egress.stop();
  backend.close();
  const { forwarded, dropped, sockets } = report();
  assert.deepEqual(dropped, { 'not-udp': 2, fragment: 2, malformed: 2 });
  assert.deepEqual([forwarded, sockets.opened, egress.stats.packets, egress.stats.packetsLost], [0, 0, 6, 6]);
});

test('udp egress - a session outlives its client by a fixed time, whatever becomes of the flow', async () => {
  const backend = await echo();
  const { egress, ask, answered, time, report } = await setUp(backend.url, { sessionSeconds: 120 });
  const { hi, lo } = ask(1, 'before');
  const [{ port }] = await backend.count(1);
  await answered.count(1);
  egress.flowEnded(hi, lo);
  time.ms += 119_999;
  egress.tick();
  backend.send('late', port);
  assert.equal((await answered.count(2))[1].text, 'late');
  // Answers do not make it last longer: only its client does.
  time.ms += 1;
  backend.send('too late', port);
  await until(() => report().answersDropped['session-over'] === 1);
  egress.tick();
  assert.deepEqual([report().sockets.open, report().sockets.over], [0, 1]);
  ask(1, 'again');
  assert.equal((await answered.count(3))[2].text, 're: again');
  assert.equal((await backend.count(2))[1].port, port, 'the client has its socket back');
  assert.deepEqual([report().sockets.open, report().sockets.over, report().sockets.opened], [1, 0, 1]);
  time.ms += 120_000 + limits.backendOverMs;
  egress.tick();
  assert.deepEqual([report().sockets.open, report().sockets.over], [0, 0], 'sockets are not kept for ever');
  await egress.stop();
  backend.close();
});

test('udp egress - sockets are bounded: ended flows give way first, then whoever was silent for longest', async () => {
  const backend = await echo();
  const { egress, ask, answered, report } = await setUp(backend.url, { maxSockets: 3 });
  const flows = [1, 2, 3].map((client) => ask(client, 'first'));
  await answered.count(3);
  const [first, , third] = flows;
  egress.flowEnded(third.hi, third.lo);
  ask(4, 'first');
  await answered.count(4);
  ask(1, 'second');
  await answered.count(5);
  ask(5, 'first');
  await answered.count(6);
  const ports = (client: number) =>
    new Set(backend.received.filter((_, at) => order[at] === client).map(({ port }) => port));
  const order = [1, 2, 3, 4, 1, 5];
  assert.equal(ports(1).size, 1);
  assert.deepEqual([report().sockets.open, report().sockets.evicted], [3, 2]);
  // Client 2 was silent for longest: it is the one that gets another socket now.
  order.push(1, 2);
  ask(1, 'third');
  await backend.count(7);
  ask(2, 'second');
  await backend.count(8);
  assert.equal(ports(1).size, 1);
  assert.equal(ports(2).size, 2);
  egress.flowEnded(first.hi, first.lo);
  await egress.stop();
  backend.close();
});

test('udp egress - a flow of a coarser key holds several clients, and each gets its own answers', async () => {
  const backend = await echo();
  const { egress, ask, answered, time, report } = await setUp(backend.url);
  for (let client = 0; client < 20; client++) ask(client, `${client}`, { flow: 7 });
  for (let client = 0; client < 20; client++) ask(client, `${client} again`, { flow: 7 });
  const answers = await answered.count(40);
  for (const { client, text } of answers) {
    const number = Number(client.split(' ')[1]) - 10_000;
    assert.ok(text === `re: ${number}` || text === `re: ${number} again`, `${client} got ${text}`);
  }
  assert.equal(new Set(backend.received.map(({ port }) => port)).size, 20);
  time.ms += limits.backendSessionSeconds * 1_000;
  egress.tick();
  assert.deepEqual([report().sockets.open, report().sockets.over], [0, 20]);
  for (let client = 0; client < 20; client++) ask(client, 'back', { flow: 7 });
  await answered.count(60);
  assert.deepEqual([report().sockets.open, report().sockets.opened], [20, 20]);
  await egress.stop();
  backend.close();
});

test('udp egress - a backend that is not there is counted, said once a second, and found when it comes', async () => {
  const [{ port }] = [await UdpPeer.open().then((peer) => ({ port: peer.port, closed: peer.close() }))];
  const { egress, ask, answered, time, warnings, report } = await setUp(`udp://127.0.0.1:${port}`);
  for (let sent = 1; sent <= 5; sent++) {
    ask(1, 'anybody?');
    await until(() => report().unreachable + (report().dropped.unreachable ?? 0) >= sent);
  }
  assert.equal(egress.load().loss, 1);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /^backend udp:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  time.ms += 1_000;
  ask(1, 'anybody?');
  await until(() => warnings.length === 2);
  const backend = await UdpPeer.serve(({ text }) => `re: ${text}`, '127.0.0.1', port);
  ask(1, 'anybody?');
  assert.equal((await answered.count(1))[0].text, 're: anybody?');
  await egress.stop();
  backend.close();
  const { forwarded, dropped } = report();
  assert.equal(forwarded + (dropped.unreachable ?? 0), egress.stats.packets);
});

test('udp egress - answers that cannot be sent back are counted: tier 1 gone, no name, bus down', async () => {
  const backend = await echo();
  const { egress, ask, answered, bus, time, warnings, report } = await setUp(backend.url, { sessionSeconds: 86_400 });
  ask(1, 'heard');
  await answered.count(1);
  const [{ port }] = backend.received;
  time.ms += goneMs + 1;
  backend.send('nobody there', port);
  await until(() => report().answersDropped['tier1-gone'] === 1);
  egress.tick();
  egress.tick();
  assert.match(warnings.join(), /^[^,]*answers could not go back by their tier 1$/, 'said once');
  ask(1, 'heard again');
  await answered.count(2);
  ask(2, 'no name', { tier1: 'no name' });
  await until(() => report().answersDropped['tier1-name'] === 1);
  await bus.close();
  ask(1, 'bus down');
  await until(() => report().answers === 5);
  await egress.stop();
  backend.close();
  const { answers, answersSent, answersDropped } = report();
  const dropped = Object.values(answersDropped).reduce((sum, count) => sum + count, 0);
  assert.deepEqual([answers, answersSent, dropped], [5, 2, 3]);
});

test('udp egress - every life of a tier 1 is answered by its own name', async () => {
  const backend = await echo();
  const { egress, ask, answered } = await setUp(backend.url);
  ask(1, 'first life');
  ask(1, 'second life', { tier1: 't1.2' });
  assert.deepEqual(
    (await answered.count(2)).map(({ tier1, text }) => [tier1, text]),
    [
      ['t1', 're: first life'],
      ['t1', 're: second life'],
    ],
  );
  await egress.stop();
  backend.close();
});

test('udp egress - the end waits for the answers that are due, but not for ever', async () => {
  let late: () => void = () => undefined;
  const backend = await UdpPeer.serve(({ port, text }) => {
    if (text === 'slow') late = () => backend.send('at last', port);
    return text === 'slow' ? undefined : text;
  });
  const { egress, ask, answered } = await setUp(backend.url);
  ask(1, 'slow');
  await backend.count(1);
  const stopped = egress.stop();
  late();
  await stopped;
  assert.equal((await answered.count(1))[0].text, 'at last');
  const soon: Clock = { ...systemClock, setTimer: (_delayMs, fn) => systemClock.setTimer(0, fn) };
  const other = await setUp(backend.url, { clock: soon });
  other.ask(1, 'slow');
  await other.egress.stop();
  assert.equal(other.report().sockets.open, 0);
  backend.close();
});

test('udp egress - the load tells how long answers take, and how much did not get there', async () => {
  const backend = await UdpPeer.open();
  const { egress, ask, answered, time } = await setUp(backend.url);
  assert.deepEqual(egress.load(), { latencyMs: undefined, loss: undefined });
  const answer = async (count: number): Promise<void> => {
    const { port } = (await backend.count(count))[count - 1];
    backend.send('late', port);
    await answered.count(count);
  };
  ask(1, 'one');
  time.ms += 40;
  await answer(1);
  ask(2, 'two');
  time.ms += 20;
  await answer(2);
  assert.deepEqual(egress.load(), { latencyMs: 30, loss: 0 });
  assert.deepEqual(egress.load(), { latencyMs: undefined, loss: undefined }, 'nothing since');
  // The first of these is never answered: the answer to the second says nothing about it.
  ask(1, 'lost');
  time.ms += 60_000;
  ask(1, 'three');
  time.ms += 10;
  const { port } = (await backend.count(4))[3];
  backend.send('soon', port);
  await answered.count(3);
  assert.equal(egress.load().latencyMs, 10);
  await egress.stop();
  backend.close();
});
