// Two things the NATS client (2.29) does not do with its sockets, and that matter when a server stops answering without
// closing -- a frozen machine, a cable that was pulled:
//
//   - it notices the silence, and then waits for its own output to drain before it closes the socket, which never
//     happens when the buffers are full: a busy publisher would never reconnect;
//   - a socket on which the server never greeted it stays open: one more with every try to reconnect.
//
// There is no public way to either, so this looks inside the client, carefully: whatever is not found where it is expected
// is left alone. A test with a stopped server tells when a new version of the client has moved things.

interface Destroyable {
  destroy(): unknown;
}

/** Call forget() whenever the client says it is about to reconnect or has, and abandon() when it finds its server silent. */
export class NatsSockets {
  readonly #connection: unknown;
  #previous: object | undefined;

  constructor(connection: unknown) {
    this.#connection = connection;
  }

  /** Breaks the present socket at once, so that the client begins to reconnect. */
  abandon(): void {
    const transport = this.#transport();
    if (transport !== undefined) destroySocketOf(transport);
  }

  /** Closes the socket of an earlier try. */
  forget(): void {
    const transport = this.#transport();
    if (this.#previous !== undefined && this.#previous !== transport) destroySocketOf(this.#previous);
    this.#previous = transport;
  }

  #transport(): object | undefined {
    return memberOf(memberOf(this.#connection, 'protocol'), 'transport');
  }
}

function destroySocketOf(transport: object): void {
  const socket = memberOf(transport, 'socket');
  if (socket !== undefined && 'destroy' in socket && typeof socket.destroy === 'function')
    (socket as Destroyable).destroy();
}

function memberOf(owner: unknown, name: string): object | undefined {
  if (typeof owner !== 'object' || owner === null || !(name in owner)) return undefined;
  const member: unknown = (owner as Record<string, unknown>)[name];
  return typeof member === 'object' && member !== null ? member : undefined;
}
