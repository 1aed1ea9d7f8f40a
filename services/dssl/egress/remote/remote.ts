// The other end of bus.ts: a server on hardware of its own. It takes the deliveries of its actor and hands packets, starts
// and ends of flows to a handler, as if the actor were in this process.
//
// Deliveries can be lost (a process that starts late, a connection that breaks), and with them starts and ends. The
// handler must not see that: a packet of a flow that is not open opens it first (`origin: 'promoted'`: the handler does
// not have the earlier packets), an end of a flow that is not open is left out, and a flow that is silent for longer
// than any idle limit allows is ended. When another life of the actor speaks, the flows of the former one have moved.

import type { Clock, Timer } from '../../../../shared/base/clock.ts';
import type { Bus, Subscription } from '../../../../shared/bus/bus.ts';
import type { Subjects } from '../../../../shared/bus/subjects.ts';
import { mostIdleSeconds } from '../../../../shared/membership/idleLimits.ts';
import {
  Delivery,
  DeliveryEvent,
  type DeliveryFault,
  deliveryFaults,
  encodeAck,
} from '../../../../shared/messages/delivery.ts';
import { NumberedStream, NumberedStreams } from '../../../../shared/messages/numberedStreams.ts';
import { FlowMap } from '../handlers/flowMap.ts';
import type { FlowEndReason, HandlerLog } from '../handlers/handler.ts';
import type { LocalEgress } from '../local.ts';
import { ackIntervalMs } from './bus.ts';

export interface RemoteServerOptions {
  readonly server: string;
  /** Tells this life of the process from others. */
  readonly life: number;
  /** To the handler; started by the caller, who also stops it. */
  readonly egress: LocalEgress;
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly log: HandlerLog;
}

interface OpenFlow {
  readonly hi: number;
  readonly lo: number;
  /** Packet time of its newest packet. */
  seenAtMs: number;
}

const handlerTickMs = 1_000;
/** An actor that has said nothing for so long is not there. */
const silentMs = 5_000;
/** Lives of the actor that have been followed by another. */
const formerLives = 16;
/** Flows looked at in one tick for those that ended unheard. */
const sweptFlows = 4_096;
const endReasons: Readonly<Record<number, FlowEndReason>> = {
  [DeliveryEvent.closed]: 'closed',
  [DeliveryEvent.idle]: 'idle',
  [DeliveryEvent.evicted]: 'evicted',
  [DeliveryEvent.moved]: 'moved',
};

