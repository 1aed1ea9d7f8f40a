// UDP as ingress, and the way back: tier 1 is a virtual address (VIP) that clients send to, `--input udp://host:port`. Each
// datagram becomes a packet from the client to the VIP (vipPacket.ts) and goes the way of all packets. What servers
// answer comes on the subject `return.<tier 1>` and leaves from the socket its client talks to, so that clients see one
// ordinary server.
//
//   client ──► socket of the VIP ──► packet ──► distributor ──► ... ──► server's actor ──► backend
//   client ◄── socket of the VIP ◄── answers (shared/messages/answers.ts) ◄──── bus ◄──────┘
//
// Tier 1 remembers no client, so it cannot tell whether an answer belongs to a question. It sends only from its own VIPs
// and never to addresses that no client has. Beyond that it trusts whoever may publish on its return subject: that right
// belongs to DSSL actors alone.

import { createSocket, type Socket } from 'node:dgram';
import type { Clock, Timer } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import { resolveUdp, type UdpAddress, type UdpUrl } from '../../../shared/base/udpAddress.ts';
import type { Bus, Subscription } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import { type AnswerFault, Answers, answerFaults } from '../../../shared/messages/answers.ts';
import { NumberedStream, NumberedStreams } from '../../../shared/messages/numberedStreams.ts';
import { formatAddress, parseAddress } from '../../../shared/packet/addressText.ts';
import type { Tier1Actor } from '../actor.ts';
import { kernelDrops } from './kernelDrops.ts';
import { VipPacket, vipLinkType } from './vipPacket.ts';

