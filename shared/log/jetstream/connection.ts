// What the log needs of the NATS connection that it goes over (shared/bus/nats/nats.ts).

import type { Msg } from 'nats';
import type { Clock } from '../../base/clock.ts';

export interface LogConnection {
  readonly clock: Clock;
  readonly isConnected: boolean;
  readonly isClosed: boolean;
  /** Largest message that the server takes. */
  readonly maxMessageBytes: number;
  /** Of logs that are made without settings. */
  readonly storage: 'file' | 'memory';
  readonly replicas: number;
  /** Sends as it is, without looking at the window of the bus. Only while connected. */
  send(subject: string, data: Uint8Array, reply?: string): void;
  /** Rejects with a FlowherdError in bounded time. */
  request(subject: string, payload: Uint8Array): Promise<Uint8Array>;
  /** A subject that nobody else has; answers may come to it and below it. */
  newInbox(): string;
  /** The handler must not throw. */
  listen(subject: string, handler: (message: Msg) => void): { close(): void };
  handlerFailed(subject: string, error: unknown): void;
}
