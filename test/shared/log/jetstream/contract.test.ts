// The log over a real nats-server, in memory and on file: the contract that every log keeps.

import { connectNats } from '../../../../shared/bus/nats/nats.ts';
import { realTime } from '../../../support/logReaders.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { logContract } from '../log.contract.ts';

for (const storage of ['memory', 'file'] as const) {
  logContract(
    `JetStream, storage ${storage}`,
    async () => {
      const server = await NatsServer.start();
      return {
        connect: () => connectNats({ url: server.url, name: 'contract', storage }),
        time: realTime,
        settings: { storage },
        close: () => server.stop(),
      };
    },
    skipWithoutNatsServer(),
  );
}
