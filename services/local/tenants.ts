// Whose packet is it? Tenants may use the same addresses; what tells them apart are the VLANs and tunnel networks that a packet lies
// within. Where keys do not count those (`--within`), one tenant's packets may end another one's connection, and reports say so.

import { linkTypeOf } from '../../shared/flow/frameFlags.ts';
import { Headers } from '../../shared/packet/decode/headers.ts';
import { parse } from '../../shared/packet/decode/parse.ts';
import type { TunnelPorts } from '../../shared/packet/decode/tunnels/ports.ts';

export class Tenants {
  readonly #tunnels: boolean | TunnelPorts;
  readonly #headers = new Headers();

  /** `tunnels`: as for `parse`, what the keys of the cluster go by. */
  constructor(tunnels: boolean | TunnelPorts) {
    this.#tunnels = tunnels;
  }

  /** What the packet in `buffer[start, end)` lies within, in words. Tags that carry only a priority count for nothing. */
  of(buffer: Uint8Array, start: number, end: number, flags: number): string {
    parse(buffer, start, end, linkTypeOf(flags), this.#headers, this.#tunnels);
    const { link, passage } = this.#headers;
    const vlans = [...link.vlans.subarray(0, link.vlanCount), ...passage.vlans.subarray(0, passage.vlanCount)];
    return `${vlans.filter((id) => id !== 0).join()}/${passage.vnis.subarray(0, passage.vniCount).join()}`;
  }
}
