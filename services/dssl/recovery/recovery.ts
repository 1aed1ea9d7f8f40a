// Where a replica's state comes from, and what becomes of it when the log is not the one it knew. Pure: entries, messages and time in; what is
// to be done goes out through `RecoveryPorts`.
//
//              ┌────────── global part and all slices have come ──────────┐
//              │                                                          ▼
//   empty ─► seek ─► offer ─► fetching ◄─── offer ─── seek ◄─ broken ◄─ following
//     │                          │                      │       ▲
//     │                          └── reader broken ─────┼───────┘
//     └─ nobody holds state: a line that begins empty ──┴─ nobody's line is whole: one that begins with the best state left
//
// One operation gives state, whatever it is needed for: fetch (fetch.ts). A replica that was following keeps its former state until it has a
// whole new one, because it may be the best that is left. How the log tells which epoch is in force is in scout.ts; who begins a line
// with its own state is in donorChoice.ts.

import type { BrokenReason, EntryMark, LogBounds, LogEntry } from '../../../shared/log/log.ts';
import type { LineReport, LineState, LiveState, StateMessage } from '../../../shared/membership/gossip.ts';
import type { Mirror } from '../../../shared/membership/mirror.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { GroupBirth } from '../../../shared/membership/view.ts';
import type { Effects } from '../replica/effects.ts';
import { Replica } from '../replica/replica.ts';
import { brokenWords } from './brokenWords.ts';
import { newCounters, type RecoveryCounters } from './counters.ts';
import { DigestBook, type Repair } from './digestBook.ts';
import { Donor } from './donor.ts';
import { Fetch } from './fetch.ts';
import { Handed } from './handed.ts';
import type { Offer, PeerMessage } from './messages.ts';
import { isFurther, type OwnFlows, ownFlowsOf, tellAllMoved, tellMoved, tellUnseen } from './movedFlows.ts';
import { Seek, type SeekPorts } from './seek.ts';

export interface RecoveryPorts extends SeekPorts {
  /** From now on, entries behind this position go to `onEntry`; ends what was read before. */
  read(after: number, expect: EntryMark | undefined): void;
  stopReading(): void;
  toPeer(server: string, message: PeerMessage): void;
  /** State was replaced: a flow is this server's that was not, or no longer. */
  onFlow(kind: 'started' | 'moved', hi: number, lo: number): void;
  /** What this life held is gone, and cannot be had again: it has to begin anew. */
  onLost(reason: string): void;
  /** A line for people. */
  tell(kind: 'info' | 'warn', fields: object, message: string): void;
}

export class Recovery {
  readonly counters: RecoveryCounters = newCounters();
  /** What applies entries: also while it lacks slices. */
  replica: Replica | undefined;
  state: LineState = 'empty';
  /** The packets of the last entry applied have been with the server before. */
  wasHanded = false;
  readonly book: DigestBook;
  readonly #handed = new Handed();
  readonly #self: Life;
  readonly #birth: GroupBirth;
  readonly #ports: RecoveryPorts;
  readonly #donor: Donor;
  /** Whole state that is kept until there is a new one. */
  #former: Replica | undefined;
  /** What it held before the state that it has fetched, and from whom, until an entry shows that the log goes on behind that. */
  #fallback: { readonly replica: Replica | undefined; readonly from: string } | undefined;
  #fetch: Fetch | undefined;
  #isMending = false;
  /** Own flows in the slice that is being mended. */
  #mended: OwnFlows = new Set();
  readonly seek: Seek;
  #nonce = 1;

