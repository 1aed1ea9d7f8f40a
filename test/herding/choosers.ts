// Who gets a new flow, by the ways that are compared: weights that stay, weights that follow (the real governor and the
// real placement), weights that follow at once, everybody to the least loaded, and the less loaded of two. All hear the same stale reports.

import { compilePlacement, type Placement } from '../../services/dssl/replica/global/placement.ts';
import type { Prng } from '../../shared/base/prng.ts';
import type { WeightSettings } from '../../shared/config/settings.ts';
import type { Load, LoadName } from '../../shared/membership/load.ts';
import { reweigh } from '../../shared/membership/transitions.ts';
import type { View } from '../../shared/membership/view.ts';
import { WeightGovernor } from '../../shared/membership/weights/governor.ts';
import type { Chooser } from './model.ts';

/** From the moment of a change of weights to the moment when new flows go by it. */
const viewDelayMs = 200;

/** Placement by weights that a policy moves. */
export class Governed implements Chooser {
  viewChanges = 0;
  view: View;
  readonly #governor: WeightGovernor;
  #placement: Placement;
  #coming: { readonly view: View; readonly atMs: number } | undefined;

  constructor(view: View, settings: WeightSettings, reportMs: number) {
    this.view = view;
    this.#governor = new WeightGovernor(settings, reportMs);
    this.#placement = compilePlacement(view);
  }

  heard(server: number, load: Load, nowMs: number): void {
    this.#governor.heard({ server: `s${server}`, incarnation: 1, load, heardAtMs: nowMs });
  }

  tick(nowMs: number): void {
    if (this.#coming !== undefined && this.#coming.atMs <= nowMs) {
      this.view = this.#coming.view;
      this.#placement = compilePlacement(this.view);
      this.#coming = undefined;
    }
    const weights = this.#governor.propose(this.view, nowMs);
    if (weights === undefined) return;
    this.viewChanges++;
    this.#coming = { view: reweigh(this.view, weights), atMs: nowMs + viewDelayMs };
  }

  choose(hi: number, lo: number): number {
    return this.#placement.place(hi, lo, -1);
  }
}

/** Placement by weights that follow as one would write it at first: each second as much more as the last report was less. */
export class Eager implements Chooser {
  viewChanges = 0;
  readonly #reports: number[];
  readonly #name: LoadName;
  readonly #view: View;
  #placement: Placement;

  constructor(view: View, name: LoadName) {
    this.#view = view;
    this.#name = name;
    this.#reports = view.members.map(() => 0);
    this.#placement = compilePlacement(view);
  }

  heard(server: number, load: Load): void {
    this.#reports[server] = load[this.#name] ?? 0;
  }

  tick(nowMs: number): void {
    if (nowMs % 1_000 !== 0 || this.#reports.some((load) => load === 0)) return;
    const mean = this.#reports.reduce((a, b) => a + b, 0) / this.#reports.length;
    const weights = this.#reports.map((load) => Math.max(1, Math.min(65_535, Math.round((100 * mean) / load))));
    const view = reweigh(this.#view, new Map(this.#view.members.map(({ server }, index) => [server, weights[index]])));
    this.#placement = compilePlacement(view);
    this.viewChanges++;
  }

  choose(hi: number, lo: number): number {
    return this.#placement.place(hi, lo, -1);
  }
}

/** Every new flow to the server whose last report was the lowest. */
export class LowestReport implements Chooser {
  readonly viewChanges = 0;
  protected readonly reports: number[];
  readonly #name: LoadName;

  constructor(servers: number, name: LoadName) {
    this.reports = Array.from({ length: servers }, () => 0);
    this.#name = name;
  }

  heard(server: number, load: Load): void {
    this.reports[server] = load[this.#name] ?? 0;
  }

  tick(): void {}

  choose(_hi: number, _lo: number): number {
    return this.reports.indexOf(Math.min(...this.reports));
  }
}

/** Every new flow to the lower of two that are drawn. */
export class TwoChoices extends LowestReport {
  readonly #prng: Prng;

  constructor(servers: number, name: LoadName, prng: Prng) {
    super(servers, name);
    this.#prng = prng;
  }

  override choose(): number {
    const one = this.#prng.below(this.reports.length);
    const other = this.#prng.below(this.reports.length - 1);
    const two = other >= one ? other + 1 : other;
    return this.reports[two] < this.reports[one] ? two : one;
  }
}
