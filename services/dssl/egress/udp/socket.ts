// One client's way to the backend: a port of this machine, and everything that arrives there.
//
// Two things are wanted that one socket cannot give. A connected socket is told when the backend's system refuses datagrams
// (ICMP), but the kernel throws away what others send to it, unseen. An unconnected one gets the datagrams of everybody, and
// is told of no refusal. So there are two on one port (SO_REUSEPORT): the kernel gives the connected one what the peer sends,
// and the other one the rest, which a server sends that answers from a new port or another address.
//
//   backend:69 ───► connected ──┐
//                               ├─► onDatagram(datagram, from)
//   anybody else ─► open ───────┘
//
// The port is found by binding a socket that shares it with nobody, so it is free when the two take it; had they asked for any
// port, the system might give one that other sharing sockets have. Where ports cannot be shared (not on Linux), one open socket
// does all, and refusals are not heard.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { UdpAddress } from '../../../../shared/base/udpAddress.ts';
import { formatAddress, parseAddress } from '../../../../shared/packet/addressText.ts';

export interface BackendSocketEvents {
  /** From whom it comes is not checked. */
  onDatagram(datagram: Uint8Array, from: RemoteInfo): void;
  /** The system says that a datagram was refused, or could not be delivered; or that the socket is of no use any more. */
  onError(error: Error): void;
}

/** Somebody else may take the port before it is shared. */
const mostTries = 4;
const cannotShare = ['ENOTSUP', 'EOPNOTSUPP', 'ENOPROTOOPT', 'ENOSYS'];

export class BackendSocket {
  /** Whose datagrams are the backend's, as sockets name them. */
  readonly peer: string;
  /** Where datagrams go; not where the backend listens any more, after `follow`. */
  port: number;
  readonly #backend: UdpAddress;
  readonly #open: Socket;
  /** Undefined where ports cannot be shared. */
  readonly #connected: Socket | undefined;

  private constructor(backend: UdpAddress, open: Socket, connected: Socket | undefined, events: BackendSocketEvents) {
    this.#backend = backend;
    this.#open = open;
    this.#connected = connected;
    this.port = backend.port;
    for (const socket of connected === undefined ? [open] : [open, connected]) {
      socket.on('message', (datagram, from) => events.onDatagram(datagram, from));
      socket.on('error', (error) => events.onError(error));
    }
    connected?.connect(backend.port, backend.address);
    this.peer = peerOf(connected, backend.address);
  }

  /** Throws what the system says when there is no socket to be had, and leaves none open. */
  static open(backend: UdpAddress, events: BackendSocketEvents, mayShare = true): BackendSocket {
    if (!mayShare) return new BackendSocket(backend, bound(backend, 0, false), undefined, events);
    for (let tries = 1; ; tries++) {
      try {
        const [open, connected] = pair(backend);
        return new BackendSocket(backend, open, connected, events);
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException;
        if (cannotShare.includes(code)) return BackendSocket.open(backend, events, false);
        if (code !== 'EADDRINUSE' || tries === mostTries) throw error;
      }
    }
  }

  /** `done` is told what became of it. Throws when the socket is of no use any more. */
  send(datagram: Uint8Array, done: (error: Error | null) => void): void {
    if (this.#connected !== undefined) this.#connected.send(datagram, done);
    else this.#open.send(datagram, this.port, this.#backend.address, done);
  }

  /** From now on datagrams go to that port of the backend. */
  follow(port: number): void {
    if (port === this.port) return;
    this.port = port;
    if (this.#connected === undefined) return;
    this.#connected.disconnect();
    this.#connected.connect(port, this.#backend.address);
  }

  close(): void {
    this.#open.close();
    this.#connected?.close();
  }
}

/** Two sockets on one port that nobody else has. */
function pair(backend: UdpAddress): [open: Socket, connected: Socket] {
  const first = bound(backend, 0, false);
  const { port } = first.address();
  first.close();
  const open = bound(backend, port, true);
  try {
    return [open, bound(backend, port, true)];
  } catch (error) {
    open.close();
    throw error;
  }
}

function bound({ family }: UdpAddress, port: number, reusePort: boolean): Socket {
  const socket = createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    reusePort,
    // Addresses are literal here, so that a socket is bound when bind() returns.
    lookup: (host, _options, found) => found(null, host, family),
  });
  let failure: Error | undefined;
  const note = (error: Error) => void (failure = error);
  socket.on('error', note);
  socket.bind({ port, exclusive: true });
  socket.off('error', note);
  if (failure === undefined) return socket;
  socket.close();
  throw failure;
}

/** The system says it best: a backend at 0.0.0.0 answers from a loopback address. */
function peerOf(connected: Socket | undefined, address: string): string {
  try {
    if (connected !== undefined) return connected.remoteAddress().address;
  } catch {
    // It could not connect, which it says as an error.
  }
  const [host, zone] = address.split('%');
  return formatAddress(parseAddress(host)) + (zone === undefined ? '' : `%${zone}`);
}
