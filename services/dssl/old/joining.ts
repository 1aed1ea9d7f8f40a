// The end of a join: when this module knows what the group knows, it proposes itself as active.
//
// It asks twice if it guessed anything while it was being told (hearsay.ts). Peers that are dead tell nothing; they leave in the
// same view, so that this module never decides beside one whose flows it does not know. One that was only silent, and
// answers in the end, stays: then it has to tell first all that it holds.

import { activate, type Candidate, type Life } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';
import type { Decider } from '../replica/decide.ts';
import { Guesses, type Hearsay } from './hearsay.ts';
import type { Learner } from './learner.ts';
import type { Streams } from './streams.ts';

interface JoiningParts {
  readonly candidate: Candidate;
  readonly decider: Decider;
  readonly streams: Streams;
  readonly learner: Learner;
  readonly hearsay: Hearsay;
}

export class Joining {
  readonly #parts: JoiningParts;
  /** The second question, about what was guessed before the first was answered. */
  #asksAgain = false;
  /** Peers that told nothing when they were asked what they hold; what they may say later is not that. */
  #unheard: readonly Life[] = [];

  constructor(parts: JoiningParts) {
    this.#parts = parts;
    this.#guess();
  }

  /**
   * All peers that live have told: the step to propose, or undefined when there is more to be known, or this server may
   * not be active yet. `listensSince`: a tick before that of the first frame heard.
   */
  next(listensSince: number | undefined, mayActivate: boolean): ((newest: View) => View) | undefined {
    const { candidate, decider, streams, learner, hearsay } = this.#parts;
    const { guesses } = decider;
    if (guesses?.areAny && !this.#asksAgain) {
      this.#asksAgain = true;
      this.#unheard = learner.silentLives;
      guesses.close();
      const reached = new Map([...streams.all()].map((stream) => [stream.id, stream.received]));
      learner.again(listensSince, true, reached);
      return undefined;
    }
    if (learner.haveAnyAnswered(this.#unheard)) {
      this.#beginAnew();
      return undefined;
    }
    if (!mayActivate || streams.areAnyWaiting) return undefined;
    hearsay.forgetGuesses();
    const { silentLives } = learner;
    const unheard = [...this.#unheard, ...silentLives];
    // The store may take its time, and somebody may answer meanwhile.
    const isStillSo = () => learner.areSilent(silentLives) && !learner.haveAnyAnswered(this.#unheard);
    return (newest) => (isStillSo() ? activate(newest, candidate, unheard) : newest);
  }

  #beginAnew(): void {
    this.#asksAgain = false;
    this.#unheard = [];
    this.#guess().reopen();
    this.#parts.learner.again(undefined, true);
  }

  /** What is new to this module it only takes for new, and it notes which ends it sees. */
  #guess(): Guesses {
    const { decider } = this.#parts;
    decider.endsSeen ??= new Map();
    decider.guesses ??= new Guesses();
    return decider.guesses;
  }
}