export interface UdpIngressOptions {
  readonly tier1: Tier1Actor;
  readonly subjects: Subjects;
  /** Where answers come from. */
  readonly bus: Bus;
  readonly clock: Clock;
  /** A pino logger fits. */
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

/** Why an answer is not sent. */
const answerDrops = ['no-vip', 'bad-client', 'send-failed'] as const;

const logIntervalMs = 1_000;
/** How often the system is asked what it dropped. */
const kernelDropsMs = 5_000;

export class UdpIngress {
  readonly #options: UdpIngressOptions;
  readonly #vips: Vip[] = [];
  /** By family, port and address of the VIP, as a row of answers has them. */
  readonly #byAddress = new Map<string, Vip>();
  readonly #answers = new Answers();
  readonly #senders = new NumberedStreams({
    most: limits.answerSenders,
    create: (id, sequence, nowMs) => new NumberedStream(id, sequence, nowMs),
  });
  readonly #bad = Object.fromEntries(answerFaults.map((fault) => [fault, 0])) as Record<AnswerFault, number>;
  readonly #drops: Record<(typeof answerDrops)[number], number> = { 'no-vip': 0, 'bad-client': 0, 'send-failed': 0 };
  #answered = 0;
  #subscription: Subscription | undefined;
  #timer: Timer | undefined;
  #isStopped = false;
  #loggedAtMs = Number.NEGATIVE_INFINITY;

  private constructor(options: UdpIngressOptions) {
    this.#options = options;
  }

  /**
   * Binds a socket for each address and begins to feed what comes in to tier 1. Rejects with FlowherdError io-failed, in
   * one line, when a host is unknown or an address cannot be had; nothing stays open then.
   */
  static async open(urls: readonly UdpUrl[], options: UdpIngressOptions): Promise<UdpIngress> {
    const ingress = new UdpIngress(options);
    try {
      const { bus, subjects, tier1 } = options;
      ingress.#subscription = bus.subscribe(subjects.return(tier1.id), (message) => ingress.#onAnswers(message));
      for (const [index, url] of urls.entries()) await ingress.#bind(await resolveUdp(url), index);
    } catch (error) {
      await ingress.stop();
      throw error;
    }
    ingress.#watchKernel();
    return ingress;
  }

  /** Whether all addresses can be had at the moment; none stays open. Rejects as `open` does. */
  static async check(urls: readonly UdpUrl[]): Promise<void> {
    const vips: Vip[] = [];
    try {
      for (const url of urls) vips.push(await Vip.open(await resolveUdp(url), () => undefined));
    } finally {
      await Promise.all(vips.map((vip) => vip.close()));
    }
  }

  /** Takes no more datagrams and answers. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#subscription?.unsubscribe();
    // The system's counts end with the sockets.
    await this.#tellKernelDrops();
    await Promise.all(this.#vips.map((vip) => vip.close()));
  }

  /** What came in at each VIP, and what became of the answers. */
  report(): Record<string, unknown> {
    return {
      vips: this.#vips.map((vip) => vip.report()),
      answers: {
        sent: this.#answered,
        dropped: occurred(this.#drops),
        badMessages: occurred(this.#bad),
        lostMessages: this.#senders.lost,
        repeatedMessages: this.#senders.repeated,
      },
    };
  }

  async #bind(url: UdpAddress, link: number): Promise<void> {
    const { log } = this.#options;
    const vip = await Vip.open(url, (reason) => this.#complain(`${url.text}: ${reason}`));
    this.#vips.push(vip);
    this.#byAddress.set(keyOf(vip.address, 0, vip.address.length, vip.port), vip);
    this.#feed(vip, link);
    const address = formatAddress(vip.address) + vip.zone;
    const at = `${url.family === 6 ? `[${address}]` : address}:${vip.port}`;
    log.info({ input: url.text, receiveBufferBytes: vip.receiveBufferBytes }, `clients may send to udp://${at}`);
  }

  /** The data path: a datagram is copied into a packet, and the packet into a frame. */
  #feed(vip: Vip, link: number): void {
    const { tier1, clock } = this.#options;
    const { distributor } = tier1;
    const packet = new VipPacket(vip.address, vip.port);
    vip.socket.on('message', (datagram, from) => {
      vip.datagrams++;
      vip.bytes += datagram.length;
      if (!tier1.isOpen) {
        // Datagrams cannot be asked to wait, so what there is no room for is lost, and said.
        distributor.received++;
        distributor.receivedBytes += datagram.length;
        distributor.drops.overload++;
        vip.overload++;
        return;
      }
      // A client whose address cannot be read makes an empty packet, which is dropped and counted as one.
      const length = packet.write(from.address, from.port, datagram);
      distributor.packet(packet.buffer, 0, length, vipLinkType, link, clock.nowMs());
      tier1.fed();
    });
  }

  #onAnswers(message: Uint8Array): void {
    const answers = this.#answers;
    const fault = answers.decode(message);
    if (fault !== 'none') {
      this.#bad[fault]++;
      return;
    }
    const sender = `${answers.server}/${answers.incarnation}`;
    if (this.#senders.arrive(sender, answers.sequence, this.#options.clock.monotonicMs()) === undefined) return;
    let at = 0;
    for (let row = 0; row < answers.count; row++) {
      const end = at + answers.length(row);
      this.#answer(row, at, end);
      at = end;
    }
  }

  #answer(row: number, start: number, end: number): void {
    const { meta, payload } = this.#answers;
    const bytes = this.#answers.addressBytes(row);
    const vipAt = this.#answers.vipAt(row);
    const vip = this.#byAddress.get(keyOf(meta, vipAt, vipAt + bytes, this.#answers.vipPort(row)));
    if (vip === undefined) {
      this.#drops['no-vip']++;
      return;
    }
    const client = this.#answers.clientAt(row);
    const port = this.#answers.clientPort(row);
    if (port === 0 || !isClient(meta, client, bytes)) {
      this.#drops['bad-client']++;
      return;
    }
    this.#answered++;
    // The socket may keep the bytes until the system takes them, and the message is gone by then.
    vip.socket.send(
      Buffer.from(payload.subarray(start, end)),
      port,
      // A link-local client is on the link of its VIP.
      formatAddress(meta, client, client + bytes) + (isLinkLocal(meta, client, bytes) ? vip.zone : ''),
      (error) => {
        if (error === null || error === undefined) return;
        this.#answered--;
        this.#drops['send-failed']++;
        this.#complain(`${vip.url.text}: an answer could not be sent (${reasonOf(error)})`);
      },
    );
  }

  #watchKernel(): void {
    this.#timer = this.#options.clock.setTimer(kernelDropsMs, async () => {
      await this.#tellKernelDrops();
      if (!this.#isStopped) this.#watchKernel();
    });
  }

  /** Says what the system dropped since it was asked last: nothing is lost silently. */
  async #tellKernelDrops(): Promise<void> {
    for (const vip of this.#vips) {
      const datagrams = await vip.readKernelDrops();
      if (datagrams === 0) continue;
      const why = 'the receive buffer was full; a higher net.core.rmem_max may help';
      this.#options.log.warn({ input: vip.url.text, datagrams }, `the system dropped datagrams because ${why}`);
    }
  }

  #complain(what: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logIntervalMs) return;
    this.#loggedAtMs = nowMs;
    this.#options.log.warn(occurred(this.#drops), what);
  }
}

