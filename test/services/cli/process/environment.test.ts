// What the environment may say: every variable, and a clear line for each mistake.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { busOptionsOf, readEnvironment } from '../../../../services/cli/process/environment.ts';
import { errorCodes } from '../../../../shared/base/errors.ts';
import { makeUserSeed } from '../../../../shared/bus/nats/keys.ts';
import { hasCode } from '../../../support/busInbox.ts';

describe('environment', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-environment-'));
  after(() => rmSync(folder, { recursive: true }));
  const file = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };

  it('environment - nothing set: no secret, no login, no TLS, a log of the usual things to standard error', () => {
    assert.deepEqual(readEnvironment({}), {
      secret: undefined,
      auth: undefined,
      settings: {},
      tls: undefined,
      logLevel: 'info',
      logTo: 'stderr',
    });
  });

  it('environment - secrets come from variables, or from files without the line end that editors add', () => {
    const seed = makeUserSeed();
    assert.equal(readEnvironment({ FLOWHERD_SECRET_FILE: file('secret', 's3cret\n') }).secret, 's3cret');
    const password = file('password', 'p\n');
    const login = { user: 'u', password: 'p' };
    assert.deepEqual(readEnvironment({ NATS_USER: 'u', NATS_PASSWORD_FILE: password }).auth, login);
    assert.deepEqual(readEnvironment({ NATS_USER: 'u', NATS_PASSWORD: 'p' }).auth, login);
    assert.deepEqual(readEnvironment({ NATS_NKEY_FILE: file('nk', `${seed}\n`) }).auth, { nkey: seed });
    assert.deepEqual(readEnvironment({ NATS_TOKEN: 't' }).auth, { token: 't' });
  });

  it('environment - TLS by files, each role with an inbox of its own', () => {
    const [caFile, certFile, keyFile] = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => file(name, 'x'));
    const all = { NATS_CA_FILE: caFile, NATS_CERT_FILE: certFile, NATS_KEY_FILE: keyFile };
    assert.deepEqual(readEnvironment(all).tls, { caFile, certFile, keyFile });
    const tls = { caFile };
    assert.deepEqual(readEnvironment({ NATS_CA_FILE: caFile }).tls, tls);
    assert.deepEqual(busOptionsOf({ auth: undefined, tls }, 'dssl'), { inboxPrefix: '_INBOX_dssl', tls });
    assert.deepEqual(busOptionsOf({ auth: { token: 't' } }, 'cli'), {
      inboxPrefix: '_INBOX_cli',
      auth: { token: 't' },
    });
  });

  it('environment - a mistake is said with the name of its variable', () => {
    const missing = join(folder, 'nowhere');
    const cases: readonly [Record<string, string>, RegExp][] = [
      [{ FLOWHERD_LOG: 'loud' }, /FLOWHERD_LOG=loud/],
      [{ FLOWHERD_LOG_TO: 'file' }, /FLOWHERD_LOG_TO=file/],
      [{ FLOWHERD_SECRET_FILE: missing }, /FLOWHERD_SECRET_FILE: .*nowhere/],
      [{ NATS_USER: 'u' }, /NATS_USER and NATS_PASSWORD/],
      [{ NATS_PASSWORD: 'p' }, /NATS_USER and NATS_PASSWORD/],
      [{ NATS_USER: 'u', NATS_PASSWORD_FILE: missing }, /NATS_PASSWORD_FILE: .*nowhere/],
      [{ NATS_NKEY_FILE: missing }, /NATS_NKEY_FILE: .*nowhere/],
      [{ NATS_NKEY_FILE: file('not-a-seed', 'UABC') }, /NATS_NKEY_FILE .*seed/],
      [{ NATS_CREDS_FILE: missing }, /NATS_CREDS_FILE: .*nowhere/],
      [{ NATS_CA_FILE: missing }, /NATS_CA_FILE: .*nowhere/],
      [{ NATS_CERT_FILE: file('c', 'x') }, /NATS_CERT_FILE and NATS_KEY_FILE/],
      [{ NATS_CERT_FILE: file('c', 'x'), NATS_KEY_FILE: missing }, /NATS_KEY_FILE: .*nowhere/],
    ];
    for (const [variables, says] of cases) {
      assert.throws(
        () => readEnvironment(variables),
        (error: Error) => {
          assert.match(error.message, says);
          assert.ok(!error.message.includes('\n'));
          return hasCode(errorCodes.badConfig)(error);
        },
      );
    }
  });
});
