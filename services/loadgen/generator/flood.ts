// A flood of SYNs beside the traffic of a generator: single packets, each from a client and port that has not been there
// before and will not be again, none of them ever answered or followed by another one.
//
// Its clients (100.64.0.0/10 of RFC 6598, or 2001:db8:ff::/104) are nobody else's, so it does not touch the flows of
// the other traffic, and it draws from random numbers of its own, so these are the same with and without it.

import type { Prng } from '../../../shared/base/prng.ts';
import { addressFamily, parseAddress } from '../../../shared/packet/addressText.ts';
import { packetFields, tcpFlagBits } from '../../../shared/packet/encode/template.ts';
import type { Population } from './mixes.ts';
import { Clients, check, isWithin } from './populations.ts';
import { Arrivals } from './schedule.ts';

export interface FloodOptions {
  /** SYNs a second. */
  readonly ratePps: number;
  /** Default 443. */
  readonly targetPort?: number;
}

/** The flows of a flood are numbered from here on, so that a flow's number alone tells them from all others. */
export const firstFloodFlow = 2 ** 31;

const spoofed = { 4: { source: '100.64.0.0', clients: 2 ** 22 }, 6: { source: '2001:db8:ff::', clients: 2 ** 24 } };

/** The clients of a flood at one population's targets. Those of one family share their numbers, so none comes twice. */
interface Stream {
  readonly clients: Clients;
  readonly numbers: { used: number };
}

export class Flood {
  readonly headerBytes: number;
  /** When the next one is due, in milliseconds of virtual time. */
  dueMs = 0;
  readonly #arrivals: Arrivals;
  readonly #prng: Prng;
  readonly #targetPort: number;
  readonly #streams: readonly Stream[];
  readonly #shares: readonly number[];
  readonly #fields = packetFields();

  /** Goes to the targets of `populations`, by their shares. Throws `bad-config` on options that make no sense. */
  constructor(
    options: FloodOptions,
    populations: readonly Population[],
    vlans: readonly number[],
    startMs: number,
    prng: Prng,
  ) {
    const { ratePps, targetPort = 443 } = options;
    check(ratePps > 0, `flood: ${ratePps} packets a second are not above 0`);
    check(isWithin(targetPort, 0, 65_535), `flood: ${targetPort} is not a port`);
    this.#arrivals = new Arrivals(startMs, ratePps, undefined);
    this.dueMs = this.#arrivals.dueMs;
    this.#prng = prng;
    this.#targetPort = targetPort;
    const numbers = { 4: { used: 0 }, 6: { used: 0 } };
    this.#streams = populations.map(({ source, clients, target, targets, share }) => {
      const family = addressFamily(target);
      const from = spoofed[family];
      check(!doMeet(from, { source, clients }), `flood: clients from ${source} on are among those of the flood`);
      const protocols = new Set(['tcp'] as const);
      const others = { protocols, numbering: 'ports', vlans, network: 0 } as const;
      return { clients: new Clients({ ...from, target, targets, share }, others), numbers: numbers[family] };
    });
    this.#shares = populations.map(({ share }) => share);
    this.headerBytes = Math.max(...this.#streams.map(({ clients }) => clients.templates[0]!.headerBytes));
  }

  /** Writes the next SYN and returns its length. */
  write(buffer: Uint8Array, offset: number): number {
    const fields = this.#fields;
    const { clients, numbers } = this.#streams[this.#prng.pickWeighted(this.#shares)]!;
    const number = numbers.used++;
    fields.source = clients.sourceOf(number);
    fields.sourcePort = clients.portOf(number);
    fields.target = clients.targetOf(number, this.#prng);
    fields.targetPort = this.#targetPort;
    fields.identification = number & 0xffff;
    fields.sequence = this.#prng.i32();
    fields.tcpFlags = tcpFlagBits.SYN;
    const template = clients.templates[0]!;
    template.write(buffer, offset, template.headerBytes, fields);
    this.#arrivals.next();
    this.dueMs = this.#arrivals.dueMs;
    return template.headerBytes;
  }
}

/** Whether two ranges of clients have an address in common. */
function doMeet(one: Pick<Population, 'source' | 'clients'>, other: Pick<Population, 'source' | 'clients'>): boolean {
  const [a, b] = [parseAddress(one.source), parseAddress(other.source)];
  if (a.length !== b.length || a.subarray(0, -4).some((byte, i) => byte !== b[i])) return false;
  const lastWord = (address: Uint8Array) => new DataView(address.buffer).getUint32(address.length - 4);
  const distance = (lastWord(b) - lastWord(a)) >>> 0;
  return distance < one.clients || distance > 2 ** 32 - other.clients;
}
