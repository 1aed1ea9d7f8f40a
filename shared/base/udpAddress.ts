// Where UDP datagrams come in and go out, as people write it: udp://host:port, with an IPv6 address in brackets. A link-local
// one has a zone, which is an interface of this machine: fe80::1%eth0 (RFC 4007), or with %25 as in URLs (RFC 6874).

import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { errorCodes, FlowherdError, reasonOf } from './errors.ts';

/** What stands in a `udp://` address. */
export interface UdpUrl {
  /** As it was written, for messages. */
  readonly text: string;
  /** A name or an address, without brackets; a zone follows a single %. */
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
  const [, bracketed, plain, digits] = /^udp:\/\/(?:\[([^[\]]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed === undefined ? plain : withZone(bracketed);
  const port = Number(digits);
  if (host === undefined || port > 65_535 || port < leastPort) {
    throw new FlowherdError(
      errorCodes.badConfig,
      `${text}: write it as udp://host:port or udp://[IPv6 address]:port, with a port from ${leastPort} to 65535`,
    );
  }
  return { text, host, port };
}

/** An IPv6 address without its brackets, with its zone, if it has one, behind a single %. Undefined when it is none. */
export function withZone(text: string): string | undefined {
  const [, address, zone] = /^([0-9A-Fa-f:.]+)(?:%(?:25)?([\w.@:-]+))?$/.exec(text) ?? [];
  if (address === undefined || isIP(address) !== 6) return undefined;
  return zone === undefined ? address : `${address}%${zone}`;
}

/** Looks the host up; the first address counts. Rejects with FlowherdError io-failed. */
export async function resolveUdp({ text, host, port }: UdpUrl): Promise<UdpAddress> {
  const zone = host.split('%')[1];
  if (zone !== undefined && !/^\d+$/.test(zone) && networkInterfaces()[zone] === undefined) {
    throw new FlowherdError(errorCodes.ioFailed, `${text}: this machine has no network interface ${zone}`);
  }
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
