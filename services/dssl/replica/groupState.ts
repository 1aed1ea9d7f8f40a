// The state of a group as one replica holds it, with the parts that keep it. Who may change it, and when, is the replica's part
// (replica.ts).

import type { LogEntry } from '../../../shared/log/log.ts';
import { markOf } from '../../../shared/log/mark.ts';
import type { Command, EpochCommand, RemoveCommand } from '../../../shared/log/records/command.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';
import { applyCommand } from './commands.ts';
import { Decider } from './decide.ts';
import type { EffectsBuffer, Heritage } from './effects.ts';
import { sliceCount } from './flows/directory.ts';
import { noServer } from './flows/entry.ts';
import { CompiledView } from './global/compiledView.ts';
import { EpochLine } from './global/epochLine.ts';
import { LineTime } from './global/lineTime.ts';
import { RecentRows } from './global/recentRows.ts';
import { Roster } from './global/roster.ts';
import { Tier1Lasts } from './global/tier1Lasts.ts';
import { longestIdleMs } from './idleLimits.ts';
import { Rows } from './rows.ts';
import { AbsentSlices } from './snapshot/absentSlices.ts';
import { Fingerprint, viewFingerprint } from './snapshot/fingerprint.ts';
import type { GlobalSnapshot } from './snapshot/globalSnapshot.ts';
import { tickOfMs } from './ticks.ts';

/** The whole table in three seconds: so long a flow that is over may still be counted. */
const slicesPerTick = 8;

export class GroupState {
  readonly time = new LineTime();
  readonly line = new EpochLine();
  readonly roster: Roster;
  readonly lasts = new Tier1Lasts();
  readonly absent = new AbsentSlices();
  readonly decider: Decider;
  readonly rows: Rows;
  selfNumber = noServer;
  /** The line's time as the tables keep it. */
  tick = 0;
  /** Position of the entry that made the view, or began the epoch with it. */
  viewPosition = 0;
  readonly #self: Life;
  readonly #effects: EffectsBuffer;
  /** Slices that are to be looked through for flows whose server or backup has gone. A slice that is looked through in vain is no worse for it. */
  readonly #homeless = new Uint8Array(sliceCount);
  #compiled: CompiledView;
  #viewFingerprint: number | undefined;

