// What peers say about flows, held against what this module has seen itself.
//
// A member believes what it has seen; what it has not seen it believes of its peers; and where a living peer says that a
// flow is its own, that is believed in any case.
//
// One that joins is worse off: it hears packets of flows that began before it listened, and takes each for a new one. Such
// a guess may be wrong, since the flow may have another owner than the one whom this view would choose. It notes its
// guesses, and the peers' answers correct or confirm them. When all have told, everything that is new to it from there
// on is really new. Then it asks once more, and whatever guess is still confirmed by nobody is forgotten: the member it
// named has decided that packet by now, and does not have the flow.

import type { Decider } from '../replica/decide.ts';
import { FlowState } from '../replica/flows/entry.ts';
import { flowKey } from '../replica/flows/key.ts';
import { ageTicks } from '../replica/ticks.ts';
import { type CompiledView, noServer, type ViewHistory } from '../replica/viewHistory.ts';
import { LoneWords } from './loneWords.ts';
import { RowKind, readRows, type SyncAnswer } from './sync.ts';

/** Guesses that are noted at most; a join is a matter of seconds. */
const guessesMax = 1_000_000;

interface Guess {
  readonly hi: number;
  readonly lo: number;
  /** The view by which the flow was placed. */
  readonly view: CompiledView;
  /** Placed when the members had told all that began before. It is kept, unless one of them says otherwise. */
  readonly isLate: boolean;
}

export class Guesses {
  readonly #byFlow = new Map<number, Guess>();
  #isClosed = false;
  #hasPassed = false;

  /** Whether the peers have to be asked again before this module knows what they know. */
  get areAny(): boolean {
    return this.#byFlow.size > 0 || this.#hasPassed;
  }

  /** A packet of a flow was seen that nobody has told of yet, so it has not kept the flow alive here. */
  pass(): void {
    this.#hasPassed = true;
  }

