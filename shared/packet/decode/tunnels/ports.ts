// Which UDP port is which tunnel's: the usual ones (kinds.ts), or those that a cluster has set.
import { Tunnel, tunnelKinds } from './kinds.ts';

/** The ports that were set for one kind; they take the place of its usual ones. */
interface PortSetting {
  readonly kind: number;
  readonly from: number;
  readonly to: number;
}

const settable = tunnelKinds.filter(({ ports, isEntered }) => ports.length > 0 && isEntered).map(({ name }) => name);

/** A table of all ports. Made once; a look-up is one load. */
export class TunnelPorts {
  /** Index of `tunnelKinds` by port. */
  readonly kinds = new Uint8Array(65_536);

  /**
   * `settings` are texts such as 'vxlan=14789' or 'vxlan=4789-4799'. A kind that is named has the ports that are named for it,
   * and no other; a port that is usual for another kind is taken from that. Throws an Error that says what is wrong.
   */
  constructor(settings: readonly string[] = []) {
    const read = settings.map(readSetting);
    for (const [kind, { ports }] of tunnelKinds.entries()) {
      if (read.some((each) => each.kind === kind)) continue;
      for (const port of ports) this.kinds[port] = kind;
    }
    const set = new Map<number, number>();
    for (const { kind, from, to } of read) {
      for (let port = from; port <= to; port++) {
        const other = set.get(port);
        if (other !== undefined && other !== kind) {
          throw new Error(
            `port ${port} cannot be of two tunnels, ${tunnelKinds[other].name} and ${tunnelKinds[kind].name}`,
          );
        }
        set.set(port, kind);
        this.kinds[port] = kind;
      }
    }
  }

  /** Whether UDP between these ports may be a tunnel. */
  has(sourcePort: number, targetPort: number): boolean {
    return this.kindOf(sourcePort, targetPort) !== Tunnel.NONE;
  }

  /** The kind of tunnel that UDP between these ports may be. Both ends of L2TP may have chosen any other port (RFC 2661 section 8.1). */
  kindOf(sourcePort: number, targetPort: number): number {
    const kind = this.kinds[targetPort];
    return kind === Tunnel.NONE && this.kinds[sourcePort] === Tunnel.L2TP ? Tunnel.L2TP : kind;
  }
}

export const usualTunnelPorts = new TunnelPorts();

function readSetting(text: string): PortSetting {
  const [, name = '', first, last] = /^([a-z0-9-]+)=(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const from = Number(first);
  const to = last === undefined ? from : Number(last);
  if (!(from >= 1 && to >= from && to <= 65_535)) {
    throw new Error(`'${text}' is not a tunnel's port, such as vxlan=14789 or vxlan=4789-4799, from 1 to 65535`);
  }
  if (!settable.includes(name)) throw new Error(`'${name}' is no tunnel on UDP: there are ${settable.join(', ')}`);
  return { kind: tunnelKinds.findIndex((each) => each.name === name), from, to };
}
