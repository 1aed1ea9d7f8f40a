// Which epoch is in force, read off the commands in a log by somebody who holds no state of it, or state of another line.
//
// It is the replicas' own rule (replica/epochLine.ts), applied to commands alone. Ticks and other commands restate the epoch in force, so a
// log whose front is trimmed tells it as well. The first `epoch` entry of such a log may never have counted, since what is gone may have begun
// another one: it is in force until somebody speaks who follows another one.

import { type Command, type EpochCommand, operatorAuthor } from '../../../shared/log/records/command.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import { EpochLine } from '../replica/global/epochLine.ts';

export class EpochScout {
  /** When somebody else who follows the line has spoken last, on this process's clock. */
  signAtMs: number | undefined;
  readonly #self: Life;
  readonly #line = new EpochLine();
  readonly #hasFront: boolean;
  /** The epoch in force is the first thing that a log without its front has told. */
  #isGuess = false;

  /** `hasFront`: the log is read from its very beginning. */
  constructor(self: Life, hasFront: boolean) {
    this.#self = self;
    this.#hasFront = hasFront;
  }

  /** Id of the epoch in force; undefined: the log has none. */
  get inForce(): string | undefined {
    return this.#line.inForce?.id;
  }

  /** Number of that epoch where an `epoch` entry told it; 0 where only ticks did. */
  get number(): number {
    return this.#line.inForce?.number ?? 0;
  }

  /** Position of the last sign of anybody who follows it. */
  get signPosition(): number {
    return this.#line.sign.position;
  }

  /** Own asks since then. */
  get asks(): number {
    return this.#line.asksOf(this.#self);
  }

  /**
   * A command of the log, in order. True when it begins an epoch that counts. `isEmpty`: the group is known to have no member, so that this
   * member's own epoch needs no asking.
   */
  onCommand(
    command: Command,
    position: number,
    stampMs: number,
    nowMs: number,
    isEmpty: boolean,
  ): command is EpochCommand {
    const line = this.#line;
    const { kind, epoch, author } = command;
    const isSign = kind !== 'ask' && kind !== 'epoch' && !isLifeOf(author, operatorAuthor);
    const isOwn = isLifeOf(author, this.#self);
    // As long as no `epoch` entry has told which one is in force, the newest sign does: the first one may have been late.
    if (isSign && epoch !== '' && (this.number === 0 || (this.#isGuess && !isOwn && epoch !== line.inForce?.id))) {
      line.inForce = { number: 0, id: epoch, position };
      this.#isGuess = false;
    }
    if (isSign && epoch === line.inForce?.id && !isOwn) this.signAtMs = nowMs;
    // Another author had a mirror of its own, and found the group empty by it; that nobody has spoken since is for the log to tell.
    const begun = line.onCommand(command, position, stampMs, isOwn && !isEmpty);
    if (begun === undefined) return false;
    this.#isGuess = !this.#hasFront && line.inForce === undefined;
    line.begin(begun, position, stampMs);
    this.signAtMs = nowMs;
    return true;
  }
}
