// What the system dropped before a socket's owner could read it. Linux counts that for each UDP socket, in the last column
// of /proc/net/udp and /proc/net/udp6, where a socket is found by its local address:
//
//     sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
//   1234: 0100007F:14EB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81925 2 0000000000000000 0
//
// Addresses are written as words of the machine's own byte order (little-endian on everything that runs Node today),
// ports as they are.

import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';

/** Datagrams dropped at the socket bound to `address` (4 or 16 bytes) and `port`; undefined where nobody counts. */
export async function kernelDrops(address: Uint8Array, port: number): Promise<number | undefined> {
  try {
    return dropsIn(await readFile(address.length === 4 ? '/proc/net/udp' : '/proc/net/udp6', 'latin1'), address, port);
  } catch {
    // Not a Linux, or one that hides it.
    return undefined;
  }
}

/** The same out of the table's text. */
export function dropsIn(table: string, address: Uint8Array, port: number): number | undefined {
  const local = localAddress(address, port);
  for (const line of table.split('\n')) {
    const columns = line.trim().split(/\s+/);
    const drops = Number(columns.at(-1));
    if (columns[1] === local && Number.isSafeInteger(drops)) return drops;
  }
  return undefined;
}

function localAddress(address: Uint8Array, port: number): string {
  const bytes = Buffer.from(address);
  if (endianness() === 'LE') bytes.swap32();
  const hex = `${bytes.toString('hex')}:${port.toString(16).padStart(4, '0')}`;
  return hex.toUpperCase();
}