  constructor(view: View, self: Life, effects: EffectsBuffer, counts: Float64Array) {
    this.#self = self;
    this.#effects = effects;
    this.roster = new Roster(longestIdleMs(view.rules.idle));
    this.#compiled = new CompiledView(view);
    this.decider = new Decider(this.#compiled, effects.items, this.absent);
    this.rows = new Rows(this.decider, effects, counts);
  }

  get view(): View {
    return this.#compiled.view;
  }

  get timeMs(): number {
    return this.#compiled.usesCaptureTime ? this.time.captureMs : this.time.logMs;
  }

  /** Time has moved on: what is over in the small tables goes, and some slices are swept for each tick that has passed. */
  setTick(): void {
    const tick = tickOfMs(this.timeMs);
    const passed = Math.min(tick - this.tick, sliceCount / slicesPerTick);
    this.tick = tick;
    this.rows.setTime(this.timeMs, tick);
    if (passed === 0) return;
    this.decider.setTick(tick);
    for (let turn = (tick - passed) * slicesPerTick; turn < tick * slicesPerTick; turn++) {
      const slice = turn & (sliceCount - 1);
      this.decider.table.sweepSlice(slice, tick);
      this.decider.ownTable?.sweepSlice(slice, tick);
      if (this.#homeless[slice] === 1 && this.#compiled.protects) this.#rehome(slice);
    }
  }

  /** Whether the command has changed the view. */
  carryOut(command: Command, entry: LogEntry): boolean {
    const { view, roster } = this;
    const { position } = entry;
    const next = applyCommand({ view, roster }, command, position, this.timeMs);
    if (next === view) return false;
    const isHeld = (slice: number) => !this.absent.some || !this.absent.covers(slice);
    const before = new Set(view.members.map(({ number }) => number));
    for (const { number } of next.members) {
      // It joins. What its number's former life has left is over, and only in the way.
      if (!before.has(number)) this.decider.table.forgetOwner(number, isHeld);
    }
    const { maxFlows } = next.rules;
    if (maxFlows !== view.rules.maxFlows) {
      this.decider.table.setMaxFlows(maxFlows, isHeld);
      this.decider.ownTable?.setMaxFlows(maxFlows, () => true);
    }
    this.viewPosition = position;
    this.#setView(next);
    if (command.kind === 'remove') this.#inherit(view, command, entry);
    else if (command.kind === 'join' && command.replaces !== undefined) {
      // Another life has the place before the others had noticed that the former one is dead: nobody says how far that had come.
      this.#inherit(view, { life: { ...command.author, incarnation: command.replaces }, handled: 0 }, entry);
    } else if (this.#effects.items.behind?.packets === false) {
      // Of one that leaves nothing is handed out again. What is wanted for the state of its flows is in the log alone.
      const gone = view.members.find(({ number }) => !next.members.some((member) => member.number === number));
      if (gone !== undefined) this.#inherit(view, { life: gone, handled: position }, entry);
    }
    return true;
  }

  /** An epoch begins with this state, at the entry with this position and stamp. */
  begin(command: EpochCommand, position: number, stampMs: number): void {
    this.line.begin(command, position, stampMs);
    this.viewPosition = position;
    this.rows.recent?.clear(position);
    this.absent.begin(position);
  }

  snapshot(): Omit<GlobalSnapshot, 'group' | 'position' | 'mark' | 'epoch'> {
    const { datagrams, waiting } = this.rows.fragments;
    const { recentStarts } = this.decider;
    return {
      sign: this.line.sign,
      askings: this.line.askings(),
      time: this.time.state(),
      view: this.view,
      viewPosition: this.viewPosition,
      roster: this.roster.entries(),
      lasts: this.lasts.entries(),
      ordinal: this.rows.ordinal,
      datagrams: { next: datagrams.table.next, records: datagrams.table.records() },
      recentStarts: { next: recentStarts.table.next, records: recentStarts.table.records() },
      waiting,
    };
  }

  /** Fills an empty state; false, and unusable, when the parts do not go together. */
  restore(snapshot: GlobalSnapshot): boolean {
    const { epoch, sign, askings, time, view, roster, lasts, ordinal, datagrams, recentStarts, waiting } = snapshot;
    this.time.restore(time);
    this.viewPosition = snapshot.viewPosition;
    this.rows.ordinal = ordinal;
    if (!this.line.restore(epoch, sign, askings) || !this.roster.restore(roster) || !this.lasts.restore(lasts))
      return false;
    for (const member of view.members) {
      const entry = this.roster.entry(member.number);
      if (entry === undefined || this.roster.numberOf(member) !== member.number || entry.goneMs !== undefined)
        return false;
    }
    this.#setView(view);
    this.rows.recent?.clear(snapshot.position);
    this.tick = tickOfMs(this.timeMs);
    this.decider.setTick(this.tick);
    this.rows.setTime(this.timeMs, this.tick);
    const { fragments } = this.rows;
    return (
      fragments.datagrams.table.restore(datagrams.next, datagrams.records, this.tick) &&
      this.decider.recentStarts.restore(recentStarts.next, recentStarts.records, this.tick) &&
      waiting.every((fragment) => fragments.wait(fragment))
    );
  }

  fingerprint(position: number, mark: number): number {
    this.#viewFingerprint ??= viewFingerprint(this.view);
    const sum = new Fingerprint().number(position).number(mark);
    this.time.addTo(sum);
    sum
      .number(this.#viewFingerprint)
      .number(this.viewPosition)
      .number(this.roster.fingerprint)
      .number(this.rows.ordinal);
    sum.number(this.rows.fragments.datagrams.table.fingerprint).number(this.rows.fragments.fingerprint);
    sum.number(this.decider.recentStarts.table.fingerprint);
    this.lasts.addTo(sum);
    this.line.addTo(sum);
    return sum.value;
  }

  /** What the server that has gone had not handled goes to its heirs. */
  #inherit(before: View, { life, handled }: Pick<RemoveCommand, 'life' | 'handled'>, entry: LogEntry): void {
    const { recent } = this.rows;
    const gone = before.members.find((member) => isLifeOf(member, life));
    if (recent === undefined || gone === undefined) return;
    const { number } = gone;
    const { position } = entry;
    const heirOf = (hi: number, lo: number, backup: number) => this.decider.heirOf(number, hi, lo, backup);
    const { behind } = this.#effects.items;
    const wanting = behind?.packets === false ? behind : undefined;
    const frames = recent.inherit(number, handled, position, heirOf, this.selfNumber, wanting);
    // Where nobody knows how far it had come, all of its time in the group counts.
    const joinedAt = this.roster.entry(number)?.joinedAt ?? 0;
    const { since } = recent;
    const isWhole = since <= handled || (handled === 0 && since <= joinedAt);
    const packets = frames.reduce((sum, { rows }) => sum + rows.length, 0);
    const mark = markOf(entry);
    this.#effects.heritage = { life, number, handled, position, mark, frames, packets, isWhole, since };
  }

  /** At positions that all replicas share, as slices are swept; one that is further on has had it done where it comes from. */
  #rehome(slice: number): void {
    if (this.absent.some && this.absent.covers(slice)) return;
    this.decider.rehome(slice);
    this.#homeless[slice] = 0;
  }

  /** The slice was put in as it was at this position, and may hold flows that have not been looked after yet. */
  onRestored(slice: number, position: number, mark: number): void {
    this.absent.setAhead(slice, position, mark);
    this.#homeless[slice] = 1;
  }

  /** What this replica's server should have had of the entries behind a position, as if it had inherited it at this entry. */
  ownHeritage(handled: number, position: number, mark: number): Heritage {
    const { selfNumber: number } = this;
    const frames = this.rows.recent?.inherit(number, handled, position, () => number, number) ?? [];
    const packets = frames.reduce((sum, { rows }) => sum + rows.length, 0);
    return { life: this.#self, number, handled, position, mark, frames, packets, isWhole: true, since: 0, isOwn: true };
  }

  #setView(view: View): void {
    if (view.rules.availability !== 'none' && whoServes(view) !== whoServes(this.view)) this.#homeless.fill(1);
    this.#compiled = new CompiledView(view);
    this.#viewFingerprint = undefined;
    this.selfNumber = this.roster.numberOf(this.#self);
    this.decider.setView(this.#compiled, this.selfNumber);
    // By Fig. 6 only the owner and its backup know whose the packets of a connection are; the one is the other's heir.
    if (view.rules.availability === 'none') this.rows.recent = undefined;
    else if (this.rows.recent === undefined) {
      this.rows.recent = new RecentRows();
      this.rows.recent.clear(this.viewPosition);
    }
  }
}

/** Who is there, and takes flows. */
function whoServes({ members }: View): string {
  return members.map(({ number, state, standsFor }) => `${number} ${state} ${standsFor?.join('+') ?? ''}`).join();
}
