// Where UDP datagrams come in and go out, as people write it: udp://host:port, with an IPv6 address in brackets.

import { lookup } from 'node:dns/promises';
import { errorCodes, FlowherdError, reasonOf } from './errors.ts';

/** What stands in a `udp://` address. */
export interface UdpUrl {
  /** As it was written, for messages. */
  readonly text: string;
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** The same with the host name looked up. */
export interface UdpAddress {
  readonly text: string;
  readonly address: string;
  readonly family: 4 | 6;
  readonly port: number;
}

export const udpScheme = 'udp://';

/**
 * Reads `udp://host:port` with a port of at least `leastPort`. The zone of a link-local address is written behind `%25`, as in
 * other URLs (RFC 6874), or behind a plain `%`. Throws FlowherdError bad-config.
 */
export function parseUdpUrl(text: string, leastPort: 0 | 1): UdpUrl {
  const [, bracketed, zone, plain, digits] =
    /^udp:\/\/(?:\[([0-9A-Fa-f:.]+)(?:%(?:25(?=[\w.~-]))?([\w.~-]+))?\]|([\w.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed === undefined || zone === undefined ? (bracketed ?? plain) : `${bracketed}%${zone}`;
  const port = Number(digits);
  if (host === undefined || port > 65_535 || port < leastPort) {
    throw new FlowherdError(
      errorCodes.badConfig,
      `${text}: write it as udp://host:port or udp://[IPv6 address]:port, with a port from ${leastPort} to 65535`,
    );
  }
  return { text, host, port };
}

/** Looks the host up; the first address counts. Rejects with FlowherdError io-failed. */
export async function resolveUdp({ text, host, port }: UdpUrl): Promise<UdpAddress> {
  try {
    const { address, family } = await lookup(host);
    return { text, address, family: family === 6 ? 6 : 4, port };
  } catch (error) {
    throw new FlowherdError(
      errorCodes.ioFailed,
      `${text}: there is no address for ${host} (${reasonOf(error)})`,
      error,
    );
  }
}
