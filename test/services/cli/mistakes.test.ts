// What cannot be, or is not there, is said in one line with the right exit code and in bounded time: addresses, log-ins,
// files that the environment names, and NATS servers that are not what they should be.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort, NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';
import { UdpPeer } from '../../support/udp.ts';

const web = fileURLToPath(new URL('../../captures/web.pcap', import.meta.url));

interface Mistake {
  readonly why: string;
  readonly url?: string;
  readonly args?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly code: number;
  readonly says: RegExp;
}

const services = { dssl: ['dssl'], tier1: ['tier1', '--input', web] };

/** These services make the mistake, at once. */
async function assertSaid(
  { why, url, args = [], environment, code, says }: Mistake,
  which: readonly (keyof typeof services)[] = ['dssl', 'tier1'],
): Promise<void> {
  await Promise.all(
    which.map(async (name) => {
      const command = services[name];
      const address = url === undefined ? [] : ['--bus', url];
      const service = new Service([...command, ...address, '--cluster', 'mistakes', ...args], environment);
      assert.equal(await service.ended(), code, `${why}: ${service.messages.join('\n')}`);
      const lines = service.messages.filter((line) => /^(?:flowherd|error): /.test(line));
      assert.equal(lines.length, 1, `${why}: ${service.messages.join('\n')}`);
      assert.match(lines[0], says, why);
      assert.equal(service.stdout, '', why);
    }),
  );
}

/** What both services read by the same code, they make in turn. */
async function assertEachSaid(mistakes: readonly Mistake[]): Promise<void> {
  for (let index = 0; index < mistakes.length; index += 2) {
    await Promise.all([
      assertSaid(mistakes[index], ['dssl']),
      ...(index + 1 < mistakes.length ? [assertSaid(mistakes[index + 1], ['tier1'])] : []),
    ]);
  }
}

