// The clients of generated traffic, and the templates of what they and their servers send.
//
// A population turns numbers into clients: number n is one client address and one port, no two numbers the same, and
// consecutive numbers go to clients far apart. GTP-U has its ports fixed, so there a number is one client address and
// one target address. No two flows that are open at once have the same number: slot j of the J slots of a population
// takes in its g-th life the number g * J + j (modulo the largest multiple of J in the numbers there are). So all clients
// of a population are about equally busy, and an address and port come back as late as possible. For a skew, give
// several populations.

import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { parseAddress } from '../../../shared/packet/addressText.ts';
import type { PacketTemplate } from '../../../shared/packet/encode/template.ts';
import { templatesFor } from './kinds.ts';
import type { Population, Protocol } from './mixes.ts';

const maxClients = 2 ** 24;
const firstPort = 1_024;
const portsPerClient = 64_512;
/** Prime to the number of ports, and near its golden section: neighbours in time are far apart in number. */
const portStride = 39_871;
/** Clients that begin at the same time do not have the same port. */
const portOffset = 7_919;

/** What tells the flows of one client apart: its port, or (where ports are fixed) whom it talks to. */
export type Numbering = 'ports' | 'targets';

export interface ClientsOptions {
  readonly protocols: ReadonlySet<Protocol>;
  readonly numbering: Numbering;
  readonly vlans: readonly number[];
  /** Tells the networks inside GTP-U tunnels apart: 0 to 4,095. */
  readonly network: number;
}

/** The clients and servers of one population. */
export class Clients {
  /** Slots that take their flows from here. */
  slots = 0;
  /** See templatesFor(). */
  readonly templates: readonly PacketTemplate[];
  readonly #byPorts: boolean;
  readonly #clients: number;
  readonly #targets: number;
  readonly #stride: number;
  readonly #source: number;
  readonly #target: number;

  /** Throws `bad-config` on a population that cannot be. */
  constructor(population: Population, options: ClientsOptions) {
    const { clients, targets, source, target } = population;
    for (const [what, value] of Object.entries({ clients, targets }))
      check(isWithin(value, 1, maxClients), `${what}: ${value} is not from 1 to ${maxClients}`);
    const [from, to] = [addressOf(source), addressOf(target)];
    check(from.length === to.length, `populations: ${source} and ${target} are not of one family`);
    const network = (base: number) => `2001:db8:${(base + options.network).toString(16)}::`;
    const inside = { innerSource: network(0x8000), innerTarget: network(0x9000) };
    this.templates = templatesFor(options.protocols, { source, target, ...inside, vlans: options.vlans });
    this.#byPorts = options.numbering === 'ports';
    this.#clients = clients;
    this.#targets = targets;
    this.#source = lastWord(from);
    this.#target = lastWord(to);
    let stride = Math.max(1, Math.floor(clients * 0.618));
    while (commonDivisor(stride, clients) !== 1) stride++;
    this.#stride = stride;
  }

  /** The number that slot `place` of `slots` uses in its life `life`; below 0 when there are fewer numbers than slots. */
  numberOf(place: number, life: number): number {
    const numbers = this.#clients * (this.#byPorts ? portsPerClient : this.#targets);
    const lives = Math.floor(numbers / this.slots);
    return lives < 1 ? -1 : (life % lives) * this.slots + place;
  }

  /** The last 32 bits of the address of client number `number`, signed. */
  sourceOf(number: number): number {
    return (this.#source + this.#clientOf(number)) | 0;
  }

  /** Its port. */
  portOf(number: number): number {
    const round = this.#roundOf(number) * portStride;
    return firstPort + ((round + this.#clientOf(number) * portOffset) % portsPerClient);
  }

  /** The last 32 bits of the server's address, signed: one drawn, or the one that tells flows apart. */
  targetOf(number: number, prng: Prng): number {
    const index = this.#byPorts
      ? prng.below(this.#targets)
      : (this.#clientOf(number) + this.#roundOf(number)) % this.#targets;
    return (this.#target + index) | 0;
  }

  /** How often all clients have had their turn before number `number`. */
  #roundOf(number: number): number {
    return Math.floor(number / this.#clients);
  }

  #clientOf(number: number): number {
    return ((number % this.#clients) * this.#stride + this.#roundOf(number) * 7_919) % this.#clients;
  }
}

/** Throws `bad-config` when an option makes no sense. */
export function check(holds: boolean, problem: string): void {
  if (!holds) throw new FlowherdError(errorCodes.badConfig, `generator: ${problem}`);
}

export function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function addressOf(text: string): Uint8Array {
  try {
    return parseAddress(text);
  } catch (error) {
    throw new FlowherdError(errorCodes.badConfig, `generator: populations: ${reasonOf(error)}`);
  }
}

function lastWord(address: Uint8Array): number {
  return new DataView(address.buffer).getInt32(address.length - 4);
}

export function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
