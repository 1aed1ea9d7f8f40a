// How a connection shows who it is, and makes sure who answers: keys and TLS, over a real nats-server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { errorCodes } from '../../../../shared/base/errors.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { makeUserSeed, publicKeyOf } from '../../../../shared/bus/nats/keys.ts';
import { connectNats, type NatsOptions } from '../../../../shared/bus/nats/nats.ts';
import { hasCode } from '../../../support/busInbox.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';

describe('NATS logins', { skip: skipWithoutNatsServer(), timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-logins-'));
  const servers: NatsServer[] = [];
  const buses: Bus[] = [];
  after(async () => {
    for (const bus of buses) await bus.close();
    for (const server of servers) await server.stop();
    rmSync(folder, { recursive: true });
  });
  const start = async (text = ''): Promise<NatsServer> => {
    const config = join(folder, `${servers.length}.conf`);
    writeFileSync(config, text);
    const server = await NatsServer.start({ config });
    servers.push(server);
    return server;
  };
  const connect = async (url: string, options: Partial<NatsOptions> = {}): Promise<Bus> => {
    const bus = await connectNats({ url, name: 'test', ...options });
    buses.push(bus);
    return bus;
  };

  it('nats - a key logs in without sending a secret, and only the right one', async () => {
    const seed = makeUserSeed();
    const server = await start(`authorization { users: [ { nkey: ${publicKeyOf(seed)} } ] }`);
    await (await connect(server.url, { auth: { nkey: seed } })).flush();
    await assert.rejects(connect(server.url, { auth: { nkey: makeUserSeed() } }), hasCode(errorCodes.busRefused));
    assert.throws(() => publicKeyOf('SUNONSENSE'), hasCode(errorCodes.badFile));
  });

  it('nats - TLS: the authority decides, and a server without it is never talked to in the clear', async () => {
    execFileSync(join(import.meta.dirname, '../../../../deploy/nats/make-certs'), [folder, 'localhost']);
    const file = (name: string) => join(folder, name);
    const server = await start(`tls { cert_file: "${file('server.pem')}", key_file: "${file('server-key.pem')}" }`);
    const url = `tls://localhost:${server.port}`;
    await (await connect(url, { tls: { caFile: file('ca.pem') } })).flush();
    // Without a word about TLS the server's demand for it is met, and its certificate checked all the same.
    for (const address of [url, `nats://localhost:${server.port}`]) {
      await assert.rejects(connect(address), (error: Error) => {
        assert.match(error.message, /certificate is not accepted .*NATS_CA_FILE/);
        return hasCode(errorCodes.busRefused)(error);
      });
    }
    const plain = await start();
    for (const [address, options] of [
      [`tls://localhost:${plain.port}`, {}],
      [plain.url, { tls: { caFile: file('ca.pem') } }],
    ] as const) {
      await assert.rejects(connect(address, options), (error: Error) => {
        assert.match(error.message, /no TLS with the NATS server at .*: it offers none/);
        return hasCode(errorCodes.busRefused)(error);
      });
    }
  });
});
