// A server on other hardware: both ends of the way to it, on the embedded bus under a virtual clock, with losses.

import assert from 'node:assert/strict';
import type { ServerHandler } from '../../services/dssl/egress/handlers/handler.ts';
import { LocalEgress } from '../../services/dssl/egress/local.ts';
import { BusEgress } from '../../services/dssl/egress/remote/bus.ts';
import { RemoteServer } from '../../services/dssl/egress/remote/remote.ts';
import { VirtualClock } from '../../shared/base/clock.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import { MemoryHub } from '../../shared/bus/memory.ts';
import { subjectsOf } from '../../shared/bus/subjects.ts';

export interface Far {
  readonly remote: RemoteServer;
  readonly local: LocalEgress;
  /** What the handler was told, as text. */
  readonly events: string[];
  readonly bus: Bus;
}

export class Ends {
  readonly clock = new VirtualClock(1_000_000);
  readonly hub = new MemoryHub({ clock: this.clock });
  readonly subjects = subjectsOf('c');
  readonly lines: string[] = [];
  /** Deliveries that are to be lost: told the packets sent so far, says so. */
  lose: (deliveries: number) => boolean = () => false;
  #published = 0;
  #lives = 0;
  readonly #log = {
    info: (line: string) => void this.lines.push(line),
    warn: (line: string) => void this.lines.push(line),
    error: (line: string) => void this.lines.push(line),
  };

  near(): BusEgress {
    const bus = this.hub.connect('actor');
    const lossy: Bus = Object.create(bus, {
      publish: {
        value: (subject: string, data: Uint8Array) =>
          this.lose(++this.#published) ? true : bus.publish(subject, data),
      },
      writable: { get: () => bus.writable },
      subscribe: { value: bus.subscribe.bind(bus) },
      flush: { value: bus.flush.bind(bus) },
    });
    const { clock, subjects } = this;
    return new BusEgress({ server: 's1', life: ++this.#lives, bus: lossy, subjects, clock, log: this.#log });
  }

  async far(): Promise<Far> {
    const { clock, subjects } = this;
    const events: string[] = [];
    const local = new LocalEgress({ handler: telling(events), log: this.#log, nowMs: () => clock.monotonicMs() });
    const bus = this.hub.connect('server');
    const remote = new RemoteServer({
      server: 's1',
      life: 1_000 + ++this.#lives,
      egress: local,
      bus,
      subjects,
      clock,
      log: this.#log,
    });
    await this.done(remote.start());
    return { remote, local, events, bus };
  }

  /** Lets time pass until a promise has settled, as a process would. */
  async done<T>(promise: Promise<T>): Promise<T> {
    let isDone = false;
    const settled = promise.finally(() => (isDone = true));
    settled.catch(() => undefined);
    for (let step = 0; !isDone && step < 1_000; step++) await this.clock.advanceAsync(10);
    assert.ok(isDone, 'it takes too long');
    return settled;
  }

  /** Both ends, and the actor has heard that its server listens. */
  async both(): Promise<{ near: BusEgress; far: Far }> {
    const far = await this.far();
    const near = this.near();
    await this.done(near.start());
    return { near, far };
  }

  /** Time passes, and the actor ticks once a second. */
  async seconds(near: BusEgress, count: number): Promise<void> {
    for (let second = 0; second < count; second++) {
      await this.clock.advanceAsync(1_000);
      near.tick();
    }
    await this.clock.advanceAsync(10);
  }
}

export function telling(events: string[]): ServerHandler {
  return {
    onFlowStart: ({ flowId, timestampMs }, origin) => void events.push(`+${Number(flowId)} ${timestampMs} ${origin}`),
    onFlowEnd: ({ flowId, timestampMs }, reason) => void events.push(`-${Number(flowId)} ${timestampMs} ${reason}`),
    onPackets: (batch) => {
      for (let i = 0; i < batch.count; i++) {
        events.push(`${Number(batch.flowId(i))}: ${batch.packet(i).join('.')} ${batch.timestampMs} ${batch.flags[i]}`);
      }
    },
  };
}
