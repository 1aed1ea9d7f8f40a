// Looking for state: who can give it, and if nobody can, how a line of the log begins that somebody can follow.
//
//   seek, every 200 ms ─► offers ─► the best of them, for a fetch
//        │ none for a while
//        ▼
//   look at the log ─► scout its commands ─► an epoch is in force, and somebody follows it ─► go on seeking
//                                       └─► nobody does ─► the best holder of state begins one with it (donorChoice.ts)
//                                                      └─► nobody holds any ─► after asking, one that begins empty
//
// Pure: messages, entries and time in; what is to be done goes out through `SeekPorts`.

import type { LogBounds, LogEntry } from '../../../shared/log/log.ts';
import { type Command, decodeCommand } from '../../../shared/log/records/command.ts';
import type { LineReport, LiveState, StateMessage } from '../../../shared/membership/gossip.ts';
import type { Mirror } from '../../../shared/membership/mirror.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { GroupBirth } from '../../../shared/membership/view.ts';
import { asksNeeded } from '../replica/global/epochLine.ts';
import { chooseDonor, type Holder } from './donorChoice.ts';
import type { Offer, PeerMessage } from './messages.ts';
import { EpochScout } from './scout.ts';

export interface SeekPorts {
  /** From now on, commands behind this position go to `onScouted`, until `stopScouting`. */
  scout(after: number): void;
  stopScouting(): void;
  /** The scout has seen all commands that are in the log. */
  isScoutCurrent(): boolean;
  /** Looks at the log; `onBounds` gets the answer. */
  lookAtLog(): void;
  makeLog(): void;
  toGroup(message: PeerMessage): void;
  append(command: Command): void;
}

const seekEveryMs = 200;
/** Offers are collected for so long, unless an active member has offered. */
const offersMs = 150;
/** Peers that hold state answer within this; only then the log is looked at. */
const lookAfterMs = 400;
const lookAgainMs = 1_000;
const askEveryMs = 1_000;
/** Gossip that is older says nothing any more. */
const heardMs = 2_500;
/** Nobody has ticked for so long: nobody follows. Members tick every second. */
const quietMs = 3_000;
/** Members that hold state, and lost their log together, have said so within this. */
const holdersMs = 1_200;
const proposeAgainMs = 2_000;
/** A peer with which a fetch failed is passed over for so long. */
const avoidMs = 2_000;

export class Seek {
  /** Whether state is being looked for. */
  isOn = false;
  readonly #self: Life;
  readonly #birth: GroupBirth;
  readonly #ports: SeekPorts;
  readonly #avoid = new Map<string, number>();
  readonly #heard = new Map<string, { readonly message: StateMessage; readonly atMs: number }>();
  #mirror: Mirror | undefined;
  #nonce = 0;
  #sinceMs = 0;
  #sentAtMs = 0;
  #lookedAtMs = 0;
  #scout: EpochScout | undefined;
  #scoutSinceMs = 0;
  /** The scout reads what lies behind this position: what was before it has been trimmed. */
  #scoutAfter = 0;
  /** Epoch that offers must be of, where the log has told it. */
  #required: string | undefined;
  #offers: { readonly offer: Offer; readonly atMs: number }[] = [];
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #proposedAtMs = Number.NEGATIVE_INFINITY;
  #proposals = 0;
  /** Numbers, by id, of the epochs that this member has appended and that may come into force yet. */
  readonly #proposed = new Map<string, number>();

