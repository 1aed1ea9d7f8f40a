// The clients of generated traffic, and a packet template for everything they and their servers send.
//
// A population turns numbers into clients: number n is one client address and one port, no two numbers the same, and
// consecutive numbers go to clients far apart. Who hands out numbers so that no two open flows have the same one is the
// generator; see there.

import { parseAddress } from '../../../shared/packet/addressText.ts';
import type { PacketSpec } from '../../../shared/packet/build.ts';
import type { SctpChunkName } from '../../../shared/packet/buildTransport.ts';
import { PacketTemplate } from '../../../shared/packet/template.ts';
import type { FlowClass, Population } from './generatorMixes.ts';

const maxClients = 2 ** 24;
const firstPort = 1_024;
const portsPerClient = 64_512;
/** Prime to the number of ports, and near its golden section: neighbours in time are far apart in number. */
const portStride = 39_871;

/** The packets that differ by more than fields: one template each, per population and direction. */
const kinds = [
  'tcp',
  'udp',
  'data',
  'init',
  'init-ack',
  'cookie-echo',
  'cookie-ack',
  'shutdown',
  'shutdown-ack',
  'shutdown-complete',
] as const;
export const kindNumber = Object.fromEntries(kinds.map((kind, i) => [kind, i])) as Record<
  (typeof kinds)[number],
  number
>;

/** The clients and servers of one population. */
export class Clients {
  /** Slots that take their flows from here, and how often each can begin anew before its first number comes again. */
  slots = 0;
  /** One per kind and direction: templates[2 * kind + direction]. */
  readonly templates: readonly PacketTemplate[];
  readonly targets: number;
  readonly #clients: number;
  readonly #stride: number;
  readonly #source: number;
  readonly #target: number;

  /** Throws on a population that cannot be. */
  constructor(population: Population, vlans: readonly number[]) {
    const { clients, targets, source, target } = population;
    check(
      Number.isInteger(clients) && clients >= 1 && clients <= maxClients,
      `clients: ${clients} is not from 1 to ${maxClients}`,
    );
    check(
      Number.isInteger(targets) && targets >= 1 && targets <= maxClients,
      `targets: ${targets} is not from 1 to ${maxClients}`,
    );
    this.templates = kinds.flatMap((kind) => [
      new PacketTemplate(templateSpec(kind, source, target, vlans)),
      new PacketTemplate(templateSpec(kind, target, source, vlans)),
    ]);
    this.#clients = clients;
    this.targets = targets;
    this.#source = lastWord(source);
    this.#target = lastWord(target);
    let stride = Math.max(1, Math.floor(clients * 0.618));
    while (commonDivisor(stride, clients) !== 1) stride++;
    this.#stride = stride;
  }

  /**
   * How many flows each of the slots can have before a number is used again; below 1 when there are too few numbers.
   */
  get lives(): number {
    return Math.floor((this.#clients * portsPerClient) / this.slots);
  }

  /** The last 32 bits of the address of client number `number`, signed. */
  sourceOf(number: number): number {
    const round = Math.floor(number / this.#clients);
    return (this.#source + (((number % this.#clients) * this.#stride + round * 7_919) % this.#clients)) | 0;
  }

  /** Its port. */
  portOf(number: number): number {
    return firstPort + ((Math.floor(number / this.#clients) * portStride) % portsPerClient);
  }

  /** The last 32 bits of one of the servers' addresses, signed. */
  targetOf(index: number): number {
    return (this.#target + index) | 0;
  }
}

/** Which kind of packet an SCTP flow sends as its number `sequence` of `total` (0: endless). */
export function sctpKind(sequence: number, total: number, last: boolean, replies: boolean): number {
  // RFC 9260: four packets set up (section 5.1), three shut down (section 9.2); without replies the client's side of
  // them.
  const left = last ? 0 : total === 0 ? Number.POSITIVE_INFINITY : total - 1 - sequence;
  if (sequence === 0) return kindNumber.init;
  if (left === 0) return kindNumber['shutdown-complete'];
  if (replies) {
    if (sequence <= 3) return kindNumber['init-ack'] + sequence - 1;
    return left === 1 ? kindNumber['shutdown-ack'] : left === 2 ? kindNumber.shutdown : kindNumber.data;
  }
  return sequence === 1 ? kindNumber['cookie-echo'] : left === 1 ? kindNumber.shutdown : kindNumber.data;
}

/** `total` packets, or as many as a whole flow needs; an odd number in SCTP with replies: the client has the last word. */
export function wholeFlow(protocol: FlowClass['protocol'], total: number, replies: boolean): number {
  if (protocol === 'udp') return total;
  if (protocol === 'tcp') return Math.max(total, replies ? 4 : 2);
  return replies ? Math.max(total, 7) | 1 : Math.max(total, 4);
}

function templateSpec(
  kind: (typeof kinds)[number],
  source: string,
  target: string,
  vlans: readonly number[],
): PacketSpec {
  const ports = { sourcePort: 0, targetPort: 0 };
  if (kind === 'tcp') return { source, target, vlans, tcp: ports };
  if (kind === 'udp') return { source, target, vlans, udp: ports };
  return { source, target, vlans, sctp: { ...ports, chunks: [kind satisfies SctpChunkName] } };
}

function lastWord(address: string): number {
  const bytes = parseAddress(address);
  return new DataView(bytes.buffer).getInt32(bytes.length - 4);
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

export function check(holds: boolean, problem: string): void {
  if (!holds) throw new Error(`generator: ${problem}`);
}
