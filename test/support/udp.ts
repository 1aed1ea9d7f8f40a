// UDP over the loopback interface for tests: peers that send and wait for what comes, and which families there are.

import { createSocket, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { Waiter } from './busInbox.ts';

/** 127.0.0.1, and ::1 where this machine has it. */
export function loopbacks(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return ['127.0.0.1', ...(all.some(({ address }) => address === '::1') ? ['::1'] : [])];
}

/** A link-local address of this machine, with its zone; undefined where it has none. */
export function linkLocal(): string | undefined {
  for (const [zone, list = []] of Object.entries(networkInterfaces())) {
    const found = list.find(({ address, internal }) => !internal && address.startsWith('fe80:'));
    if (found !== undefined) return `${found.address}%${zone}`;
  }
  return undefined;
}

/** A loopback address in the form that addresses with a port have. */
export function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

export interface Received {
  readonly data: Uint8Array;
  readonly text: string;
  readonly address: string;
  readonly port: number;
}

/** A socket on the loopback interface, and what it has got. */
/** Those that are open: one that a failing test leaves behind would keep its file from ending. */
const open = new Set<UdpPeer>();

export class UdpPeer {
  readonly socket: Socket;
  readonly #inbox = new Waiter<Received>();
  #onReceived: (received: Received) => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    open.add(this);
    // What a closed port answers is the other end's business.
    socket.on('error', () => undefined);
    socket.on('message', (data, { address, port }) => {
      const received = { data: Uint8Array.from(data), text: data.toString(), address, port };
      this.#inbox.add(received);
      this.#onReceived(received);
    });
  }

  /** On a port that is free, or on the one named. */
  static async open(host = '127.0.0.1', port = 0): Promise<UdpPeer> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, host, resolve);
    });
    return new UdpPeer(socket);
  }

  /** A server whose answer to each datagram is what `answer` makes of it; undefined for none. */
  static async serve(answer: (received: Received) => string | Uint8Array | undefined, host = '127.0.0.1', port = 0) {
    const server = await UdpPeer.open(host, port);
    server.#onReceived = (received) => {
      const datagram = answer(received);
      if (datagram !== undefined) server.send(datagram, received.port, received.address);
    };
    return server;
  }

  get host(): string {
    return this.socket.address().address;
  }

  get port(): number {
    return this.socket.address().port;
  }

  get url(): string {
    return `udp://${inUrl(this.host)}:${this.port}`;
  }

  get received(): readonly Received[] {
    return this.#inbox.items;
  }

  send(datagram: string | Uint8Array, port: number, host = this.host): void {
    this.socket.send(datagram, port, host);
  }

  /** Resolves when that many datagrams have come, from the start. */
  count(wanted: number): Promise<readonly Received[]> {
    return this.#inbox.count(wanted);
  }

  /** Sends, and resolves to the datagram that comes next. */
  async ask(datagram: string | Uint8Array, port: number, host = this.host): Promise<Received> {
    const next = this.received.length;
    this.send(datagram, port, host);
    return (await this.count(next + 1))[next];
  }

  close(): void {
    if (open.delete(this)) this.socket.close();
  }

  /** For the end of a test file. */
  static closeAll(): void {
    for (const peer of open) peer.close();
  }
}
