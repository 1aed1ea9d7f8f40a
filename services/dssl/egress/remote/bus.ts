// The egress to a server on other hardware (`--egress bus`): accepted packets and the starts and ends of flows leave, in
// order, as deliveries (shared/messages/delivery.ts) on `out.<server>`; `flowherd server` takes them there (remote.ts) and hands
// them to the same handlers as run beside an actor.
//
// The bus delivers at most once and does not say whether anybody listens, so the server does: several times a second it
// acknowledges what it has got, on `ack.<server>`. An actor waits for the first such word before it joins its group, for
// flows placed at it would be lost. Silence later is logged, and what was sent and not acknowledged is counted as lost.
// An actor that has nothing to send says so once a second, so that the server sees holes at the end, too.

import type { Clock } from '../../../../shared/base/clock.ts';
import type { Bus, Subscription } from '../../../../shared/bus/bus.ts';
import type { Subjects } from '../../../../shared/bus/subjects.ts';
import { type DeliveryAck, DeliveryBuilder, DeliveryEvent, decodeAck } from '../../../../shared/messages/delivery.ts';
import type { EgressStats, ServerEgress } from '../egress.ts';
import type { FlowEndReason, HandlerLog, ServerLoad } from '../handlers/handler.ts';
import { ShareSince } from '../measures.ts';

export interface BusEgressOptions {
  readonly server: string;
  /** The actor's incarnation. */
  readonly life: number;
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly log: HandlerLog;
}

/** How often a server acknowledges, and an actor calls before anybody has answered. */
export const ackIntervalMs = 250;
/** A server that has said nothing for so long does not listen. */
const silentMs = 2_000;
/** How long the end waits for the last acknowledgement. */
const lastAckMs = 2_000;
const logIntervalMs = 60_000;

class BusStats implements EgressStats {
  packets = 0;
  bytes = 0;
  flowsStarted = 0;
  flowsEnded = 0;
  /** Packets that did not leave: the connection was down, or the bus took no more. */
  readonly dropped = { 'bus-down': 0, overload: 0 };
  /** Packets that left, and those that the server said it has got. */
  sent = 0;
  acknowledged = 0;

  get packetsLost(): number {
    return this.dropped['bus-down'] + this.dropped.overload + Math.max(0, this.sent - this.acknowledged);
  }
}

export class BusEgress implements ServerEgress {
  /** `packetsLost` counts as lost what is not acknowledged (yet): exact after `stop`. */
  readonly stats: Readonly<BusStats>;
  readonly #stats = new BusStats();
  readonly #options: BusEgressOptions;
  readonly #subject: string;
  readonly #builder = new DeliveryBuilder();
  readonly #loss = new ShareSince();
  #subscription: Subscription | undefined;
  #data: Uint8Array = new Uint8Array(0);
  #timestampMs = 0;
  #sequence = 0;
  #isFlushDue = false;
  #hasSpoken = false;
  #isStopped = false;
  #badAcks = 0;
  /** A delivery whose acknowledgement is waited for, the position that it reaches to, and the last one that was acknowledged. */
  #awaited = { sequence: 0, position: 0 };
  #handledUpTo = 0;
  /** The server process that listens, what it has acknowledged, and the one before it. */
  #server: DeliveryAck | undefined;
  #formerLife = 0;
  /** Packets that earlier server processes acknowledged. */
  #acknowledgedBefore = 0;
  #heardAtMs = Number.NEGATIVE_INFINITY;
  #isSilent = false;
  #loggedAtMs = Number.NEGATIVE_INFINITY;
  #onAck: () => void = () => undefined;

  constructor(options: BusEgressOptions) {
    this.stats = this.#stats;
    this.#options = options;
    this.#subject = options.subjects.out(options.server);
  }

  /** True while a server listens. */
  get isHeard(): boolean {
    return this.#options.clock.monotonicMs() - this.#heardAtMs <= silentMs;
  }

