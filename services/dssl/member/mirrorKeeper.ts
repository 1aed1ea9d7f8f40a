// Keeps the mirror of the group's view in the key-value store (shared/membership/mirror.ts): it writes when the view has changed, when the store holds an
// older one, and when it has lost it. The first active member that nobody suspects does so, the others a while later, so that a mirror is written by
// one as a rule and by somebody always. A store that fails is tried again: nothing waits for the mirror.

import { reasonOf } from '../../../shared/base/errors.ts';
import type { KeyValue } from '../../../shared/bus/bus.ts';
import { viewKey } from '../../../shared/bus/subjects.ts';
import { writeMirror } from '../../../shared/config/store.ts';
import { decodeMirror, isNewer, type Mirror } from '../../../shared/membership/mirror.ts';

export interface MirrorKeeperOptions {
  readonly group: string;
  openStore(): Promise<KeyValue>;
  /** The store has another mirror. */
  onMirror(mirror: Mirror): void;
  onProblem(reason: string): void;
}

/** The members behind the first one wait for so long. */
const othersMs = 1_500;
/** Pause after a failure, and between two looks whether the store still has it. */
const againMs = 1_000;
const lookMs = 5_000;

export class MirrorKeeper {
  readonly #options: MirrorKeeperOptions;
  #store: KeyValue | undefined;
  #stopWatch: (() => void) | undefined;
  /** What the store is known to have. */
  #stored: Mirror | undefined;
  #wanted: Mirror | undefined;
  #wantedSinceMs = 0;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #isBusy = false;
  #stopped = false;

  constructor(options: MirrorKeeperOptions) {
    this.#options = options;
  }

  /** Follows the store's mirror. Rejects with a FlowherdError. */
  async start(): Promise<Mirror | undefined> {
    this.#store = await this.#options.openStore();
    const key = viewKey(this.#options.group);
    this.#stopWatch = await this.#store.watch(key, ({ value }) => this.#note(decodeMirror(value)));
    if (this.#stopped) this.#stopWatch();
    return this.#stored;
  }

  stop(): void {
    this.#stopped = true;
    this.#stopWatch?.();
  }

  /** The store has this view, or a later one. */
  hasStored(mirror: Mirror): boolean {
    return !isNewer(mirror, this.#stored);
  }

  /** The store may have lost what it had: it is looked at again. */
  lookAgain(): void {
    this.#lookedAtMs = Number.NEGATIVE_INFINITY;
    this.#stored = undefined;
  }

  /** Time passes. `mirror`: what the store should have; `isFirst`: whether this member is the one to write it. */
  tick(mirror: Mirror, isFirst: () => boolean, nowMs: number): void {
    if (this.#wanted?.view !== mirror.view || this.#wanted.epoch.id !== mirror.epoch.id) {
      this.#wanted = mirror;
      this.#wantedSinceMs = nowMs;
    }
    if (this.#isBusy || this.#stopped || this.#store === undefined) return;
    const isMissing = isNewer(mirror, this.#stored) || nowMs - this.#lookedAtMs >= lookMs;
    if (!isMissing || nowMs - this.#failedAtMs < againMs) return;
    if (nowMs - this.#wantedSinceMs >= othersMs || isFirst()) void this.#write(this.#store, mirror, nowMs);
  }

  async #write(store: KeyValue, mirror: Mirror, nowMs: number): Promise<void> {
    this.#isBusy = true;
    try {
      await writeMirror(store, mirror);
      this.#lookedAtMs = nowMs;
      if (isNewer(mirror, this.#stored)) this.#stored = mirror;
    } catch (error) {
      this.#failedAtMs = nowMs;
      if (!this.#stopped) this.#options.onProblem(reasonOf(error));
    } finally {
      this.#isBusy = false;
    }
  }

  #note(mirror: Mirror | undefined): void {
    if (mirror === undefined || this.#stopped) return;
    this.#stored = mirror;
    this.#options.onMirror(mirror);
  }
}