  /** A flow was taken for a new one. When all peers have told what they hold, it is one. */
  note(hi: number, lo: number, view: CompiledView): void {
    const key = flowKey(hi, lo);
    if (this.#isClosed && !this.#byFlow.has(key)) return;
    if (this.#byFlow.size < guessesMax) this.#byFlow.set(key, { hi, lo, view, isLate: this.#isClosed });
  }

  /** A packet comes of a flow that nobody has confirmed yet, and of which all must have told that have it. */
  isDoubtful(hi: number, lo: number): boolean {
    return this.#isClosed && this.get(hi, lo)?.isLate === false;
  }

  get(hi: number, lo: number): Guess | undefined {
    return this.#byFlow.get(flowKey(hi, lo));
  }

  /** Somebody who knows has said so. */
  settle(hi: number, lo: number): void {
    this.#byFlow.delete(flowKey(hi, lo));
  }

  /** What is new from here on is no guess. */
  close(): void {
    this.#isClosed = true;
  }

  /** A peer has yet to tell what it holds: all of it is a guess again. */
  reopen(): void {
    this.#isClosed = false;
    for (const [key, guess] of this.#byFlow) this.#byFlow.set(key, { ...guess, isLate: false });
  }

  unsettled(): Guess[] {
    return [...this.#byFlow.values()].filter(({ isLate }) => !isLate);
  }
}

export class Hearsay {
  /** Flows that a peer says are another's than this module knows. */
  atOdds = 0;
  /** A peer says of itself that it has this flow. Told before anything is taken in. */
  onClaim: (hi: number, lo: number) => void = () => undefined;
  readonly #decider: Decider;
  readonly #views: ViewHistory;
  readonly #loneWords: LoneWords;
  /** The newest view when that was looked at last. */
  #newest: CompiledView | undefined;
  /** Server number of the peer whose answer is taken in. */
  #teller = noServer;

  constructor(decider: Decider, views: ViewHistory) {
    this.#decider = decider;
    this.#views = views;
    this.#loneWords = new LoneWords(decider.recentStarts.windowTicks);
  }

  /** Takes in what a peer said: flows, and what began lately. */
  takeIn(answer: Pick<SyncAnswer, 'owners' | 'rows'>): void {
    const numbers = answer.owners.map((life) => this.#views.learnLife(life));
    this.#teller = numbers[0] ?? noServer;
    readRows(answer.rows, ({ kind, hi, lo, tick, state, protocolClass, owner: index, view }) => {
      const owner = numbers[index];
      if (owner === undefined) return;
      if (index === 0) this.onClaim(hi, lo);
      if (kind === RowKind.flow) this.#flow(hi, lo, tick, owner, state, protocolClass, view, index === 0);
      else this.#start(hi, lo, tick, owner, protocolClass, view, kind === RowKind.startInTable);
    });
  }

  /** The newest view has changed, perhaps. */
  onView(isEstablished: boolean): void {
    // The first member of a group has nobody to learn from: what it takes for new is new.
    if (isEstablished && this.#decider.guesses !== undefined) this.keepGuesses();
    const { newest } = this.#views;
    if (newest === undefined || newest === this.#newest) return;
    // Who drained has told whoever asked, and goes of its own accord.
    const before = this.#newest?.view.members.filter(({ state }) => state !== 'draining') ?? [];
    const numbers = new Set(before.map(({ server, incarnation }) => this.#views.numberOf(server, incarnation)));
    this.#newest = newest;
    const { table, recentStarts, tick } = this.#decider;
    const wasRemoved = (teller: number) => numbers.has(teller) && newest.isGone(teller);
    for (const { hi, lo } of this.#loneWords.takeVoid(wasRemoved, tick)) {
      const slot = table.find(hi, lo, tick);
      if (slot !== -1 && (table.owner(slot) !== this.#views.self || !table.marked(slot))) continue;
      if (slot !== -1) this.#decider.drop(hi, lo, slot, 'moved');
      recentStarts.remove(hi, lo);
    }
  }

  /** Forgets the guesses that nobody has confirmed. */
  forgetGuesses(): void {
    const { guesses, table, recentStarts, tick } = this.#decider;
    if (guesses === undefined) return;
    for (const { hi, lo } of guesses.unsettled()) {
      const slot = table.find(hi, lo, tick);
      if (slot !== -1) table.remove(slot);
      recentStarts.remove(hi, lo);
    }
    this.keepGuesses();
  }

  /** What this module took for new is new. */
  keepGuesses(): void {
    this.#decider.guesses = undefined;
    this.#decider.endsSeen = undefined;
  }

  /** A flow began at `tick` and `owner` got it. Own ones become known as if their first packet had been seen. */
  #start(
    hi: number,
    lo: number,
    tick: number,
    owner: number,
    protocolClass: number,
    view: number,
    inTable: boolean,
  ): void {
    const { recentStarts, table, guesses } = this.#decider;
    const { self } = this.#views;
    const known = recentStarts.find(hi, lo, tick);
    // A tuple that was used before: the teller has missed that another flow has begun on it since.
    const newer = recentStarts.describe(hi, lo, tick);
    if (newer !== undefined && ageTicks(newer.tick, tick) > recentStarts.windowTicks) return;
    if (owner === self) this.#loneWords.hear(hi, lo, this.#teller, this.#decider.tick, known !== self);
    const guess = guesses?.get(hi, lo);
    if (known === -1 || known === owner || this.#knowsBetter(hi, lo, known, owner, false)) {
      recentStarts.record(hi, lo, tick, owner, protocolClass, inTable, view);
    }
    if (inTable) {
      this.#flow(hi, lo, tick, owner, FlowState.unconfirmed, protocolClass, view, false);
      return;
    }
    if (guess?.view.isGone(owner) === false) guesses?.settle(hi, lo);
    // As if the start had been seen: what was held here on this tuple is stale.
    const slot = owner === self || known === self ? -1 : table.find(hi, lo, tick);
    if (slot !== -1) this.#decider.drop(hi, lo, slot, 'moved');
  }

  /** Somebody holds a flow; `isClaim`: it says so of itself. */
  #flow(
    hi: number,
    lo: number,
    tick: number,
    owner: number,
    state: FlowState,
    protocolClass: number,
    view: number,
    isClaim: boolean,
  ): void {
    const { table, guesses, recentStarts, endsSeen } = this.#decider;
    const { self } = this.#views;
    const slot = table.find(hi, lo, tick);
    if (owner === self) {
      const isNews = slot === -1 || table.owner(slot) !== self;
      this.#loneWords.hear(hi, lo, this.#teller, this.#decider.tick, isNews);
    }
    if (slot === -1) {
      const endTick = endsSeen?.get(flowKey(hi, lo));
      const hasEnded = endTick !== undefined && ageTicks(endTick, tick) >= 0;
      const handle = hasEnded
        ? table.insert(hi, lo, endTick, owner, FlowState.closing, protocolClass)
        : table.insert(hi, lo, tick, owner, state, protocolClass);
      if (handle !== -1 && owner === self) this.#decider.adopt(hi, lo, handle, view);
      else if (handle !== -1) table.setMark(handle, true);
      return;
    }
    const known = table.owner(slot);
    if (known !== owner) {
      if (known === self || !this.#knowsBetter(hi, lo, known, owner, isClaim)) {
        this.atOdds++;
        return;
      }
      table.setOwner(slot, owner);
      if (owner === self) this.#decider.adopt(hi, lo, slot, view);
    }
    if (guesses?.get(hi, lo) !== undefined) {
      // It did not begin where this module thought, nor when.
      if (recentStarts.find(hi, lo, tick) !== owner) recentStarts.remove(hi, lo);
      guesses.settle(hi, lo);
    }
    const newerTicks = ageTicks(tick, table.lastSeen(slot));
    if (isClaim && state !== FlowState.closing && this.#beganAgain(hi, lo, slot, newerTicks)) {
      // What was seen here since may have confirmed it.
      table.setState(slot, newerTicks > 0 ? state : FlowState.established);
    }
    // What was seen here meanwhile is newer than what the peer says.
    if (newerTicks < 0) return;
    if (table.state(slot) === FlowState.closing && state !== FlowState.closing) {
      // The peer has missed the end, or has seen a new beginning that is still to come here. It is kept alive, but the end must
      // not look as late as what the peer has seen: told on, it would close the new one.
      if (newerTicks > 0) table.touch(slot, (tick - 1) | 0);
      return;
    }
    table.touch(slot, tick);
    if (table.state(slot) < state) table.setState(slot, state);
  }

  /**
   * A flow that is closing here, and is not to its owner, has begun again in frames that were missed here, unless its end
   * came here after the owner said so. That it had packets here since says nothing: they do not tell one connection on that
   * tuple from the next.
   */
  #beganAgain(hi: number, lo: number, slot: number, newerTicks: number): boolean {
    const { table, endsSeen } = this.#decider;
    if (table.state(slot) !== FlowState.closing) return false;
    return newerTicks > 0 || endsSeen?.has(flowKey(hi, lo)) !== true;
  }

  /** Whether a peer that names `owner` is to be believed rather than what is `known` here. */
  #knowsBetter(hi: number, lo: number, known: number, owner: number, isClaim: boolean): boolean {
    const guess = this.#decider.guesses?.get(hi, lo);
    // Everybody else has placed the flow anew at that packet, if its owner had gone by then.
    if (guess !== undefined) return !guess.view.isGone(owner);
    const { newest } = this.#views;
    if (newest === undefined || newest.isGone(owner)) return false;
    return isClaim || newest.isGone(known);
  }
}
