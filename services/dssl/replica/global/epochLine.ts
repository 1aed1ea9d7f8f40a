// Which epoch is in force at a position of the log: a function of the log's commands alone.
//
// An epoch begins a line: from its entry on the group's state is the one of the donor that it names, or an empty one. The first
// one in a log is in force. It throws away what others hold, so another one counts only while nobody follows the line. Whoever follows it
// ticks, each second at least; a tick or any other command of the epoch in force is a *sign*, and so is the entry that began it. What an operator
// appends is none.
//
//   with a donor    a higher number, and no sign for two seconds of the log's stamps
//   empty           no sign behind the position `since` that its author names, and either the group has no member, or the author has
//                   asked ten times, a second apart, since the last sign
//
// So of two that are appended at once, or of one that is appended twice, the first one counts, and all readers of the log find the same one.
// Which epoch an author takes to be the one before (`previous`) does not matter: its entry may have been lost with the end of a log, or
// trimmed, and whoever still knows an earlier one must come along.

import { type Command, type EpochCommand, operatorAuthor } from '../../../../shared/log/records/command.ts';
import { isLifeOf, type Life } from '../../../../shared/membership/transitions.ts';
import { compareNames } from '../../../../shared/placement/seed.ts';
import { Fingerprint } from '../snapshot/fingerprint.ts';

export interface Epoch {
  readonly number: number;
  readonly id: string;
  /** Position of its entry. */
  readonly position: number;
}

/** What an author's asking has come to. */
export interface Asking {
  /** Server and incarnation. */
  readonly author: string;
  readonly count: number;
  /** Stamp of the last one that counted. */
  readonly atMs: number;
}

/** The last command by which somebody who follows the line has spoken. */
export interface Sign {
  readonly position: number;
  readonly stampMs: number;
}

/** How often one must have asked in vain, and how far apart at least, before a group is taken to have died. */
export const asksNeeded = 10;
export const askGapMs = 900;
/** Whoever follows ticks at least every second, or a little later: nobody does when there was no sign for so long. */
export const donorQuietMs = 1_900;
/** Authors whose asking is counted at once; the one that was silent for longest is forgotten first. */
const mostAskers = 64;

export class EpochLine {
  inForce: Epoch | undefined;
  sign: Sign = noSign;
  #askings: readonly Asking[] = [];
  /** The sum over the epoch that was in force when it was asked for last. */
  #summed: { readonly epoch: Epoch | undefined; readonly sum: number } | undefined;

  /**
   * Takes in a command that has this position and stamp. Returns the epoch that is in force from here on, if it is one. `hasMembers`: whether
   * the group has any.
   */
  onCommand(command: Command, position: number, stampMs: number, hasMembers: boolean): EpochCommand | undefined {
    const author = authorOf(command);
    if (command.kind === 'ask') this.#onAsk(author, stampMs);
    else if (command.kind === 'epoch') return this.#counts(command, stampMs, hasMembers) ? command : undefined;
    else if (
      !isLifeOf(command.author, operatorAuthor) &&
      (command.epoch === '' || command.epoch === this.inForce?.id)
    ) {
      this.sign = { position, stampMs };
      this.#askings = [];
    }
    return undefined;
  }

  /** How often this life has asked since the last sign. */
  asksOf({ server, incarnation }: Life): number {
    const name = `${server} ${incarnation}`;
    return this.#askings.find(({ author }) => author === name)?.count ?? 0;
  }

  /** This replica goes along with the epoch. Its entry is the first sign of the line: who began another one at the same moment did not know it. */
  begin({ number, id }: EpochCommand, position: number, stampMs: number): void {
    this.inForce = { number, id, position };
    this.sign = { position, stampMs };
    this.#askings = [];
  }

  /** In the order of the authors. */
  askings(): readonly Asking[] {
    return [...this.#askings].sort((a, b) => compareNames(a.author, b.author));
  }

  restore(inForce: Epoch | undefined, sign: Sign, askings: readonly Asking[]): boolean {
    this.inForce = inForce;
    this.sign = sign;
    this.#askings = askings;
    return askings.length <= mostAskers && new Set(askings.map(({ author }) => author)).size === askings.length;
  }

  addTo(sum: Fingerprint): void {
    const { inForce, sign } = this;
    if (this.#summed?.epoch !== inForce || this.#summed === undefined)
      this.#summed = { epoch: inForce, sum: sumOf(inForce) };
    sum.number(this.#summed.sum).number(sign.position).number(sign.stampMs);
    if (this.#askings.length === 0) return;
    for (const { author, count, atMs } of this.askings()) sum.text(author).number(count).number(atMs);
  }

  #onAsk(author: string, stampMs: number): void {
    const known = this.#askings.find((asking) => asking.author === author);
    if (known !== undefined && Math.abs(stampMs - known.atMs) < askGapMs) return;
    const asking = { author, count: Math.min((known?.count ?? 0) + 1, asksNeeded), atMs: stampMs };
    const others = this.#askings.filter((other) => other.author !== author);
    if (others.length === mostAskers) others.splice(longestSilent(others), 1);
    this.#askings = [...others, asking];
  }

  #counts({ id, number, donor, since, author }: EpochCommand, stampMs: number, hasMembers: boolean): boolean {
    if (this.inForce === undefined) return true;
    if (id === this.inForce.id) return false;
    if (donor === undefined) return this.sign.position <= since && (!hasMembers || this.asksOf(author) >= asksNeeded);
    // A clock that was set back must not keep a group from going on.
    return number > this.inForce.number && Math.abs(stampMs - this.sign.stampMs) >= donorQuietMs;
  }
}

function sumOf(epoch: Epoch | undefined): number {
  return epoch === undefined ? 0 : new Fingerprint().number(epoch.number).number(epoch.position).text(epoch.id).value;
}

const noSign: Sign = { position: 0, stampMs: 0 };

function authorOf({ author: { server, incarnation } }: Command): string {
  return `${server} ${incarnation}`;
}

function longestSilent(askings: readonly Asking[]): number {
  let longest = 0;
  for (const [index, { author, atMs }] of askings.entries()) {
    const other = askings[longest];
    if (atMs < other.atMs || (atMs === other.atMs && compareNames(author, other.author) < 0)) longest = index;
  }
  return longest;
}
