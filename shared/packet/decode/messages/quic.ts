// QUIC (RFC 8999, RFC 9000): finds the connection id that the server chose, as far as a packet shows it.
//
//   long header     |1|...| version (4) | length | destination id | length | source id | ...
//   short header    |0|1|...| destination id, whose length only its owner knows | ...
//
// To the server, the destination id is the one that it chose. The client's first packets are the exception: it does not know one
// yet and makes up a random one. From the server, a long header says in the source id what it has chosen; a short header
// has the client's id alone. So the ids of a server are what all but these have in common.
//
// Only the first packet of a datagram is read; those behind it are of the same connection (RFC 9000 section 12.2).
import { i32, u16 } from '../../bytes.ts';
import type { IpLayer } from '../headers.ts';
import { Protocol } from '../transport.ts';

/** HTTP/3, DNS over QUIC (RFC 9250), and the usual second port of web servers. */
export const quicPorts: readonly number[] = [443, 853, 8443];

const udpHeader = 8;
/** RFC 9000 section 17.2. */
const longestId = 20;

/** One packet at a time. */
export class QuicId {
  offset = 0;
  /** At most what was asked for. */
  length = 0;

  /** Finds the id, its first `idLength` bytes at most, in the UDP packet with the IP header `layer`. */
  find(buffer: Uint8Array, layer: IpLayer, idLength: number): boolean {
    if (layer.protocol !== Protocol.UDP) return false;
    const toServer = quicPorts.includes(layer.targetPort);
    if (!toServer && !quicPorts.includes(layer.sourcePort)) return false;
    const start = layer.payload + udpHeader;
    if (layer.end - start < 7) return false;
    const end = Math.min(layer.end, Math.max(start, layer.payload + u16(buffer, layer.payload + 4)));
    if (end - start < 7) return false;
    const first = buffer[start];
    if (first & 0x80) return this.#findLong(buffer, start, end, toServer, idLength);
    if (!toServer || (first & 0x40) === 0 || end - start < 1 + idLength) return false;
    this.offset = start + 1;
    this.length = idLength;
    return true;
  }

  #findLong(buffer: Uint8Array, start: number, end: number, toServer: boolean, idLength: number): boolean {
    // Version 0 is the server's list of its versions, which has the ids of the packet that it answers.
    const isVersionList = i32(buffer, start + 1) === 0;
    if (isVersionList ? toServer : (buffer[start] & 0x40) === 0) return false;
    const targetLength = buffer[start + 5];
    const source = start + 6 + targetLength;
    if (source >= end) return false;
    const sourceLength = buffer[source];
    if (end - source - 1 < sourceLength || targetLength > longestId || sourceLength > longestId) return false;
    this.offset = toServer ? start + 6 : source + 1;
    this.length = Math.min(toServer ? targetLength : sourceLength, idLength);
    return this.length > 0;
  }
}
