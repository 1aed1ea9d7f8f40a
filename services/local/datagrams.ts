// Follows fragments from outside: all of one datagram have to be accepted by one server. One that is not is torn.
//
// Fragments of a datagram share its hash (addresses, protocol, identification, VLANs). The identification comes round again, so
// one hash is that of many datagrams after each other, and of two at once where fragments overtake. What tells them apart is the
// offset: one that a datagram has already, or that lies behind its last fragment, belongs to another one. Where a fragment
// could belong to several, it is given to one at its own server, so what is counted is torn for certain.

import { linkTypeOf } from '../../shared/flow/frameFlags.ts';
import { Headers } from '../../shared/packet/decode/headers.ts';
import { parse } from '../../shared/packet/decode/parse.ts';
import type { TunnelPorts } from '../../shared/packet/decode/tunnels/ports.ts';
import { isOver, tickOfMs } from '../dssl/replica/ticks.ts';

/** A receiver gives up a datagram after so long (RFC 791 section 3.2). */
const reassemblyTicks = tickOfMs(15_000);
/** Hashes followed before the first look for old ones. */
const leastPruned = 10_000;

/** What a fragment says of its place. */
export interface Fragment {
  readonly hi: number;
  readonly lo: number;
  readonly offset: number;
  readonly isLast: boolean;
}

interface Datagram {
  readonly server: number;
  readonly offsets: Set<number>;
  lastOffset: number;
  lastTick: number;
  isTorn: boolean;
}

export class Datagrams {
  torn = 0;
  readonly #tunnels: boolean | TunnelPorts;
  readonly #headers = new Headers();
  readonly #open = new Map<string, Datagram[]>();
  #pruneAt = leastPruned;

  /** `tunnels`: as for `parse`, what the keys of the cluster go by. */
  constructor(tunnels: boolean | TunnelPorts) {
    this.#tunnels = tunnels;
  }

  /** Reads the place of the fragment in `buffer[start, end)`, whose datagram's hash is given. */
  read(buffer: Uint8Array, start: number, end: number, flags: number, hi: number, lo: number): Fragment {
    parse(buffer, start, end, linkTypeOf(flags), this.#headers, this.#tunnels);
    const { fragmentOffset, moreFragments } = this.#headers.keyed;
    return { hi, lo, offset: fragmentOffset, isLast: moreFragments === 0 };
  }

  /** A server has accepted a fragment at `tick`. `isMember`: whether a server is one of the group's at that moment. */
  accepted(
    { hi, lo, offset, isLast }: Fragment,
    server: number,
    tick: number,
    isMember: (server: number) => boolean,
  ): void {
    const key = `${hi}:${lo}`;
    const young = (this.#open.get(key) ?? []).filter(({ lastTick }) => !isOver(tick, lastTick, reassemblyTicks));
    const possible = young.filter((each) => mayHave(each, offset, isLast));
    const datagram = possible.find((each) => each.server === server) ?? possible[0];
    if (datagram === undefined) {
      const lastOffset = isLast ? offset : Number.POSITIVE_INFINITY;
      young.push({ server, offsets: new Set([offset]), lastOffset, lastTick: tick, isTorn: false });
    } else {
      datagram.offsets.add(offset);
      datagram.lastTick = tick;
      if (isLast) datagram.lastOffset = offset;
      // The server of the others may have left meanwhile.
      if (datagram.server !== server && !datagram.isTorn && isMember(datagram.server)) {
        datagram.isTorn = true;
        this.torn++;
      }
    }
    this.#open.set(key, young);
    if (this.#open.size >= this.#pruneAt) this.#prune(tick);
  }

  #prune(tick: number): void {
    for (const [key, datagrams] of this.#open) {
      if (datagrams.every(({ lastTick }) => isOver(tick, lastTick, reassemblyTicks))) this.#open.delete(key);
    }
    this.#pruneAt = Math.max(leastPruned, 2 * this.#open.size);
  }
}

function mayHave({ offsets, lastOffset }: Datagram, offset: number, isLast: boolean): boolean {
  if (offsets.has(offset) || offset > lastOffset) return false;
  if (!isLast) return true;
  if (lastOffset !== Number.POSITIVE_INFINITY) return false;
  for (const other of offsets) if (other > offset) return false;
  return true;
}
