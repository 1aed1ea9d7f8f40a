// A view, compiled so that a packet can be decided without looking at names.
//
// Flow entries outlive views, and a member's position in a view changes from one to the next. So entries name their owner by a
// server number, which the group's log gives to one life of a server (roster.ts). An owner that is no member of the view is
// gone: its flows are placed anew at their next packet.

import { limits } from '../../../../shared/base/limits.ts';
import { hasStandbys } from '../../../../shared/membership/standbys.ts';
import type { View } from '../../../../shared/membership/view.ts';
import { noServer } from '../flows/entry.ts';
import { compilePlacement, type Placement } from './placement.ts';

export class CompiledView {
  readonly view: View;
  /** By server number: 1 for the members. */
  readonly isMember: Uint8Array = new Uint8Array(limits.knownServers);
  /** By server number: 1 for the members that stay somebody's backup: one that drains is a poor one, and one that has taken another's place has flows of its own. */
  readonly stays: Uint8Array = new Uint8Array(limits.knownServers);
  /** The group's rules as plain facts, asked for every packet: comparing names would cost as much as the look-up. */
  readonly ownFlowsOnly: boolean;
  readonly tableFirst: boolean;
  readonly adopts: boolean;
  readonly usesCaptureTime: boolean;
  /** Flows have backups, and somebody can be one. */
  readonly protects: boolean;
  readonly #serverNumbers: Uint16Array;
  /** Compiled when the first flow is placed: it costs milliseconds, and views may follow one another without a packet between. */
  #placement: Placement | undefined;

  constructor(view: View) {
    this.view = view;
    const { rules, members } = view;
    this.ownFlowsOnly = rules.typeOneMethod === 'fig-6';
    this.tableFirst = rules.tableFirst;
    this.adopts = rules.midFlow === 'adopt';
    this.usesCaptureTime = rules.time === 'capture';
    this.protects = rules.availability !== 'none' && members.some(({ state }) => state === 'active');
    this.#serverNumbers = Uint16Array.from(members, ({ number }) => number);
    for (const { number, state, standsFor } of members) {
      this.isMember[number] = 1;
      if (state === 'active' && (!hasStandbys(rules.availability) || standsFor !== undefined)) this.stays[number] = 1;
    }
  }

  /** Server number of the member that takes a new flow, or `noServer`. */
  place(hi: number, lo: number, ordinal: number): number {
    this.#placement ??= compilePlacement(this.view);
    const index = this.#placement.place(hi, lo, ordinal);
    return index < 0 ? noServer : this.#serverNumbers[index];
  }

  /** Server number of the member that stands behind the owner (a server number) of this flow, or `noServer`. */
  placeBackup(hi: number, lo: number, owner: number): number {
    if (!this.protects) return noServer;
    this.#placement ??= compilePlacement(this.view);
    const index = this.#placement.placeBackup(hi, lo, this.#serverNumbers.indexOf(owner));
    return index < 0 ? noServer : this.#serverNumbers[index];
  }
}
