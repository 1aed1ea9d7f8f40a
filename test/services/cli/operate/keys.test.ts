// Keys and secrets: made once, whole or not at all, readable by whom they are for.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { makeKeys } from '../../../../services/cli/operate/keys.ts';
import { errorCodes } from '../../../../shared/base/errors.ts';
import { publicKeyOf } from '../../../../shared/bus/nats/keys.ts';
import { roles } from '../../../../shared/bus/subjects.ts';
import { hasCode } from '../../../support/busInbox.ts';

describe('keys', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'flowherd-keys-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const read = (name: string): string => readFileSync(join(dir, name), 'utf8').trim();
  const modeOf = (name: string): string => (statSync(join(dir, name)).mode & 0o777).toString(8);
  const everything = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name).slice(dir.length + 1))
        .sort()
        .map((name) => [name, read(name)]),
    );

  it('keys - a key for each role, the secret for those who key packets, public halves for the server', () => {
    const made = makeKeys({ dir });
    assert.deepEqual(Object.keys(everything()), [...made].sort());
    const config = read('nats/keys.conf');
    for (const role of roles) {
      const seed = read(`${role}/nats.nk`);
      assert.match(seed, /^SU[A-Z2-7]{56}$/);
      assert.ok(config.includes(`${role.toUpperCase()}_KEY: ${publicKeyOf(seed)}`), config);
      assert.ok(!config.includes(seed));
    }
    assert.equal(new Set(roles.map((role) => read(`${role}/nats.nk`))).size, roles.length);
    const secret = read('tier1/secret');
    assert.ok(secret.length >= 40);
    assert.deepEqual([read('dssl/secret'), read('admin/secret')], [secret, secret]);
    assert.ok(!made.includes('cli/secret'));
  });

  it('keys - what is there stays, whichever part of it', () => {
    makeKeys({ dir });
    const all = everything();
    assert.deepEqual(makeKeys({ dir }), []);
    assert.deepEqual(everything(), all);
    // A run that was killed in between leaves some of the files, and drafts.
    for (const lost of ['admin/secret', 'tier1/secret', 'nats/keys.conf']) rmSync(join(dir, lost));
    writeFileSync(join(dir, 'dssl/secret.4711.new'), 'half a sec');
    assert.deepEqual(makeKeys({ dir }).sort(), ['admin/secret', 'nats/keys.conf', 'tier1/secret']);
    rmSync(join(dir, 'dssl/secret.4711.new'));
    assert.deepEqual(everything(), all);
  });

  it('keys - a file that a full or failing disk left empty is made anew', () => {
    makeKeys({ dir });
    const all = everything();
    for (const empty of ['dssl/secret', 'tier1/secret']) {
      rmSync(join(dir, empty));
      writeFileSync(join(dir, empty), '');
    }
    makeKeys({ dir });
    assert.deepEqual(everything(), all);
  });

  it('keys - only the owner reads them, and the group that is named; nobody changes them', () => {
    makeKeys({ dir });
    for (const file of ['tier1/nats.nk', 'tier1/secret', 'nats/keys.conf']) assert.equal(modeOf(file), '400', file);
    assert.equal(modeOf('tier1'), '700');
    chmodSync(join(dir, 'tier1/secret'), 0o666);
    const gid = process.getgid?.() ?? 0;
    makeKeys({ dir, gid });
    for (const file of ['tier1/nats.nk', 'tier1/secret', 'nats/keys.conf']) assert.equal(modeOf(file), '440', file);
    assert.equal(modeOf('tier1'), '750');
    assert.equal(statSync(join(dir, 'cli/nats.nk')).gid, gid);
  });

  it('keys - two secrets, or a key that is none, are said with the names of the files', () => {
    makeKeys({ dir });
    rmSync(join(dir, 'dssl/secret'));
    writeFileSync(join(dir, 'dssl/secret'), 'another');
    assert.throws(
      () => makeKeys({ dir }),
      (error: Error) => /tier1\/secret and .*dssl\/secret/.test(error.message) && hasCode(errorCodes.badFile)(error),
    );
    rmSync(join(dir, 'dssl/secret'));
    rmSync(join(dir, 'cli/nats.nk'));
    writeFileSync(join(dir, 'cli/nats.nk'), 'nonsense');
    assert.throws(
      () => makeKeys({ dir }),
      (error: Error) => /cli\/nats\.nk is not the seed/.test(error.message) && hasCode(errorCodes.badFile)(error),
    );
  });

  it('keys - a folder that cannot be: said, with its name', () => {
    writeFileSync(join(dir, 'file'), '');
    assert.throws(
      () => makeKeys({ dir: join(dir, 'file') }),
      (error: Error) => error.message.includes(join(dir, 'file')) && hasCode(errorCodes.badFile)(error),
    );
  });

  it('keys - certificates and routes get into the server configuration; renewed certificates replace the former', () => {
    const certs = join(dir, 'brought');
    mkdirSync(certs);
    for (const name of ['ca.pem', 'server.pem', 'server-key.pem']) writeFileSync(join(certs, name), `${name} 1`);
    makeKeys({ dir, certs, nodes: ['nats', 'nats-2'] });
    const config = read('nats/keys.conf');
    const password = read('nats/routes-password');
    assert.match(config, /^tls \{\n {2}cert_file: "keys\/nats\/server\.pem"/m);
    assert.ok(config.includes(`"nats://routes:${password}@nats-2:6222"`), config);
    for (const role of roles) assert.equal(read(`${role}/ca.pem`), 'ca.pem 1');
    assert.equal(read('nats/server-key.pem'), 'server-key.pem 1');
    writeFileSync(join(certs, 'server.pem'), 'server.pem 2');
    assert.deepEqual(makeKeys({ dir, certs, nodes: ['nats', 'nats-2'] }), ['nats/server.pem']);
    assert.equal(read('nats/server.pem'), 'server.pem 2');
    rmSync(join(certs, 'ca.pem'));
    assert.throws(() => makeKeys({ dir, certs }), /brought\/ca\.pem/);
  });
});