  constructor(self: Life, birth: GroupBirth, ports: SeekPorts) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#birth = birth;
    this.#ports = ports;
  }

  /** The group's view as the key-value store has it. */
  set mirror(mirror: Mirror | undefined) {
    this.#mirror = mirror;
  }

  begin(nowMs: number): void {
    this.end();
    this.isOn = true;
    this.#nonce++;
    this.#sinceMs = nowMs;
    this.#sentAtMs = Number.NEGATIVE_INFINITY;
    this.#lookedAtMs = Number.NEGATIVE_INFINITY;
  }

  end(): void {
    this.isOn = false;
    this.#offers = [];
    this.#required = undefined;
    this.stopScouting();
  }

  /** Ends scouting; the log is looked at again when nobody offers. */
  stopScouting(): void {
    if (this.#scout !== undefined) this.#ports.stopScouting();
    this.#scout = undefined;
  }

  /** A fetch from this peer failed. */
  avoid(server: string, nowMs: number): void {
    this.#avoid.set(server, nowMs);
  }

  onGossip(message: StateMessage, nowMs: number): void {
    this.#heard.set(message.server, { message, atMs: nowMs });
  }

  /** Whether another server has said lately that it follows the line of this epoch, with all its state. */
  isFollowed(epoch: string, nowMs: number): boolean {
    for (const { message, atMs } of this.#heard.values()) {
      if (nowMs - atMs < heardMs && message.line?.state === 'following' && message.line.epoch === epoch) return true;
    }
    return false;
  }

  /** An offer; returned when it is to be taken at once. */
  onOffer(offer: Offer, nowMs: number): Offer | undefined {
    if (!this.isOn || offer.nonce !== this.#nonce) return undefined;
    if (this.#required !== undefined && offer.epoch !== this.#required) return undefined;
    if (offer.epochNumber < this.#latestFollowed(nowMs)) return undefined;
    if (nowMs - (this.#avoid.get(offer.server) ?? Number.NEGATIVE_INFINITY) < avoidMs) return undefined;
    this.#offers = this.#offers.filter((each) => each.offer.server !== offer.server);
    this.#offers.push({ offer, atMs: nowMs });
    return offer.rank === 0 ? offer : undefined;
  }

  /** What `lookAtLog` found; undefined: there is no log. */
  onBounds(bounds: LogBounds | undefined, nowMs: number): void {
    if (!this.isOn) return;
    if (bounds === undefined) {
      this.#ports.makeLog();
      return;
    }
    if (this.#scout !== undefined) return;
    this.#scoutSinceMs = nowMs;
    this.#scoutAfter = bounds.first - 1;
    this.#scout = new EpochScout(this.#self, this.#scoutAfter === 0);
    this.#ports.scout(this.#scoutAfter);
  }

  /** A command of the log. The answer tells that this member's own epoch is in force with this entry, and whether it begins with its state. */
  onScouted(entry: LogEntry, nowMs: number): 'with-state' | 'empty' | undefined {
    const scout = this.#scout;
    const command = decodeCommand(entry.data);
    if (!this.isOn || scout === undefined || command === undefined) return undefined;
    const isEmpty = this.#isKnownEmpty(scout);
    const begins = scout.onCommand(command, entry.position, entry.timeMs, nowMs, isEmpty);
    this.#required = scout.inForce;
    if (!begins) return undefined;
    this.#offers = [];
    if (command.kind !== 'epoch') return undefined;
    // A line that this member has begun before, and followed since, does not begin again where its entry is read again. Nor does one that it proposed
    // beside another that counts: where that one's entry has been trimmed by then, it would seem to.
    const isOwn = this.#proposed.delete(command.id) && isLifeOf(command.author, this.#self);
    for (const [id, number] of this.#proposed) if (number <= command.number) this.#proposed.delete(id);
    if (!isOwn) return undefined;
    return command.donor === undefined ? 'empty' : 'with-state';
  }

  /**
   * Time passes. `state`: where this member stands; `held`: the line of the state that it holds, undefined for none. An offer that is to be
   * taken, if there is one.
   */
  tick(state: LiveState | undefined, held: LineReport | undefined, nowMs: number): Offer | undefined {
    if (!this.isOn) return undefined;
    if (nowMs - this.#sentAtMs >= seekEveryMs) {
      this.#sentAtMs = nowMs;
      this.#ports.toGroup({ ...this.#self, kind: 'seek', nonce: this.#nonce });
    }
    const chosen = this.#chooseOffer(nowMs);
    if (chosen !== undefined) return chosen;
    if (this.#scout === undefined) this.#look(nowMs);
    else if (this.#ports.isScoutCurrent()) this.#considerEpoch(this.#scout, state, held, nowMs);
    else this.#lookAgain(nowMs);
    return undefined;
  }

  /** The latest epoch that others have said lately they follow; 0 for none. */
  #latestFollowed(nowMs: number): number {
    let latest = 0;
    for (const { message, atMs } of this.#heard.values()) {
      const { line } = message;
      if (nowMs - atMs < heardMs && line?.state === 'following') latest = Math.max(latest, line.epochNumber);
    }
    return latest;
  }

  #chooseOffer(nowMs: number): Offer | undefined {
    if (this.#offers.length === 0 || nowMs - this.#offers[0].atMs < offersMs) return undefined;
    const offers = this.#offers.map(({ offer }) => offer);
    return offers.sort((one, other) => one.rank - other.rank || other.position - one.position)[0];
  }

  /** Nobody has offered yet. Where the store knows no members, nobody needs to be waited for. */
  #look(nowMs: number): void {
    const isLonely = this.#mirror === undefined || this.#mirror.view.members.length === 0;
    if (nowMs - this.#lookedAtMs < lookAfterMs || (nowMs - this.#sinceMs < lookAfterMs && !isLonely)) return;
    this.#lookedAtMs = nowMs;
    this.#ports.lookAtLog();
  }

  /** The scout hears nothing of the log. It may be gone, and nobody but those who seek is left to make it. */
  #lookAgain(nowMs: number): void {
    if (nowMs - this.#lookedAtMs < lookAgainMs) return;
    this.#lookedAtMs = nowMs;
    this.#ports.lookAtLog();
  }

  #considerEpoch(scout: EpochScout, state: LiveState | undefined, held: LineReport | undefined, nowMs: number): void {
    if (nowMs - this.#proposedAtMs < proposeAgainMs) return;
    const heard = [...this.#heard.values()].filter(({ atMs }) => nowMs - atMs < heardMs);
    // Somebody may follow the line that is in force, and only be slow to answer; or has not noticed yet that its log is another one.
    const mayFollow = heard.some(({ message: { line } }) => {
      if (line === undefined || (line.state !== 'following' && line.state !== 'fetching')) return false;
      return scout.inForce === undefined || line.epoch === scout.inForce;
    });
    if (mayFollow) return;
    const holders = heard.flatMap(({ message: { server, state: theirs, line } }): Holder[] =>
      line?.state === 'broken' ? [{ server, state: theirs, line }] : [],
    );
    if (held === undefined) {
      if (holders.length === 0) this.#considerEmptyLine(scout, nowMs);
      return;
    }
    // Nobody can follow a log in which no line has begun. Then it is only the other holders that have to be heard.
    const isNewLog = scout.inForce === undefined && this.#scoutAfter === 0;
    const isQuiet = scout.signAtMs === undefined || nowMs - scout.signAtMs >= quietMs;
    if (!isQuiet || nowMs - this.#scoutSinceMs < (isNewLog ? holdersMs : quietMs)) return;
    const { server } = this.#self;
    if (chooseDonor([{ server, state, line: held }, ...holders])?.server !== server) return;
    this.#propose(scout, this.#self, held, nowMs);
  }

  /** Nobody is known to hold state. A group that may have had members is asked ten times, a second apart. */
  #considerEmptyLine(scout: EpochScout, nowMs: number): void {
    if (this.#isKnownEmpty(scout) || scout.asks >= asksNeeded) {
      this.#propose(scout, undefined, undefined, nowMs);
    } else if (nowMs - this.#askedAtMs >= askEveryMs) {
      this.#askedAtMs = nowMs;
      this.#ports.append({ kind: 'ask', author: this.#self, epoch: '' });
    }
  }

  /**
   * The group has no member, and no one of former times can come back to it: nobody ever began a line in this log, all of which is there; or
   * the store says that the last member has left, and the log that nobody has spoken since.
   */
  #isKnownEmpty({ inForce, signPosition }: EpochScout): boolean {
    const mirror = this.#mirror;
    if (mirror === undefined) return inForce === undefined && this.#scoutAfter === 0;
    if (mirror.view.members.length > 0 || (inForce !== undefined && inForce !== mirror.epoch.id)) return false;
    return Math.max(signPosition, this.#scoutAfter) <= mirror.position;
  }

  #propose(scout: EpochScout, donor: Life | undefined, held: LineReport | undefined, nowMs: number): void {
    this.#proposedAtMs = nowMs;
    const { server, incarnation } = this.#self;
    const heard = [...this.#heard.values()].map(({ message }) => message.line?.epochNumber ?? 0);
    const known = [scout.number, this.#mirror?.epoch.number ?? 0, held?.epochNumber ?? 0, ...heard];
    const name = `${incarnation.toString(36)}-${server}`.slice(0, 52);
    const id = `${name}-${++this.#proposals}`;
    const number = Math.max(0, ...known) + 1;
    this.#proposed.set(id, number);
    this.#ports.append({
      kind: 'epoch',
      author: this.#self,
      epoch: '',
      id,
      number,
      previous: scout.inForce ?? held?.epoch ?? '',
      since: Math.max(scout.signPosition, this.#scoutAfter),
      donor,
      birth: this.#birth,
    });
  }
}