  /** Resolves when a server listens: it may be long in coming, or never come; or when it is stopped. */
  async start(): Promise<void> {
    const { bus, subjects, clock, server, log } = this.#options;
    this.#subscription = bus.subscribe(subjects.ack(server), (message) => this.#acknowledged(message));
    await bus.flush();
    log.info(`waiting for the server: npx flowherd server --of ${server}`);
    while (this.#server === undefined && !this.#isStopped) {
      this.#send();
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(ackIntervalMs, resolve);
        this.#onAck = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    if (!this.#isStopped) log.info('the server listens');
  }

  begin(data: Uint8Array, timestampMs: number, _tier1Id: string, isRepeat = false): void {
    this.#data = data;
    this.#timestampMs = timestampMs;
    this.#builder.beginRun(isRepeat);
  }

  add(offset: number, length: number, hi: number, lo: number, flags: number): void {
    this.#stats.packets++;
    this.#stats.bytes += length;
    if (this.#builder.isFull(length)) this.#send();
    this.#builder.addPacket(this.#data, offset, length, hi, lo, flags, this.#timestampMs);
    this.#due();
  }

  end(): void {
    // What several frames bring at once leaves together, so the end of one is no reason to send.
  }

  flowStarted(hi: number, lo: number, timestampMs: number): void {
    this.#stats.flowsStarted++;
    this.#event(DeliveryEvent.started, hi, lo, timestampMs);
  }

  flowEnded(hi: number, lo: number, reason: FlowEndReason, timestampMs: number): void {
    this.#stats.flowsEnded++;
    this.#event(DeliveryEvent[reason], hi, lo, timestampMs);
  }

  /** What the server has acknowledged: it goes by deliveries, so it is looked at as far as one of them reaches. */
  handled(position: number): number {
    if (position < this.#awaited.position) this.#awaited = { sequence: 0, position: 0 };
    if ((this.#server?.sequence ?? 0) >= this.#awaited.sequence) {
      this.#handledUpTo = this.#awaited.position;
      const sequence = this.#sequence + (this.#builder.count > 0 ? 1 : 0);
      this.#awaited = { sequence, position };
      if ((this.#server?.sequence ?? 0) >= sequence) this.#handledUpTo = position;
    }
    return this.#handledUpTo;
  }

  tick(): void {
    if (!this.#hasSpoken) this.#send();
    this.#hasSpoken = false;
    const nowMs = this.#options.clock.monotonicMs();
    if (this.isHeard || nowMs - this.#loggedAtMs < logIntervalMs) return;
    this.#isSilent = true;
    this.#loggedAtMs = nowMs;
    const { packetsLost } = this.#stats;
    this.#options.log.warn('no server listens: the packets of its flows are lost', {
      subject: this.#subject,
      packetsLost,
    });
  }

  /** The share of packets that did not leave; all of them while nobody listens. Its handler is out of hearing. */
  load(): ServerLoad {
    const { dropped, packets } = this.#stats;
    const loss = this.#loss.take(dropped['bus-down'] + dropped.overload, packets);
    return { loss: this.isHeard ? loss : 1 };
  }

  report(): Record<string, unknown> {
    const { sent, acknowledged, dropped } = this.#stats;
    const { 'bus-down': busDown, overload } = dropped;
    return {
      subject: this.#subject,
      deliveries: this.#sequence,
      sent,
      acknowledged,
      notSent: { 'bus-down': busDown, overload },
      badMessages: this.#badAcks,
      listening: this.isHeard,
    };
  }

  /** Says goodbye to the server, and waits for its last word where it still listens. */
  async stop(): Promise<void> {
    const { clock } = this.#options;
    this.#isStopped = true;
    this.#onAck();
    this.#event(DeliveryEvent.bye, 0, 0, this.#timestampMs);
    this.#send();
    const deadlineMs = clock.monotonicMs() + lastAckMs;
    while (this.isHeard && (this.#server?.sequence ?? 0) < this.#sequence) {
      const leftMs = deadlineMs - clock.monotonicMs();
      if (leftMs <= 0) break;
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(leftMs, resolve);
        this.#onAck = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#subscription?.unsubscribe();
  }

  #event(event: number, hi: number, lo: number, timestampMs: number): void {
    if (this.#builder.isFull(0)) this.#send();
    this.#builder.addEvent(event, hi, lo, timestampMs);
    this.#due();
  }

  /** What is there at this turn of the event loop leaves at its end. */
  #due(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.#options.clock.defer(() => {
      this.#isFlushDue = false;
      if (this.#builder.count > 0) this.#send();
    });
  }

  #send(): void {
    const { bus, server, life } = this.#options;
    const { packets } = this.#builder;
    const message = this.#builder.finish({ server, life, sequence: this.#sequence + 1 });
    if (!bus.writable) {
      this.#stats.dropped.overload += packets;
    } else if (bus.publish(this.#subject, message)) {
      // One that never left must not look like a loss on the way: its number is used again.
      this.#sequence++;
      this.#stats.sent += packets;
      this.#hasSpoken = true;
    } else {
      this.#stats.dropped['bus-down'] += packets;
    }
  }

  #acknowledged(message: Uint8Array): void {
    const { clock, server, life, log } = this.#options;
    const ack = decodeAck(message);
    if (ack === undefined || ack.server !== server) {
      this.#badAcks++;
      return;
    }
    const known = this.#server;
    if (ack.serverLife === this.#formerLife && !ack.isLeaving) {
      this.#warnOfRivals();
      return;
    }
    // Words about another life of this actor say only that the server is there.
    const own = ack.life === life ? ack : { ...ack, sequence: 0, packets: 0 };
    if (known !== undefined && known.serverLife !== ack.serverLife) {
      if (ack.isLeaving) return;
      this.#acknowledgedBefore += known.packets;
      this.#formerLife = known.serverLife;
      log.info('another process took the server over');
    } else if (known !== undefined && own.packets < known.packets) {
      return;
    }
    this.#server = own;
    this.#stats.acknowledged = this.#acknowledgedBefore + own.packets;
    this.#heardAtMs = ack.isLeaving ? Number.NEGATIVE_INFINITY : clock.monotonicMs();
    if (this.#isSilent && !ack.isLeaving) {
      this.#isSilent = false;
      this.#loggedAtMs = Number.NEGATIVE_INFINITY;
      log.info('the server listens again');
    }
    this.#onAck();
  }

  /** Two processes that take one server's packets both get all of them. */
  #warnOfRivals(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logIntervalMs) return;
    this.#loggedAtMs = nowMs;
    this.#options.log.warn(`two processes run as server ${this.#options.server}, and both get its packets: end one`);
  }
}
