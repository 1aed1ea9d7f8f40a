// Which bus an address means.

import { errorCodes, FlowherdError } from '../base/errors.ts';
import type { Bus } from './bus.ts';
import type { MemoryHub } from './memory.ts';
import type { FirstConnection, NatsOptions } from './nats/nats.ts';

/** The address of the bus inside this process. */
export const embeddedUrl = 'embedded';

export interface OpenBusOptions extends Omit<NatsOptions, 'url'> {
  /** The network to join when the address is `embedded`. */
  hub?: MemoryHub;
  /** How long to try when the address is a NATS server's. */
  first?: FirstConnection;
}

/** Opens `embedded` (on `options.hub`) or `nats://host:port`. Rejects with `bad-config` or what connectNats() does. */
export async function openBus(url: string, options: OpenBusOptions): Promise<Bus> {
  const { hub, first, ...natsOptions } = options;
  if (url === embeddedUrl) {
    if (hub !== undefined) return hub.connect(options.name);
    throw new FlowherdError(
      errorCodes.badConfig,
      'the embedded bus reaches only one process; name a NATS server instead',
    );
  }
  // Loaded when needed: the embedded bus runs without the client library.
  const { connectNats } = await import('./nats/nats.ts');
  return connectNats({ ...natsOptions, url }, first);
}
