// Answers that do not come from where the client's datagram went, or come late: servers as those of TFTP and CoAP, on real
// sockets. Each is passed on or counted by its cause, and said.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackendSocket } from '../../../../../services/dssl/egress/udp/socket.ts';
import { limits } from '../../../../../shared/base/limits.ts';
import { Waiter } from '../../../../support/busInbox.ts';
import { linkLocal, loopbacks, UdpPeer } from '../../../../support/udp.ts';
import { query, udpEgress } from '../../../../support/udpEgress.ts';
import { until } from '../../../../support/until.ts';

/** As TFTP: a request is answered from a port of the transfer's own, where the client's acknowledgements have to go. */
async function tftp(host = '127.0.0.1') {
  const transfers: UdpPeer[] = [];
  const wellKnown = await UdpPeer.serve(({ text, port, address }) => {
    void UdpPeer.serve(({ text: said }) => `next block after ${said}`, host).then((transfer) => {
      transfers.push(transfer);
      transfer.send(`first block of ${text}`, port, address);
    });
    return undefined;
  }, host);
  const close = () => {
    for (const each of [wellKnown, ...transfers]) each.close();
  };
  return { wellKnown, transfers, close };
}

test('udp answers - from another port they are counted and said once in a while, with the option that passes them', async () => {
  const { wellKnown, close } = await tftp();
  const { egress, ask, answered, time, warnings, report } = await udpEgress(wellKnown.url);
  for (let sent = 1; sent <= 3; sent++) {
    ask(sent, 'file');
    await until(() => report().answersDropped['other-port'] === sent);
  }
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0],
    /^backend udp:.*: an answer from port \d+ instead of \d+ is not passed on; --answers any-port/,
  );
  time.ms += 10_000;
  ask(4, 'file');
  await until(() => warnings.length === 2);
  assert.deepEqual([report().answers, report().answersSent, answered.items.length], [4, 0, 0]);
  await egress.stop();
  close();
});

test('udp answers - any-port: a transfer goes on with the port that answered, for each client with its own', async () => {
  for (const host of loopbacks()) {
    const { wellKnown, transfers, close } = await tftp(host);
    const { egress, ask, answered, warnings, report } = await udpEgress(wellKnown.url, { answers: 'any-port' });
    ask(1, 'one');
    ask(2, 'two');
    await answered.count(2);
    ask(1, 'ack 1');
    ask(2, 'ack 2');
    const texts = (await answered.count(4)).map(({ client, text }) => `${client.split(' ')[1]} ${text}`).sort();
    assert.deepEqual(texts, [
      '10001 first block of one',
      '10001 next block after ack 1',
      '10002 first block of two',
      '10002 next block after ack 2',
    ]);
    assert.equal(wellKnown.received.length, 2, 'what follows goes to the port of the transfer');
    assert.equal(transfers.length, 2);
    assert.deepEqual([report().answersFromOtherPorts, report().answersDropped, warnings], [4, {}, []]);
    await egress.stop();
    close();
  }
});

test('udp answers - any-port: when nobody listens at the later port any more, the first one is asked again', async () => {
  const { wellKnown, transfers, close } = await tftp();
  const { egress, ask, answered, report } = await udpEgress(wellKnown.url, { answers: 'any-port' });
  ask(1, 'one');
  await answered.count(1);
  transfers.splice(0)[0].close();
  ask(1, 'two');
  await until(() => report().unreachable + (report().dropped.unreachable ?? 0) === 1);
  ask(1, 'two');
  assert.equal((await answered.count(2))[1].text, 'first block of two');
  await egress.stop();
  close();
});