describe('mistakes', { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-mistakes-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  test('mistakes - addresses and names that cannot be are refused before anything is tried', async () => {
    const mistakes: Mistake[] = [
      { why: 'scheme', url: 'http://127.0.0.1:4222', code: 2, says: /nats:\/\/host:port/ },
      { why: 'port', url: 'nats://127.0.0.1:port', code: 2, says: /nats:\/\/127\.0\.0\.1:port.*nats:\/\/host:port/ },
      { why: 'port too high', url: 'nats://127.0.0.1:99999', code: 2, says: /99999/ },
      { why: 'blank', url: 'nats://one two', code: 2, says: /"nats:\/\/one two"/ },
      { why: 'one of two', url: 'nats://127.0.0.1:4222,elsewhere', code: 2, says: /"elsewhere"/ },
      { why: 'login in it', url: 'nats://user:pass@127.0.0.1', code: 2, says: /contains a login/ },
      { why: 'cluster', args: ['--cluster', 'a.b'], code: 2, says: /"a\.b" cannot be the name of a cluster/ },
    ];
    await assertEachSaid(mistakes);
  });

  test('mistakes - inputs, backends and handlers are looked for before anything is connected', async () => {
    // Nobody listens there: whoever tries to connect says so, and not what is wrong.
    const bus = ['--bus', `nats://127.0.0.1:${await freePort()}`];
    const taken = await UdpPeer.open();
    const input = (source: string) => ['tier1', ...bus, '--input', source];
    const dssl = (...args: string[]) => ['dssl', ...bus, ...args];
    const mistakes: { args: string[]; code: number; says: RegExp }[] = [
      { args: input('pcpa:x'), code: 2, says: /pcpa:x: there is no such file, and no kind of input "pcpa:"/ },
      { args: input(join(folder, 'nowhere')), code: 1, says: /nowhere: cannot be read: there is no such file/ },
      { args: input(folder), code: 1, says: /it is a directory/ },
      { args: input(file('no.pcap', 'x')), code: 1, says: /not a capture/ },
      { args: input('udp://127.0.0.1:65536'), code: 2, says: /a port from 0 to 65535/ },
      { args: input('udp://nowhere.invalid:53'), code: 1, says: /no address for nowhere/ },
      { args: input('udp://[fe80::1%25nowhere0]:53'), code: 1, says: /no network interface nowhere0/ },
      { args: input(taken.url), code: 1, says: /taken already/ },
      { args: dssl('--backend', 'udp://nowhere.invalid:53'), code: 1, says: /no address for nowhere/ },
      { args: dssl('--backend', 'udp://127.0.0.1:0'), code: 2, says: /a port from 1 to 65535/ },
      { args: dssl('--backend', 'udp://127.0.0.1:1-'), code: 2, says: /a port from 1 to 65535/ },
      { args: dssl('--answers', 'any-port'), code: 2, says: /--answers needs --backend/ },
      { args: dssl('--session-seconds', '120'), code: 2, says: /--session-seconds needs --backend/ },
      { args: dssl('--backend', taken.url, '--session-seconds', '0'), code: 2, says: /from 1 to 86400/ },
      { args: dssl('--backend', taken.url, '--answers', 'all'), code: 2, says: /choices are same-port, any-port/ },
      { args: dssl('--handler', './none.ts'), code: 1, says: /none\.ts/ },
      { args: ['server', ...bus, '--of', 's1', '--handler', './none.ts'], code: 1, says: /none\.ts/ },
    ];
    const tryOut = async ({ args, code, says }: (typeof mistakes)[number]) => {
      const service = new Service(args);
      assert.equal(await service.ended(), code, `${args.join(' ')}\n${service.messages.join('\n')}`);
      const lines = service.messages.filter((line) => line !== '(see --help)');
      assert.equal(lines.length, 1, service.messages.join('\n'));
      assert.match(lines[0], says);
    };
    while (mistakes.length > 0) await Promise.all(mistakes.splice(0, 2).map(tryOut));
    taken.close();
  });

  test('mistakes - variables of the environment that point nowhere are named', async () => {
    const nowhere = join(folder, 'nowhere');
    const mistakes: Mistake[] = [
      {
        why: 'secret file',
        environment: { FLOWHERD_SECRET: '', FLOWHERD_SECRET_FILE: nowhere },
        code: 2,
        says: /FLOWHERD_SECRET_FILE: .*nowhere cannot be read/,
      },
      {
        why: 'secret folder',
        environment: { FLOWHERD_SECRET: '', FLOWHERD_SECRET_FILE: folder },
        code: 2,
        says: /FLOWHERD_SECRET_FILE: .* cannot be read/,
      },
      {
        why: 'empty secret',
        environment: { FLOWHERD_SECRET: '', FLOWHERD_SECRET_FILE: file('empty', '\n') },
        code: 2,
        says: /FLOWHERD_SECRET is not set/,
      },
      { why: 'creds file', environment: { NATS_CREDS_FILE: nowhere }, code: 2, says: /NATS_CREDS_FILE: .*nowhere/ },
      { why: 'half a login', environment: { NATS_PASSWORD: 'p' }, code: 2, says: /NATS_USER and NATS_PASSWORD/ },
      { why: 'log level', environment: { FLOWHERD_LOG: 'loud' }, code: 2, says: /FLOWHERD_LOG=loud: use one of/ },
    ];
    await assertEachSaid(mistakes);
    const service = new Service(['dssl'], { FLOWHERD_SERVER: 'a.b' });
    assert.equal(await service.ended(), 2);
    assert.match(service.messages.join('\n'), /'a\.b' from env 'FLOWHERD_SERVER' is invalid/);
  });

  test('mistakes - a server that is not there, or never greets, is given up in bounded time', async () => {
    const mute: Server = createServer((socket) => socket.on('error', () => undefined));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const address = mute.address();
    assert.ok(address !== null && typeof address === 'object');
    try {
      await Promise.all([
        assertSaid({
          why: 'closed port',
          url: `nats://127.0.0.1:${await freePort()}`,
          code: 1,
          says: /no NATS server at .*connection refused, \d+ tries in .*start one/,
        }),
        assertSaid({
          why: 'silence',
          url: `nats://127.0.0.1:${address.port}`,
          code: 1,
          says: /no NATS server at .*timeout/,
        }),
      ]);
    } finally {
      mute.close();
    }
  });

  test('mistakes - a NATS server too old to keep logs is refused in one line, before anything is made on it', async () => {
    // No binary of that age can be had everywhere; what tells is the first line that it says.
    const info = {
      server_id: 'OLD',
      version: '2.9.10',
      proto: 1,
      headers: true,
      max_payload: 1_048_576,
      jetstream: true,
    };
    const asked: string[] = [];
    const old = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        asked.push(
          ...data
            .toString('latin1')
            .split('\r\n')
            .filter((line) => line.startsWith('PUB')),
        );
        if (data.includes('PING')) socket.write('PONG\r\n');
      });
      socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    });
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve));
    const address = old.address();
    assert.ok(address !== null && typeof address === 'object');
    const url = `nats://127.0.0.1:${address.port}`;
    const says = /2\.9\.10.*2\.10/;
    try {
      await assertSaid({ why: 'old server', url, code: 1, says });
      const init = new Service(['init', '--bus', url]);
      assert.equal(await init.ended(), 1);
      assert.match(init.messages.join('\n'), says);
      assert.deepEqual(asked, [], 'nothing was asked of it');
    } finally {
      old.close();
    }
  });

  describe('at a NATS server', { skip: skipWithoutNatsServer() }, () => {
    let closed: NatsServer;
    let plain: NatsServer;
    before(async () => {
      const users = `authorization { users = [
        { user: good, password: right }
        { user: half, password: right, permissions: { publish: "fh.>", subscribe: ["fh.>", "_INBOX_dssl.>", "_INBOX_tier1.>"] } }
      ] }`;
      closed = await NatsServer.start({ config: file('users.conf', users) });
      plain = await NatsServer.start({ jetStream: false });
    });
    after(() => Promise.all([closed.stop(), plain.stop()]));

    test('mistakes - a wrong login is refused at once, and one without the permissions says which is missing', async () => {
      const good = new Service(['dssl', '--bus', closed.url, '--server', 'a', '--drain-seconds', '0'], {
        NATS_USER: 'good',
        NATS_PASSWORD: 'right',
      });
      await good.says(/server is active/);
      assert.equal(await good.end(), 0);
      const login = (user: string, password: string) => ({ NATS_USER: user, NATS_PASSWORD: password });
      const refused = /refused the login .*check user, password, token, key or credentials/;
      const mistakes: Mistake[] = [
        { why: 'no login', url: closed.url, code: 1, says: refused },
        { why: 'password', url: closed.url, environment: login('good', 'wrong'), code: 1, says: refused },
        { why: 'token', url: closed.url, environment: { NATS_TOKEN: 'none' }, code: 1, says: refused },
        {
          why: 'not credentials',
          url: closed.url,
          environment: { NATS_CREDS_FILE: file('creds', 'neither token nor seed') },
          code: 2,
          says: /credentials are not those of a NATS user/,
        },
        {
          why: 'permissions',
          url: closed.url,
          environment: login('half', 'right'),
          code: 1,
          says: /not permitted.*STREAM\.INFO\.KV_fh_mistakes/,
        },
      ];
      for (const mistake of mistakes) await assertSaid(mistake);
    });

    test('mistakes - a server without JetStream, or without the TLS that was asked for, is no use', async () => {
      await assertSaid({ why: 'no JetStream', url: plain.url, code: 1, says: /is JetStream on\?/ });
      await assertSaid({
        why: 'no TLS',
        url: plain.url.replace('nats:', 'tls:'),
        code: 1,
        says: /no TLS with the NATS server at .*it offers none/,
      });
    });
  });
});