/** One address that clients send to, with its socket. */
class Vip {
  readonly url: UdpAddress;
  readonly socket: Socket;
  readonly address: Uint8Array;
  /** The interface of a link-local address, with its %; else empty. */
  readonly zone: string;
  readonly port: number;
  readonly receiveBufferBytes: number;
  datagrams = 0;
  bytes = 0;
  overload = 0;
  #kernelDrops: number | undefined;

  private constructor(url: UdpAddress, socket: Socket) {
    this.url = url;
    this.socket = socket;
    const { address, port } = socket.address();
    const [host, zone] = address.split('%');
    this.address = parseAddress(host);
    this.zone = zone === undefined ? '' : `%${zone}`;
    this.port = port;
    this.receiveBufferBytes = socket.getRecvBufferSize();
  }

  static async open(url: UdpAddress, complain: (reason: string) => void): Promise<Vip> {
    const socket = createSocket({
      type: url.family === 6 ? 'udp6' : 'udp4',
      // [::] is not 0.0.0.0 as well: a client has one address, of the family it uses.
      ipv6Only: url.family === 6,
      // Addresses are literal here: nobody has to be asked for them.
      lookup: (host, _options, found) => found(null, host, url.family),
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        const why = (error as NodeJS.ErrnoException).code ?? reasonOf(error);
        const text = `${url.text}: this address cannot be had (${why}${hints[why] ?? ''})`;
        reject(new FlowherdError(errorCodes.ioFailed, text, error));
      });
      socket.bind({ port: url.port, address: url.address, exclusive: true }, resolve);
    });
    socket.removeAllListeners('error');
    socket.on('error', (error) => complain(reasonOf(error)));
    try {
      socket.setRecvBufferSize(limits.vipReceiveBytes);
    } catch {
      // It stays as large as the system makes it, which the log says.
    }
    return new Vip(url, socket);
  }

  /** How many more the system has dropped since it was asked last. */
  async readKernelDrops(): Promise<number> {
    const before = this.#kernelDrops ?? 0;
    this.#kernelDrops = (await kernelDrops(this.address, this.port)) ?? this.#kernelDrops;
    return (this.#kernelDrops ?? 0) - before;
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.socket.close(resolve));
  }

  report(): Record<string, unknown> {
    return {
      input: this.url.text,
      address: formatAddress(this.address),
      port: this.port,
      datagrams: this.datagrams,
      bytes: this.bytes,
      overload: this.overload,
      /** null: this system does not say. */
      droppedBySystem: this.#kernelDrops ?? null,
      receiveBufferBytes: this.receiveBufferBytes,
    };
  }
}

const hints: Readonly<Record<string, string>> = {
  EADDRINUSE: ': it is taken already',
  EACCES: ': ports below 1024 need a privilege',
  EADDRNOTAVAIL: ': it is not an address of this machine',
};

/** A VIP as a Map key, out of the bytes of its address. */
function keyOf(data: Uint8Array, from: number, to: number, port: number): string {
  return `${Buffer.from(data.buffer, data.byteOffset + from, to - from).toString('latin1')}/${port}`;
}

/** No multicast, no broadcast, nobody: an answer there would be one to many. */
function isClient(data: Uint8Array, at: number, bytes: number): boolean {
  if (bytes === 4) return data[at] !== 0 && data[at] < 224;
  if (data[at] === 0xff) return false;
  for (let i = 0; i < 16; i++) if (data[at + i] !== 0) return true;
  return false;
}

function isLinkLocal(data: Uint8Array, at: number, bytes: number): boolean {
  return bytes === 16 && data[at] === 0xfe && (data[at + 1] & 0xc0) === 0x80;
}

function occurred(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