  constructor(self: Life, birth: GroupBirth, ports: RecoveryPorts) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#birth = birth;
    this.#ports = ports;
    this.book = new DigestBook(this.#self);
    this.#donor = new Donor(this.#self, (server, part) => ports.toPeer(server, part));
    this.seek = new Seek(this.#self, birth, ports);
  }

  /** True when this replica holds all of the group's state and follows the log. */
  get isWhole(): boolean {
    return this.state === 'following' && this.#fetch === undefined;
  }

  /** Begins to look for state. `mirror`: the group's view as the key-value store has it. */
  start(mirror: Mirror | undefined, nowMs: number): void {
    this.seek.mirror = mirror;
    this.#lookForState(nowMs);
  }

  /** The mirror has changed, or was read again. */
  onMirror(mirror: Mirror | undefined): void {
    this.seek.mirror = mirror;
  }

  /** The next entry of the log. What comes of it; undefined when there is nothing to apply it to. */
  onEntry(entry: LogEntry, nowMs: number): Effects | undefined {
    const { replica } = this;
    if (replica === undefined || replica.isSuperseded) return undefined;
    const effects = replica.apply(entry);
    this.#fallback = undefined;
    this.wasHanded = this.#handed.note(replica.position, replica.mark);
    if (replica.isSuperseded) this.#onSuperseded(nowMs);
    for (const digest of effects.digests) this.book.onOwn(digest, replica.epoch?.id ?? '', nowMs);
    if (this.#fetch !== undefined) {
      this.#fetch.onApplied(replica);
      this.#settleFetch(nowMs);
    }
    this.#donor.advance(this.#giving, nowMs);
    return effects;
  }

  /** The reader cannot go on. */
  onBroken(reason: BrokenReason, nowMs: number): void {
    this.counters.broken[reason]++;
    const { replica } = this;
    if (replica === undefined) return;
    const position = replica.position;
    this.#ports.tell('warn', { reason, position }, brokenWords[reason]);
    if (this.#fetch !== undefined) this.seek.avoid(this.#fetch.peer.server, nowMs);
    this.#giveUpFetch();
    this.#fallBack(reason, nowMs);
    if (this.#isPrivate && reason === 'trimmed') {
      this.#ports.onLost('it fell out of the log, and by Fig. 6 nobody else has its flows');
      return;
    }
    this.#lookForState(nowMs);
  }

  /** A command that the scout has read. */
  onScouted(entry: LogEntry, nowMs: number): void {
    const begins = this.seek.onScouted(entry, nowMs);
    if (begins !== undefined) this.#begin(begins === 'with-state', entry, nowMs);
  }

  /** The commands that the scout was reading are gone: the log is looked at again. */
  onScoutBroken(): void {
    this.seek.stopScouting();
  }

  /** What `lookAtLog` found; undefined: there is no log. */
  onBounds(bounds: LogBounds | undefined, nowMs: number): void {
    this.seek.onBounds(bounds, nowMs);
  }

  onPeer(message: PeerMessage, state: LiveState | undefined, nowMs: number): void {
    switch (message.kind) {
      case 'seek': {
        const offer = this.#donor.offer(message, this.#giving, state);
        if (offer !== undefined) this.#ports.toPeer(message.server, offer);
        return;
      }
      case 'offer': {
        const offer = this.#fetch === undefined ? this.seek.onOffer(message, nowMs) : undefined;
        if (offer !== undefined) this.#startFetch(offer, nowMs);
        return;
      }
      case 'get':
        this.#donor.onGet(message, this.#giving, nowMs);
        return;
      case 'part': {
        const fetch = this.#fetch;
        const isComplete = fetch?.onPart(message, nowMs) === true;
        if (fetch?.replica !== undefined && fetch.replica !== this.replica) this.#onGlobal(fetch.replica);
        if (isComplete && fetch?.replica !== undefined) this.#readOn(fetch.replica);
        this.#settleFetch(nowMs);
        return;
      }
    }
  }

  /** A state message of another member. */
  onGossip(message: StateMessage, nowMs: number): void {
    if (isLifeOf(message, this.#self) || message.line === undefined) return;
    this.seek.onGossip(message, nowMs);
    this.book.onOthers(message.server, message.line.epoch, message.digests, nowMs);
    if (!this.#hasPassedOver(message.line)) return;
    const { epochNumber: epoch } = message.line;
    this.#ports.tell(
      'warn',
      { epoch, of: message.server },
      'the group follows a later epoch, whose entry was not read here',
    );
    this.#lookForState(nowMs);
  }

  /** Time passes. `state`: where this member stands, as gossip has it. */
  tick(state: LiveState | undefined, nowMs: number): void {
    this.#donor.advance(this.#giving, nowMs);
    if (this.#fetch !== undefined) {
      this.#fetch.tick(nowMs);
      this.#settleFetch(nowMs);
    } else if (this.isWhole && this.replica !== undefined) {
      const [repair] = this.book.tick(this.replica.view, nowMs);
      if (repair !== undefined) this.#mend(this.replica, repair, nowMs);
    }
    if (this.#fetch === undefined && this.seek.isOn) {
      const offer = this.seek.tick(state, this.replica === undefined ? undefined : this.report(0, 0), nowMs);
      if (offer !== undefined) this.#startFetch(offer, nowMs);
    }
  }

  /** What gossip says of this replica. `lag`: entries that wait behind it; `lagMs`: their age. */
  report(lag: number, lagMs: number, handledOf: (epoch: string) => number = () => 0): LineReport {
    const held = this.#former ?? this.replica;
    const { epoch: { number = 0, id = '' } = {}, position = 0 } = held ?? {};
    const handled = Math.min(position, handledOf(id));
    return { state: this.state, epochNumber: number, epoch: id, position, lag, lagMs, handled };
  }

  /** What can be given to others. */
  get #giving(): Replica | undefined {
    return this.isWhole && this.replica?.isSuperseded === false ? this.replica : undefined;
  }

  /** By Fig. 6 tables are private: nobody else can give them. */
  get #isPrivate(): boolean {
    return this.#birth.rules.typeOneMethod === 'fig-6';
  }

  /** Whether others follow a later epoch, although this replica has come as far: its beginning was trimmed before it was read. */
  #hasPassedOver({ state, epochNumber, position }: LineReport): boolean {
    const { replica } = this;
    if (!this.isWhole || replica?.epoch === undefined || state !== 'following') return false;
    return epochNumber > replica.epoch.number && position <= replica.position;
  }

  #onSuperseded(nowMs: number): void {
    this.counters.epochsTaken++;
    if (this.#isPrivate) {
      this.#ports.onLost('its group goes on with the state of another server, and by Fig. 6 nobody else has its flows');
      return;
    }
    this.#giveUpFetch();
    this.#lookForState(nowMs);
  }