test('udp answers - what comes from another address is never passed on', async (t) => {
  if (process.platform !== 'linux') return t.diagnostic('only Linux has all of 127.0.0.0/8');
  const backend = await UdpPeer.serve(({ text }) => `re: ${text}`);
  const stranger = await UdpPeer.open('127.0.0.2');
  const { egress, ask, answered, warnings, report } = await udpEgress(backend.url, { answers: 'any-port' });
  ask(1, 'one');
  const [{ port }] = await backend.count(1);
  stranger.send('I am it', port, '127.0.0.1');
  await until(() => report().answersDropped['other-address'] === 1);
  assert.match(warnings[0], /a datagram from 127\.0\.0\.2 port \d+ is not the backend's/);
  ask(1, 'two');
  assert.deepEqual(
    (await answered.count(2)).map(({ text }) => text),
    ['re: one', 're: two'],
  );
  await egress.stop();
  for (const peer of [backend, stranger]) peer.close();
});

test('udp answers - a notification minutes later is passed on while the session lasts, else counted and said', async () => {
  // As CoAP's observe (RFC 7641): one question, and answers whenever something changes.
  const server = await UdpPeer.serve(({ text }) => `observing ${text}`);
  const { egress, ask, answered, time, warnings, report } = await udpEgress(server.url);
  ask(1, 'temperature');
  const [{ port }] = await server.count(1);
  await answered.count(1);
  for (let second = 1; second < limits.backendSessionSeconds; second++) {
    time.ms += 1_000;
    egress.tick();
  }
  server.send('21 degrees', port);
  assert.equal((await answered.count(2))[1].text, '21 degrees');
  time.ms += 61_000;
  egress.tick();
  server.send('22 degrees', port);
  await until(() => report().answersDropped['session-over'] === 1);
  assert.deepEqual(warnings.length, 1);
  assert.match(warnings[0], /an answer 240 s after its client's last packet .* --session-seconds 180/);
  assert.deepEqual([report().answers, report().answersSent], [3, 2]);
  await egress.stop();
  server.close();
});

test('udp answers - one that no datagram to the client could hold is counted', async (t) => {
  if (!loopbacks().includes('::1')) return t.diagnostic('this machine has no ::1');
  const server = await UdpPeer.serve(() => new Uint8Array(65_520), '::1');
  const { egress, accept, report, warnings } = await udpEgress(server.url);
  accept(query(1, 'how long?'));
  await until(() => report().answersDropped['too-large'] === 1);
  assert.match(warnings[0], /65520 bytes .* at most 65507/);
  await egress.stop();
  server.close();
});

test('udp answers - a backend at a link-local address is known by its zone, in both spellings', async (t) => {
  const host = linkLocal();
  if (host === undefined) return t.diagnostic('this machine has no link-local address');
  const server = await UdpPeer.serve(({ text }) => `re: ${text}`, host);
  for (const url of [server.url, server.url.replace('%', '%25')]) {
    const { egress, ask, answered, report } = await udpEgress(url);
    ask(1, 'near');
    assert.equal((await answered.count(1))[0].text, 're: near');
    assert.deepEqual(report().answersDropped, {});
    await egress.stop();
  }
  server.close();
});

test('udp answers - sessions that are over give way to others, and only so many are listened to', async () => {
  const server = await UdpPeer.serve(({ text }) => text);
  const { egress, ask, answered, time, report } = await udpEgress(server.url, { maxSockets: 3 });
  for (const client of [1, 2, 3]) ask(client, 'one');
  await answered.count(3);
  time.ms += limits.backendSessionSeconds * 1_000;
  egress.tick();
  assert.deepEqual([report().sockets.open, report().sockets.over], [0, 3]);
  ask(4, 'one');
  await answered.count(4);
  assert.deepEqual([report().sockets.open, report().sockets.over], [1, 2]);
  await egress.stop();
  server.close();
});

test('udp answers - where ports cannot be shared, one socket hears everybody, and names them alike', async () => {
  const [backend, other] = [await UdpPeer.serve(({ text }) => text), await UdpPeer.open()];
  const heard = new Waiter<string>();
  const events = {
    onDatagram: (datagram: Uint8Array, { address, port }: { address: string; port: number }) =>
      heard.add(`${Buffer.from(datagram)} ${address === socket.peer} ${port === socket.port}`),
    onError: (error: Error) => heard.add(error.message),
  };
  const socket = BackendSocket.open({ text: '', address: backend.host, family: 4, port: backend.port }, events, false);
  socket.send(Buffer.from('one'), () => undefined);
  const [{ port }] = await backend.count(1);
  other.send('two', port);
  assert.deepEqual([...(await heard.count(2))].sort(), ['one true true', 'two true false']);
  socket.follow(other.port);
  socket.send(Buffer.from('three'), () => undefined);
  assert.equal((await other.count(1))[0].text, 'three');
  socket.close();
  for (const peer of [backend, other]) peer.close();
});
