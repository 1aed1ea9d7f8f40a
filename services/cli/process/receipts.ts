// Puts receipts for traffic generators round a server's egress, wherever a server runs.

import type { Clock } from '../../../shared/base/clock.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import { ReceiptEgress, type ReceiptEgressOptions } from '../../dssl/egress/remote/receipts.ts';
import type { DsslCore } from '../../dssl/old/core.ts';

export interface ReceiptOptions {
  readonly inner: ReceiptEgressOptions['inner'];
  readonly server: string;
  readonly group: string;
  readonly incarnation: number;
  readonly clock: Clock;
  /** The actor's connection for frames: receipts are bulk too. */
  readonly bus: Bus;
  readonly subjects: Subjects;
  /** The actor's core, which is made after its egress. */
  core(): DsslCore | undefined;
}

export function receiptsOver({ bus, subjects, core, ...options }: ReceiptOptions): ReceiptEgress {
  return new ReceiptEgress({
    ...options,
    // What the bus does not take is given up and shows as a hole: it must not fill the memory of a server.
    publish: (run, message) => void (bus.writable && bus.publish(subjects.receipt(run), message)),
    state: () => ({ lostFrames: core()?.streams.lostFrames ?? 0, flows: core()?.ownFlows ?? 0 }),
  });
}