  /** What is being fetched is given up: the former state counts again. One that lacks a slice only, is state all the same. */
  #giveUpFetch(): void {
    if (this.#fetch === undefined) return;
    this.#fetch = undefined;
    if (!this.#isMending) this.replica = this.#former;
    this.#isMending = false;
    this.#former = undefined;
  }

  #lookForState(nowMs: number): void {
    this.#ports.stopReading();
    this.#fetch = undefined;
    this.#isMending = false;
    this.state = this.replica === undefined ? 'empty' : 'broken';
    this.seek.begin(nowMs);
  }

  #startFetch(offer: Offer, nowMs: number): void {
    if (this.#isPrivate && this.replica !== undefined) {
      this.#ports.onLost('its log is another one now, and by Fig. 6 nobody else has its flows');
      return;
    }
    if (this.replica !== undefined) this.#former ??= this.replica;
    this.state = 'fetching';
    this.#nonce += 1_000_000;
    this.#fetch = new Fetch(this.#self, offer, offer.epoch, this.#nonce, {
      send: (server, get) => this.#ports.toPeer(server, get),
      restore: (global) => Replica.restore({ group: this.#birth.group, self: this.#self }, global),
      onSlice: (replica, slice) => this.#onSlice(replica, slice),
    });
    this.#fetch.tick(nowMs);
  }

  /** The global part is here: the view is known, and the position at which the reader will go on. */
  #onGlobal(replica: Replica): void {
    if (this.#former !== undefined) {
      this.#skipped(this.#former.position, replica.position);
      this.counters.unseenRemovals += tellUnseen(this.#former, replica, this.#self, this.#ports.tell);
    }
    this.replica = replica;
    this.book.clear();
  }

  #readOn({ position, mark }: Replica): void {
    this.#ports.read(position, { position, mark });
  }

  #settleFetch(nowMs: number): void {
    const fetch = this.#fetch;
    if (fetch === undefined || (fetch.state !== 'done' && fetch.state !== 'failed')) return;
    this.#fetch = undefined;
    if (fetch.state === 'failed') {
      this.counters.failedFetches++;
      this.#onFetchFailed(fetch, nowMs);
      return;
    }
    if (this.#isMending) for (const slice of fetch.slices) this.book.onRestored(slice, nowMs);
    else this.counters.fetches++;
    this.#isMending = false;
    this.#mended = new Set();
    this.#fallback = { replica: this.#former, from: fetch.peer.server };
    this.#former = undefined;
    this.#follow();
  }

  /**
   * The log does not go on behind what was fetched: that peer had not noticed yet. Where it had come less far, what was held before is the
   * better part.
   */
  #fallBack(reason: BrokenReason, nowMs: number): void {
    const [fallback, fetched] = [this.#fallback, this.replica];
    this.#fallback = undefined;
    if (fallback === undefined || fetched === undefined) return;
    const { replica, from } = fallback;
    const isLess = replica !== undefined && isFurther(replica, fetched);
    // Behind what has been trimmed by now it may have read on.
    if (isLess || reason !== 'trimmed') this.seek.avoid(from, nowMs);
    if (!isLess) return;
    this.replica = replica;
    tellAllMoved(fetched, replica, (kind, hi, lo) => this.#ports.onFlow(kind, hi, lo));
    this.book.clear();
  }

  #onFetchFailed({ peer }: Fetch, nowMs: number): void {
    this.seek.avoid(peer.server, nowMs);
    if (!this.#isMending) this.replica = this.#former;
    this.#former = undefined;
    const { replica } = this;
    if (this.#isMending && replica?.missingSlices === 0) {
      // What it has is no worse than before. If it still differs, the next round of digests tells.
      this.#isMending = false;
      this.#readOn(replica);
    } else this.#lookForState(nowMs);
  }

  #follow(): void {
    this.state = 'following';
    this.seek.end();
  }

  /** This replica is alone with its digest of a slice. It stands still until it has that of a peer, and keeps its own until then. */
  #mend(replica: Replica, repair: Repair, nowMs: number): void {
    const { slice, from, position, again } = repair;
    const peer = replica.view.members.find(({ server }) => server === from);
    if (peer === undefined) return;
    this.#ports.tell('warn', { slice, position, from }, 'digests differ: this replica restores a slice from a peer');
    this.counters.repairs++;
    if (again) {
      this.#ports.onLost('the same slice of its table differed from the others twice in a row');
      return;
    }
    this.#mended = ownFlowsOf(replica, slice);
    this.#isMending = true;
    this.#ports.stopReading();
    this.#fetchSlice(replica, slice, peer, nowMs);
  }

  #fetchSlice(replica: Replica, slice: number, peer: Life, nowMs: number): void {
    this.#nonce += 1_000_000;
    const ports = {
      send: (server: string, get: PeerMessage) => this.#ports.toPeer(server, get),
      restore: () => undefined,
      onSlice: (restored: Replica, number: number) => this.#onSlice(restored, number),
    };
    const mend = { replica, slices: [slice] };
    this.#fetch = new Fetch(this.#self, peer, replica.epoch?.id ?? '', this.#nonce, ports, mend);
    this.#fetch.tick(nowMs);
  }

  #onSlice(replica: Replica, slice: number): void {
    const before = this.#former === undefined ? this.#mended : ownFlowsOf(this.#former, slice);
    tellMoved(before, ownFlowsOf(replica, slice), (kind, hi, lo) => this.#ports.onFlow(kind, hi, lo));
  }

  /** Entries that were passed over; in a log that is shorter than the former one, all that it has. */
  #skipped(from: number, to: number): void {
    this.counters.skippedEntries += to > from ? to - from : to;
  }

  /** The epoch that this replica proposed is in force: its line begins with this replica's state, or with none. */
  #begin(withState: boolean, entry: LogEntry, nowMs: number): void {
    // What a peer had offered meanwhile is of the line that has ended.
    this.#giveUpFetch();
    if (!withState) this.replica = new Replica({ group: this.#birth.group, self: this.#self });
    const { replica } = this;
    const before = replica?.position ?? 0;
    if (replica === undefined || !replica.beginEpoch(entry)) return;
    this.counters.epochsGiven++;
    const { position, mark } = replica;
    if (withState) this.#skipped(before, position);
    this.#ports.tell(
      withState ? 'warn' : 'info',
      { epoch: replica.epoch?.number, position },
      withState
        ? 'the log began again: it goes on with the state of this replica'
        : 'a new log: the group begins empty',
    );
    this.book.clear();
    this.#former = undefined;
    this.#follow();
    this.#ports.read(position, { position, mark });
    this.#donor.advance(this.#giving, nowMs);
  }
}
