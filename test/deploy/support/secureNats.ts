// A NATS server with the configuration that is shipped (deploy/nats/) and keys made for it, as a user would start it.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeKeys } from '../../../services/cli/operate/keys.ts';
import type { NatsOptions } from '../../../shared/bus/nats/nats.ts';
import { inboxPrefixOf, type Role } from '../../../shared/bus/subjects.ts';
import { freePort, NatsServer } from '../../support/natsServer.ts';

export const natsFolder = join(import.meta.dirname, '../../../deploy/nats');

export class SecureNats {
  readonly server: NatsServer;
  readonly #folder: string;

  private constructor(server: NatsServer, folder: string) {
    this.server = server;
    this.#folder = folder;
  }

  static async start(): Promise<SecureNats> {
    const folder = mkdtempSync(join(tmpdir(), 'flowherd-secure-'));
    for (const file of ['nats.conf', 'permissions.conf']) copyFileSync(join(natsFolder, file), join(folder, file));
    makeKeys({ dir: join(folder, 'keys') });
    // Everything is the shipped file's but the port of its monitoring, which other servers of this machine may have.
    const config = join(folder, 'test.conf');
    writeFileSync(config, `include "nats.conf"\nhttp: "127.0.0.1:${await freePort()}"\n`);
    return new SecureNats(await NatsServer.start({ config }), folder);
  }

  get url(): string {
    return this.server.url;
  }

  /** For connectNats(). */
  login(role: Role): Pick<NatsOptions, 'auth' | 'inboxPrefix'> {
    return {
      auth: { nkey: readFileSync(this.#file(role, 'nats.nk'), 'utf8').trim() },
      inboxPrefix: inboxPrefixOf(role),
    };
  }

  /** For a process of the command line. The secret is the administrator's where the role has none. */
  environment(role: Role): Record<string, string> {
    return {
      FLOWHERD_BUS: this.url,
      FLOWHERD_SECRET: '',
      FLOWHERD_SECRET_FILE: this.#file(role === 'cli' ? 'admin' : role, 'secret'),
      NATS_NKEY_FILE: this.#file(role, 'nats.nk'),
    };
  }

  async stop(): Promise<void> {
    await this.server.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #file(role: Role, file: string): string {
    return join(this.#folder, 'keys', role, file);
  }
}
