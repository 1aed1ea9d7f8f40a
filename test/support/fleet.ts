// Processes of the product that a test starts, and that end with it whatever becomes of it; and a NATS server for them.

import { NatsServer } from './natsServer.ts';
import { Service } from './processes.ts';

export class Fleet {
  readonly nats: NatsServer;
  readonly #services: Service[] = [];

  private constructor(nats: NatsServer) {
    this.nats = nats;
  }

  static async start(): Promise<Fleet> {
    return new Fleet(await NatsServer.start());
  }

  /** A process with these arguments. */
  run(args: readonly string[]): Service {
    const service = new Service(args);
    this.#services.push(service);
    return service;
  }

  async end(): Promise<void> {
    await Promise.all(this.#services.map((service) => service.end('SIGKILL')));
    await this.nats.stop();
  }
}
