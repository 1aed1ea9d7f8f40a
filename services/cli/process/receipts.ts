// Puts receipts for traffic generators round a server's egress, wherever a server runs.

import type { Clock } from '../../../shared/base/clock.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import type { DsslActor } from '../../dssl/actor.ts';
import { ReceiptEgress, type ReceiptEgressOptions } from '../../dssl/egress/remote/receipts.ts';

export interface ReceiptOptions {
  readonly inner: ReceiptEgressOptions['inner'];
  readonly server: string;
  readonly group: string;
  readonly incarnation: number;
  readonly clock: Clock;
  /** The actor's connection for the log: receipts are bulk too. */
  readonly bus: Bus;
  readonly subjects: Subjects;
  /** The actor, which is made after its egress. */
  actor(): DsslActor | undefined;
}

export function receiptsOver({ bus, subjects, actor, ...options }: ReceiptOptions): ReceiptEgress {
  return new ReceiptEgress({
    ...options,
    // What the bus does not take is given up and shows as a hole: it must not fill the memory of a server.
    publish: (run, message) => void (bus.writable && bus.publish(subjects.receipt(run), message)),
    state: () => ({
      skippedEntries: actor()?.recovery.counters.skippedEntries ?? 0,
      flows: actor()?.ownFlows ?? 0,
      isServing: actor()?.phase === 'active' || actor()?.phase === 'draining',
    }),
  });
}
