// The reference of a group: the production replica, with a self that is no member, which applies the group's log itself, each entry in
// the moment that it is stored. What every actor's replica makes of an entry must be the same, and what the checkers know of
// views, owners and packets they know from here.
//
// A log that loses its last entries, or all of them, begins another line. The reference begins again from where that line departs. An
// epoch with a donor begins with the donor's state, so the reference waits until the donor has applied the entry, and goes on with a
// snapshot of it. Nobody else can be further then.
//
// What a log takes in place of lost entries may be trimmed before anybody compares its last entry with the one that it has applied. If it was
// just as many as had been lost, nobody can tell, and everybody goes on behind the lost ones; so then does the reference.

import { EpochScout } from '../../../services/dssl/recovery/scout.ts';
import type { Effects } from '../../../services/dssl/replica/effects.ts';
import { Replica } from '../../../services/dssl/replica/replica.ts';
import { type Command, decodeCommand } from '../../../shared/log/records/command.ts';
import { emptyView, type GroupBirth, type View } from '../../../shared/membership/view.ts';
import type { Fate, Ledger } from '../ledger.ts';
import type { LogWatcher, SimEntry, SimLog } from '../log.ts';
import { Fates } from './fates.ts';
import { type Judgement, lateOf, sliceCount, type ViewChange } from './judgement.ts';

/** Where a line begins: with nothing, or with the state of a donor. */
interface Base {
  readonly position: number;
  readonly global: Uint8Array | undefined;
  readonly slices: readonly Uint8Array[];
}

const emptyBase: Base = { position: 0, global: undefined, slices: [] };
const self = { server: 'reference', incarnation: 0 };
const nothing: readonly never[] = [];

/** Whoever follows a line applies an entry within this: members tick every second. */
const followedWithinMs = 2_500;

export class Reference implements LogWatcher {
  readonly group: string;
  readonly views: ViewChange[] = [];
  /** Times in which nobody followed the log, because it was another one than before, or its line began with a donor's state and without the donor. */
  readonly lineless: { readonly fromMs: number; untilMs: number }[] = [];
  /** When lines began. */
  readonly begunMs: number[] = [];
  /** Frames applied, as life and number. */
  readonly applied = new Set<string>();
  /** Undefined while the donor of the epoch has not applied its entry. */
  replica: Replica | undefined;
  /** What was made of the entries, by position; on several lines it may be several things. */
  readonly #judged: (Judgement[] | undefined)[] = [];
  readonly #log: SimLog;
  readonly #ledger: Ledger;
  readonly #fates: Fates;
  readonly #nowMs: () => number;
  /** The line in force is the last one; before it, those that it departed from. */
  readonly #bases: Base[] = [emptyBase];
  /** The epoch whose donor has not applied it yet. */
  #awaited: { readonly entry: SimEntry; readonly id: string; readonly number: number } | undefined;
  /** Without any state, tells the epoch in force as everybody does who has none. */
  #scout = new EpochScout(self, true);
  /** Epochs that were the first thing in the log that told of any. */
  readonly #first = new WeakSet<SimEntry>();
  #view: View;
  /** What the log has is applied again: its views are known. */
  #isAgain = false;
  #lineNumber = 0;
  /** When somebody last applied an entry of the present line. */
  #followedMs = Number.NEGATIVE_INFINITY;
  /** The first line of the log's present life. */
  #lifeBegan = 0;
  /** Positions that the log has lost last, as long as its next entry has not been applied. */
  #cut: { readonly from: number; readonly to: number } | undefined;

  constructor(log: SimLog, ledger: Ledger, birth: GroupBirth, nowMs: () => number) {
    this.group = log.group;
    this.#log = log;
    this.#ledger = ledger;
    this.#fates = new Fates(log.group, ledger);
    this.#nowMs = nowMs;
    this.#view = emptyView(birth);
    this.replica = this.#empty();
    log.watcher = this;
  }

  get view(): View {
    return this.#view;
  }

  get epoch(): Replica['epoch'] {
    return this.replica?.epoch;
  }

