// How many packets were keyed inside a tunnel, by kind, and how many tunnel packets were not entered, by kind and cause.
import type { Passage } from '../packet/decode/headers.ts';
import { Outcome, type TunnelOutcome, tunnelKinds, tunnelOutcomes } from '../packet/decode/tunnels/kinds.ts';

/** Both as counts by the kind's name; what did not occur is not in it. */
export interface TunnelReport {
  /** Tunnels entered. A packet in two tunnels counts for both. */
  readonly entered: Readonly<Record<string, number>>;
  /** Packets keyed by the header around a tunnel, and why. */
  readonly notEntered: Readonly<Record<string, Readonly<Partial<Record<TunnelOutcome, number>>>>>;
}

export class TunnelCounts {
  readonly #entered = new Float64Array(tunnelKinds.length);
  readonly #closed = new Float64Array(tunnelKinds.length * tunnelOutcomes.length);

  /** Counts one packet. */
  add(passage: Passage): void {
    for (let level = 0; level < passage.depth; level++) this.#entered[passage.tunnels[level]]++;
    if (passage.outcome !== Outcome.NONE) this.#closed[passage.closed * tunnelOutcomes.length + passage.outcome]++;
  }

  get report(): TunnelReport {
    const entered: Record<string, number> = {};
    const notEntered: Record<string, Partial<Record<TunnelOutcome, number>>> = {};
    for (const [kind, { name }] of tunnelKinds.entries()) {
      if (this.#entered[kind] > 0) entered[name] = this.#entered[kind];
      for (const [outcome, cause] of tunnelOutcomes.entries()) {
        const count = this.#closed[kind * tunnelOutcomes.length + outcome];
        if (count > 0) notEntered[name] = { ...notEntered[name], [cause]: count };
      }
    }
    return { entered, notEntered };
  }
}

/** What each cause means, for people. */
const causeWords: Readonly<Record<TunnelOutcome, string>> = {
  none: '',
  entered: '',
  fragment: 'a fragment of the outer packet',
  control: 'a message of the tunnel itself',
  'other-header': 'another header than the tunnel has',
  'not-ip': 'no IP packet inside',
  unread: 'encrypted, or of a kind that is not read',
  damaged: 'damaged or cut inside',
  nesting: 'too many layers',
};

/** A line for each kind and cause: `2 vxlan: a fragment of the outer packet`. */
export function notEnteredInWords({ notEntered }: TunnelReport): string[] {
  return Object.entries(notEntered).flatMap(([kind, causes]) =>
    Object.entries(causes).map(
      ([cause, count]) => `${count.toLocaleString('en-US')} ${kind}: ${causeWords[cause as TunnelOutcome]}`,
    ),
  );
}
