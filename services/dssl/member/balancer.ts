// What a member does for the balance between groups (Fig. 12): the first active member of a group tells the other groups how busy its group is, hears
// how busy they are, and when its own group should give a server to another one (shared/membership/rebalance/policy.ts), it says so: to people, or by
// a command in the log.
//
//   loads of the group, in gossip ─► summary ─► the first members of the other groups
//   summaries of all groups ─► policy ─► this group gives one ─► `advise`: a line for people; `auto`: command `move`
//
// The giver decides, because it is its own log that the move goes through. Of the other groups nobody hears more than sums: a hundred bytes a group
// and second. Who wants to know of single servers listens to that group's gossip.
//
// Pure: messages and time in; what is to be done goes out through `BalancerPorts`.

import type { RebalanceSettings } from '../../../shared/config/settings.ts';
import type { StateMessage } from '../../../shared/membership/gossip.ts';
import type { Load } from '../../../shared/membership/load.ts';
import { chooseServer, Rebalancer } from '../../../shared/membership/rebalance/policy.ts';
import { decodeSummary, encodeSummary, summarize } from '../../../shared/membership/rebalance/summary.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import { findMember, type View } from '../../../shared/membership/view.ts';

export interface BalancerPorts {
  /** To the other groups. */
  summary(message: Uint8Array): void;
  /** From now on hears the summaries of all groups, or no longer. */
  listen(isOn: boolean): void;
  /** Appends that this life is on its way to that group. */
  move(life: Life, to: string): void;
  tell(kind: 'info' | 'warn', fields: object, message: string): void;
}

export interface BalancerCounters {
  /** Moves that this member has proposed, or advised. */
  moves: number;
  summariesHeard: number;
  /** Messages that were no summaries. */
  bad: number;
}

const summaryEveryMs = 1_000;
/** Who is first is found by sorting all members: not at every tick. */
const lookEveryMs = 200;

export class Balancer {
  readonly counters: BalancerCounters = { moves: 0, summariesHeard: 0, bad: 0 };
  readonly #self: Life;
  readonly #ports: BalancerPorts;
  #settings: RebalanceSettings;
  readonly #loads = new Map<string, { readonly incarnation: number; readonly load: Load }>();
  #rebalancer = new Rebalancer();
  #isListening = false;
  #saidAtMs = Number.NEGATIVE_INFINITY;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(self: Life, settings: RebalanceSettings, ports: BalancerPorts) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#settings = settings;
    this.#ports = ports;
  }

  retune(settings: RebalanceSettings): void {
    this.#settings = settings;
  }

  /** A member of the group, this one among them, says how busy it is. */
  onState({ server, incarnation, load }: StateMessage): void {
    if (load !== undefined) this.#loads.set(server, { incarnation, load });
  }

  onSummary(bytes: Uint8Array, nowMs: number): void {
    const message = decodeSummary(bytes);
    if (message === undefined) this.counters.bad++;
    else {
      this.counters.summariesHeard++;
      this.#rebalancer.heard(message, nowMs);
    }
  }

  /** Time passes. `speaks`: whether it is this member that speaks for its group. */
  tick(view: View, speaks: () => boolean, nowMs: number): void {
    if (nowMs - this.#lookedAtMs < lookEveryMs) return;
    this.#lookedAtMs = nowMs;
    const isFirst = speaks();
    const decides = isFirst && this.#settings.mode !== 'off';
    if (decides !== this.#isListening) this.#listen(decides);
    if (!isFirst) return;
    if (nowMs - this.#saidAtMs >= summaryEveryMs) {
      this.#saidAtMs = nowMs;
      this.#ports.summary(encodeSummary({ ...summarize(view, this.#loadsIn(view)), sender: this.#self }));
    }
    if (decides) this.#decide(view, nowMs);
  }

  stop(): void {
    if (this.#isListening) this.#listen(false);
  }

  /** Who decides begins with nothing: what was heard before may be long ago. */
  #listen(isOn: boolean): void {
    this.#isListening = isOn;
    this.#rebalancer = new Rebalancer();
    this.#ports.listen(isOn);
  }

  #decide(view: View, nowMs: number): void {
    const move = this.#rebalancer.propose(this.#settings, nowMs);
    // All groups find the same one; the others leave it to the giver.
    if (move === undefined || move.from !== view.group) return;
    const member = chooseServer(view, this.#loadsIn(view));
    if (member === undefined) return;
    this.counters.moves++;
    const { server, incarnation } = member;
    const { from, to, why } = move;
    if (this.#settings.mode === 'auto') {
      this.#ports.tell('info', { server, from, to, why }, 'rebalancing: moves a server to another group');
      this.#ports.move({ server, incarnation }, to);
    } else this.#ports.tell('info', { server, from, to, why }, 'rebalancing: a server should move to another group');
  }

  #loadsIn(view: View): ReadonlyMap<string, Load> {
    const loads = new Map<string, Load>();
    for (const [server, { incarnation, load }] of this.#loads) {
      const member = findMember(view, server);
      if (member === undefined) this.#loads.delete(server);
      else if (member.incarnation === incarnation) loads.set(server, load);
    }
    return loads;
  }
}