  /** Somebody has applied an entry of this line. */
  followed(line: number): void {
    const last = this.lineless[this.lineless.length - 1];
    if (line !== this.#lineNumber || this.#awaited !== undefined) return;
    this.#followedMs = this.#nowMs();
    if (last?.untilMs === Number.POSITIVE_INFINITY) last.untilMs = this.#nowMs();
  }

  onStored(entry: SimEntry): void {
    if (entry.kind === 'command') this.#noteFirst(entry);
    this.#take(entry);
  }

  onCut(last: number, before: number): void {
    this.#lineNumber++;
    this.#cut = { from: last + 1, to: before };
    this.#fates.lose(last, this.#lifeBegan);
    this.lineless.push({ fromMs: this.#nowMs(), untilMs: Number.POSITIVE_INFINITY });
    while (this.#bases.length > 1 && this.#bases[this.#bases.length - 1].position > last) this.#bases.pop();
    this.#rebuild();
  }

  onEmptied(): void {
    this.#fates.lose(0, this.#lifeBegan);
    this.#lifeBegan = ++this.#lineNumber;
    this.lineless.push({ fromMs: this.#nowMs(), untilMs: Number.POSITIVE_INFINITY });
    this.#bases.splice(0, this.#bases.length, emptyBase);
    this.#awaited = undefined;
    this.#scout = new EpochScout(self, true);
    this.#fates.clear();
    this.replica = this.#empty();
  }

  /** An actor's replica is as it is. If it is the donor's, and a line has begun with its state, the reference goes on with that. */
  donorApplied(donor: Replica): void {
    const awaited = this.#awaited;
    const { position, epoch } = donor;
    if (awaited === undefined || epoch === undefined || position !== epoch.position) return;
    // Nobody goes along with an epoch that only its author took to count, once a later one has begun.
    if (epoch.id !== awaited.id && (position < awaited.entry.position || epoch.number <= awaited.number)) return;
    const slices = Array.from({ length: sliceCount }, (_, slice) => donor.snapshotSlice(slice));
    const entry = this.#log.entries[position - 1];
    this.begunMs.push(entry.atMs, this.#nowMs());
    this.#bases.push({ position, global: donor.snapshotGlobal(), slices });
    this.#rebuild(entry);
  }

  /**
   * An actor's replica has applied the entry at its position. If that follows what the log had lost, and nobody has read what the log has in its
   * place, the reference goes on with that replica's state.
   */
  goesOnBehindLost(replica: Replica): boolean {
    const { position } = replica;
    const cut = this.#cut;
    if (cut === undefined || position <= cut.to) return false;
    this.#cut = undefined;
    const isUnread = (judged: readonly Judgement[] = nothing) =>
      judged.every(({ line, appliedBy }) => line !== this.#lineNumber || appliedBy.length === 0);
    if (position !== cut.to + 1 || replica.missingSlices > 0 || !this.#judged.slice(cut.from, position).every(isUnread))
      return false;
    this.lineless.push({ fromMs: this.#nowMs(), untilMs: this.#nowMs() });
    this.#fates.lose(cut.from - 1, this.#lifeBegan);
    this.#judged.length = position;
    const slices = Array.from({ length: sliceCount }, (_, slice) => replica.snapshotSlice(slice));
    this.#bases.push({ position, global: replica.snapshotGlobal(), slices });
    this.#rebuild();
    return true;
  }

  /** What was made of the entry at the replica's position, on the replica's line; undefined for a line that is gone. */
  judgementOf(replica: Replica): Judgement | undefined {
    const judged = this.#judged[replica.position];
    const [only] = judged ?? nothing;
    const id = replica.epoch?.id ?? '';
    // As a rule there is one line, and one judgement.
    if (judged?.length === 1 && only.mark === replica.mark && only.epoch === id) return only;
    return judged?.findLast(({ mark, epoch }) => mark === replica.mark && epoch === id);
  }

  /** Whether the replica is on the line that the log holds. */
  isOnLine(replica: Replica): boolean {
    const judged = this.#judged[replica.position];
    const newest = judged?.[judged.length - 1];
    return replica.position <= this.#log.last && newest?.mark === replica.mark;
  }

  #empty(): Replica {
    return new Replica({ group: this.group, self });
  }

  /** Begins again where the line in force departs, and applies what the log has from there on. */
  #rebuild(begunBy?: SimEntry): void {
    const base = this.#bases[this.#bases.length - 1];
    this.#awaited = undefined;
    this.#scout = new EpochScout(self, true);
    this.#fates.clear();
    this.replica =
      base.global === undefined ? this.#empty() : Replica.restore({ group: this.group, self }, base.global);
    if (this.replica === undefined) throw new Error(`${this.group}: the donor's state cannot be read`);
    for (const slice of base.slices)
      if (!this.replica.restoreSlice(slice)) throw new Error(`${this.group}: a slice of the donor cannot be read`);
    this.#isAgain = begunBy === undefined;
    if (begunBy !== undefined) this.#noteView(begunBy, undefined);
    for (const entry of this.#log.entries.slice(base.position)) {
      this.#take(entry);
    }
    this.#isAgain = false;
    if (this.replica !== undefined && this.replica.view !== this.#view) {
      this.#setView(this.replica.view, '', undefined, this.replica.position);
    }
  }

  #apply(entry: SimEntry): void {
    const replica = this.replica as Replica;
    const effects = replica.apply(entry);
    const { epochBegun } = effects;
    if (epochBegun?.donor !== undefined) {
      this.#await(entry, effects.command as Command);
      return;
    }
    if (epochBegun !== undefined && replica.isSuperseded) {
      // A group that has died begins empty.
      this.replica = this.#empty();
      this.#apply(entry);
      return;
    }
    if (epochBegun !== undefined && !this.#isAgain) this.begunMs.push(this.#nowMs());
    if (effects.viewChanged || effects.epochBegun !== undefined) this.#noteView(entry, effects.command);
    this.#judge(entry, replica, effects);
  }

  /** The next entry of the log. */
  #take(entry: SimEntry): void {
    if (this.#first.has(entry)) {
      this.replica = this.#empty();
      this.#scout = new EpochScout(self, true);
    }
    if (this.replica?.epoch !== undefined) this.#apply(entry);
    else this.#lookForLine(entry);
  }

  /** Whether nothing that the log still holds tells of the line before: then nobody follows that one, and who reads the log begins here. */
  #noteFirst(entry: SimEntry): void {
    if (decodeCommand(entry.data)?.kind !== 'epoch' || this.#nowMs() - this.#followedMs < followedWithinMs) return;
    const inForce = this.epoch?.id ?? this.#awaited?.id;
    const { entries, first } = this.#log;
    const tells = ({ kind, data }: SimEntry) => {
      const command = kind === 'command' ? decodeCommand(data) : undefined;
      return command?.kind === 'epoch'
        ? command.id === inForce
        : command?.epoch === inForce && command?.author.server !== '';
    };
    if (!entries.slice(first - 1, -1).some(tells)) this.#first.add(entry);
  }

  /** There is no line yet, or nobody has the donor's state yet: the donor may die, and another epoch follow this one. */
  #lookForLine(entry: SimEntry): void {
    if (entry.kind === 'frame') this.#fates.notePassedOver(entry);
    const command = entry.kind === 'command' ? decodeCommand(entry.data) : undefined;
    if (command === undefined || !this.#scout.onCommand(command, entry.position, entry.timeMs, 0, false)) return;
    if (command.kind === 'epoch' && command.donor !== undefined) {
      this.#await(entry, command);
      return;
    }
    this.#awaited = undefined;
    this.replica = this.#empty();
    this.#apply(entry);
  }

  #await(entry: SimEntry, command: Command): void {
    this.replica = undefined;
    if (!this.#isAgain) this.lineless.push({ fromMs: this.#nowMs(), untilMs: Number.POSITIVE_INFINITY });
    const { id, number } = command.kind === 'epoch' ? command : { id: '', number: 0 };
    this.#awaited = { entry, id, number };
    this.#scout = new EpochScout(self, true);
    this.#scout.onCommand(command, entry.position, entry.timeMs, 0, false);
  }

  #judge(entry: SimEntry, replica: Replica, effects: Effects): void {
    const judged = this.#judgedAt(entry.position);
    const epoch = replica.epoch?.id ?? '';
    // Where a line departs, entries are applied again.
    const again = judged.find((known) => known.mark === replica.mark && known.epoch === epoch);
    const { appliedBy, passedOverBy } = again ?? { appliedBy: [], passedOverBy: [] };
    const readers = { appliedBy, passedOverBy };
    const place = { epoch, line: this.#lineNumber, view: this.#view };
    const isFrame = effects.outcome === 'frame';
    // What a log has lost may come again when later frames have been taken to be behind a gap.
    const isLateRepeat = effects.outcome === 'repeated' && this.lineless.length > 0;
    const isIgnoredFrame = entry.kind === 'frame' && effects.outcome === 'ignored';
    if (effects.outcome === 'gap' || isIgnoredFrame || isLateRepeat) this.#fates.notePassedOver(entry);
    const slices: number[] = [];
    const digests: number[] = [];
    const owners: number[] = [];
    let nobodys: readonly (Fate | undefined)[] = nothing;
    const late = effects.late.length === 0 ? nothing : lateOf(effects);
    if (isFrame) {
      const { frame } = effects;
      for (let row = 0; row < frame.count; row++) {
        owners.push(effects.owners[row]);
        const slice = frame.hashHi(row) >>> 24;
        if (!slices.includes(slice)) slices.push(slice);
      }
      for (const slice of slices) digests.push(replica.digest(slice));
      this.applied.add(`${frame.tier1Id} ${frame.number}`);
      nobodys = this.#fates.note(entry, effects, readers, place);
    }
    const lateNobodys = late.length > 0 ? this.#fates.noteLate(effects, entry.position, readers, place) : nothing;
    const judgement: Judgement = {
      mark: replica.mark,
      outcome: effects.outcome,
      line: this.#lineNumber,
      epoch,
      owners,
      nobodys,
      lateNobodys,
      late,
      appliedBy,
      passedOverBy,
      slices,
      digests,
      fingerprint: replica.globalFingerprint(),
      due: effects.digests.length === 0 ? nothing : effects.digests.flatMap(({ slice, digest }) => [slice, digest]),
    };
    if (again === undefined) judged.push(judgement);
    else if (again.fingerprint !== judgement.fingerprint)
      throw new Error(`${this.group}: the reference makes another thing of entry ${entry.position} the second time`);
  }

  #judgedAt(position: number): Judgement[] {
    let judged = this.#judged[position];
    if (judged === undefined) {
      judged = [];
      this.#judged[position] = judged;
    }
    return judged;
  }

  #noteView({ by, position }: SimEntry, command: Command | undefined): void {
    if (this.#isAgain) return;
    this.#setView((this.replica as Replica).view, by, command, position);
    if (command !== undefined) this.#ledger.noteCommand(command, this.#nowMs());
  }

  #setView(view: View, by: string, command: Command | undefined, position: number): void {
    this.#view = view;
    this.views.push({ atMs: this.#nowMs(), position, view, by, command, epoch: this.replica?.epoch?.id ?? '' });
  }
}
