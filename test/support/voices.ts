// Groups that speak, for tests of who falls silent: servers that report once in a while from the moment they are there
// until they are muted, and a tier 1 that hears them and judges four times a second. Time is counted, nobody waits.

import { type MappingChange, SilentGroups, type WatchedGroup } from '../../services/tier1/routing/silentGroups.ts';
import { limits } from '../../shared/base/limits.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import type { StateMessage } from '../../shared/membership/gossip.ts';
import type { Member, MemberState } from '../../shared/membership/view.ts';

const stepMs = 10;

/** Where the mirrors of the views were made. */
export const mirroredAt = { epoch: 'e', position: 100 };

export interface Speaker {
  readonly group: number;
  readonly member: Member;
  /** Pause between two reports. */
  everyMs: number;
  /** When it speaks next; Infinity while it says nothing. */
  nextMs: number;
}

/** A change, when it came. */
export type TimedChange = MappingChange & { readonly atMs: number };

export class Voices {
  readonly silent: SilentGroups;
  readonly changes: TimedChange[] = [];
  nowMs = 0;
  /** False while this tier 1 hears nobody. */
  hears = true;
  readonly #speakers: Speaker[] = [];

  constructor(groups: number | readonly WatchedGroup[], settings = defaultSettings) {
    const list =
      typeof groups === 'number' ? new Array<WatchedGroup>(groups).fill({ weight: 1, serves: 'both' }) : groups;
    this.silent = new SilentGroups(list, settings);
  }

  /** A server is in the view of a group and speaks from `delayMs` on. */
  add(group: number, delayMs = 0, state: MemberState = 'active'): Speaker {
    const server = `g${group}-s${this.#speakers.length}`;
    const number = this.#speakers.length;
    const member = { server, incarnation: 1, number, state, weight: 1, base: 1, flows: 0 };
    const speaker = { group, member, everyMs: 1_000, nextMs: this.nowMs + delayMs };
    this.#speakers.push(speaker);
    this.#view(group);
    return speaker;
  }

  /** These servers are in the view no more. */
  remove(...gone: readonly Speaker[]): void {
    for (const speaker of gone) {
      this.#speakers.splice(this.#speakers.indexOf(speaker), 1);
      this.#view(speaker.group);
    }
  }

  mute(...speakers: readonly Speaker[]): void {
    for (const speaker of speakers) speaker.nextMs = Number.POSITIVE_INFINITY;
  }

  wake(...speakers: readonly Speaker[]): void {
    for (const speaker of speakers) speaker.nextMs = this.nowMs + stepMs;
  }

  say({ group, member }: Speaker, changes: Partial<StateMessage> = {}): void {
    const { server, incarnation, state } = member;
    const nothing = { line: undefined, load: undefined, digests: [] };
    const message = { kind: 'state', server, incarnation, beat: 1, state, view: 1, ...nothing } as const;
    this.silent.hear(group, { ...message, ...changes }, this.nowMs);
  }

  /** Lets time pass. The answer are the changes meanwhile. */
  pass(ms: number): readonly TimedChange[] {
    const before = this.changes.length;
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += stepMs;
      for (const speaker of this.#speakers) {
        if (speaker.nextMs > this.nowMs) continue;
        speaker.nextMs += speaker.everyMs;
        if (this.hears) this.say(speaker);
      }
      if (this.nowMs % limits.groupTickMs === 0) this.tick();
    }
    return this.changes.slice(before);
  }

  tick(): void {
    for (const change of this.silent.tick(this.nowMs)) this.changes.push({ ...change, atMs: this.nowMs });
  }

  #view(group: number): void {
    const members = this.#speakers.filter((speaker) => speaker.group === group).map(({ member }) => member);
    this.silent.setMembers(group, members, mirroredAt);
    this.tick();
  }
}