export class RemoteServer {
  readonly #options: RemoteServerOptions;
  readonly #delivery = new Delivery();
  readonly #lives = new NumberedStreams({
    most: formerLives,
    create: (id, sequence, nowMs) => new NumberedStream(id, sequence, nowMs),
  });
  readonly #flows = new FlowMap<OpenFlow>();
  readonly #bad = Object.fromEntries(deliveryFaults.map((fault) => [fault, 0])) as Record<DeliveryFault, number>;
  /** Former lives of the actor, whose deliveries come too late. */
  readonly #former: number[] = [];
  #stale = 0;
  #opened = 0;
  #swept = 0;
  #deliveries = 0;
  /** The actor's present life, its newest delivery, and the packets it brought. */
  #life = 0;
  #sequence = 0;
  #packets = 0;
  #heardAtMs = Number.NEGATIVE_INFINITY;
  #isSilent = true;
  #timestampMs = 0;
  #sweepAt = 0;
  #subscription: Subscription | undefined;
  #timer: Timer | undefined;
  #tickedAtMs = 0;

  constructor(options: RemoteServerOptions) {
    this.#options = options;
  }

  /** Listens. Rejects with a FlowherdError when the bus is down. */
  async start(): Promise<void> {
    const { bus, subjects, server, clock } = this.#options;
    this.#subscription = bus.subscribe(subjects.out(server), (message) => this.#onDelivery(message));
    await bus.flush();
    this.#tickedAtMs = clock.monotonicMs();
    this.#beat();
  }

  /** Says that it leaves, and listens no more. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#subscription?.unsubscribe();
    this.#acknowledge(true);
    this.#endAll();
    await this.#options.bus.flush().catch(() => undefined);
  }

  /** Deliveries that the bus lost on the way here, by the holes in their numbers. */
  get lostDeliveries(): number {
    return this.#lives.lost;
  }

  report(): Record<string, unknown> {
    return {
      deliveries: this.#deliveries,
      lostDeliveries: this.lostDeliveries,
      repeatedDeliveries: this.#lives.repeated,
      staleDeliveries: this.#stale,
      badMessages: Object.fromEntries(Object.entries(this.#bad).filter(([, count]) => count > 0)),
      flowsOpenedLate: this.#opened,
      flowsEndedUnheard: this.#swept,
    };
  }

  #beat(): void {
    const { clock, egress } = this.#options;
    this.#acknowledge(false);
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#tickedAtMs >= handlerTickMs) {
      this.#tickedAtMs = nowMs;
      egress.tick(clock.nowMs());
      this.#sweep();
      this.#noteSilence(nowMs);
    }
    this.#timer = clock.setTimer(ackIntervalMs, () => this.#beat());
  }

  #acknowledge(isLeaving: boolean): void {
    const { bus, subjects, server, life } = this.#options;
    const said = { server, serverLife: life, life: this.#life, sequence: this.#sequence, packets: this.#packets };
    bus.publish(subjects.ack(server), encodeAck({ ...said, isLeaving }));
  }

  #onDelivery(message: Uint8Array): void {
    const delivery = this.#delivery;
    const fault = delivery.decode(message);
    if (fault !== 'none' || delivery.server !== this.#options.server) {
      this.#bad[fault === 'none' ? 'shape' : fault]++;
      return;
    }
    if (delivery.life !== this.#life && !this.#meet(delivery.life)) {
      this.#stale++;
      return;
    }
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#lives.arrive(String(delivery.life), delivery.sequence, nowMs) === undefined) return;
    this.#deliveries++;
    this.#sequence = delivery.sequence;
    this.#heardAtMs = this.#options.clock.monotonicMs();
    if (this.#isSilent) {
      this.#isSilent = false;
      this.#options.log.info('the actor of this server speaks');
      // It may be waiting to hear that somebody listens.
      this.#acknowledge(false);
    }
    this.#take();
  }

  /** Another life of the actor speaks: false when it is a former one. */
  #meet(life: number): boolean {
    if (this.#former.includes(life)) return false;
    if (this.#life !== 0) {
      this.#former.push(this.#life);
      if (this.#former.length > formerLives) this.#former.shift();
      this.#options.log.info('its actor has begun another life', { flows: this.#flows.size });
    }
    this.#endAll();
    this.#life = life;
    this.#packets = 0;
    this.#isSilent = true;
    return true;
  }

  /** Hands the delivery at hand to the handler, row by row. */
  #take(): void {
    const delivery = this.#delivery;
    const { egress } = this.#options;
    let offset = 0;
    let isOpen = false;
    let isBye = false;
    for (let row = 0; row < delivery.count; row++) {
      const event = delivery.isEvent(row) ? delivery.event(row) : -1;
      if (event === DeliveryEvent.time) {
        if (isOpen) egress.end();
        isOpen = true;
        this.#timestampMs = delivery.timestampMs(row);
        egress.begin(delivery.payload, this.#timestampMs);
      } else if (event === DeliveryEvent.repeat) {
        egress.begin(delivery.payload, this.#timestampMs, undefined, true);
      } else if (event === DeliveryEvent.bye) {
        isBye = true;
      } else if (event !== -1) {
        this.#onEvent(event, delivery.hashHi(row), delivery.hashLo(row));
      } else {
        const length = delivery.length(row);
        this.#onPacket(offset, length, delivery.hashHi(row), delivery.hashLo(row), delivery.flags(row));
        offset += length;
      }
    }
    if (isOpen) egress.end();
    if (isBye) this.#part();
  }

  #onPacket(offset: number, length: number, hi: number, lo: number, flags: number): void {
    const { egress } = this.#options;
    const flow = this.#flows.get(hi, lo);
    if (flow === undefined) {
      this.#opened++;
      this.#flows.set(hi, lo, { hi, lo, seenAtMs: this.#timestampMs });
      egress.flowStarted(hi, lo, this.#timestampMs, 'promoted');
    } else {
      flow.seenAtMs = this.#timestampMs;
    }
    this.#packets++;
    egress.add(offset, length, hi, lo, flags);
  }

  #onEvent(event: number, hi: number, lo: number): void {
    const { egress } = this.#options;
    const isKnown = this.#flows.get(hi, lo) !== undefined;
    if (event !== DeliveryEvent.started) {
      if (!isKnown) return;
      this.#flows.delete(hi, lo);
      egress.flowEnded(hi, lo, endReasons[event], this.#timestampMs);
      return;
    }
    // Its end was lost.
    if (isKnown) egress.flowEnded(hi, lo, 'closed', this.#timestampMs);
    this.#flows.set(hi, lo, { hi, lo, seenAtMs: this.#timestampMs });
    egress.flowStarted(hi, lo, this.#timestampMs);
  }

  /** The actor has left its group. Somebody else may begin another life of it. */
  #part(): void {
    this.#options.log.info('its actor has left', { flows: this.#flows.size });
    this.#endAll();
    this.#isSilent = true;
    this.#acknowledge(false);
  }

  #endAll(): void {
    for (const { hi, lo } of this.#flows.values()) this.#options.egress.flowEnded(hi, lo, 'moved', this.#timestampMs);
    this.#flows.clear();
  }

  /** Ends flows whose end must have been lost: their actor would not keep them for so long. */
  #sweep(): void {
    for (let looked = 0; looked < sweptFlows && this.#flows.size > 0; looked++) {
      this.#sweepAt = this.#sweepAt % this.#flows.size;
      const { hi, lo, seenAtMs } = this.#flows.values()[this.#sweepAt];
      if (this.#timestampMs - seenAtMs <= 1_000 * mostIdleSeconds) {
        this.#sweepAt++;
        continue;
      }
      this.#flows.delete(hi, lo);
      this.#swept++;
      this.#options.egress.flowEnded(hi, lo, 'idle', this.#timestampMs);
    }
  }

  #noteSilence(nowMs: number): void {
    if (this.#isSilent || nowMs - this.#heardAtMs <= silentMs) return;
    this.#isSilent = true;
    this.#options.log.warn('the actor of this server has fallen silent');
  }
}
