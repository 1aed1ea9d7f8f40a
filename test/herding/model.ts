// A small queueing model for one question: how evenly is a group loaded when new flows are placed by what its servers
// reported a while ago? Flows arrive as a Poisson process, live for Pareto distributed times, cost Pareto distributed
// amounts of work, and stay where they were placed. Servers have speeds. Everybody reports now and then, at moments of
// its own, and reports take a while to arrive. All of it is drawn from a seed and happens in virtual time, so a run gives
// the same figures at any time, however busy the machine is.

import { Prng } from '../../shared/base/prng.ts';
import type { Load } from '../../shared/membership/load.ts';

/** Decides for new flows by what has been reported. */
export interface Chooser {
  /** A report has arrived; it tells of a moment before. */
  heard(server: number, load: Load, nowMs: number): void;
  /** Ten times a second. */
  tick(nowMs: number): void;
  /** The server of a new flow. */
  choose(hi: number, lo: number): number;
  /** Changes of the view so far. */
  readonly viewChanges: number;
}

export interface Setup {
  /** One entry a server. */
  readonly speeds: readonly number[];
  /** Flows that a server holds on average. */
  readonly flowsEach: number;
  /** Whether flows are so much work each, and last longer at slow servers, instead of lasting for a time of their own. */
  readonly slowLastLonger?: boolean;
  /** How often everybody reports. */
  readonly reportMs: number;
  /** Time to settle, and time that counts after it. */
  readonly settleSeconds: number;
  readonly measureSeconds: number;
}

export interface Outcome {
  /** Load of the most loaded server over the average load, by flows' work and servers' speeds; mean over the seconds. */
  readonly maxOverAvg: number;
  /** The same of flows held. */
  readonly flowsMaxOverAvg: number;
  /** The worst second. */
  readonly worst: number;
  readonly viewChangesPerMinute: number;
  readonly flows: number;
}

const stepMs = 10;
/** How long a report is on its way: up to so long. */
const delayMs = 500;
const tickMs = 100;
/** Processor time of every server when the work is spread exactly by speed. */
const busy = 0.5;
const lifetimeMs = { least: 3_000, most: 300_000, shape: 1.5 };
const work = { least: 1, most: 50, shape: 1.5 };

/** Runs a set-up under a chooser. Choosers that draw get a generator of their own from the same seed. */
export function run(setup: Setup, seed: number, makeChooser: (prng: Prng) => Chooser): Outcome {
  const prng = new Prng(seed);
  const chooser = makeChooser(prng.fork('chooser'));
  const group = new Group(setup, prng.fork('group'));
  const steps = ((setup.settleSeconds + setup.measureSeconds) * 1_000) / stepMs;
  const measureFrom = (setup.settleSeconds * 1_000) / stepMs;
  const samples: Sample[] = [];
  let changesBefore = 0;
  for (let step = 0; step < steps; step++) {
    const nowMs = step * stepMs;
    group.step(step, chooser);
    if (nowMs % tickMs === 0) chooser.tick(nowMs);
    if (step === measureFrom) changesBefore = chooser.viewChanges;
    if (step >= measureFrom && nowMs % 1_000 === 0) samples.push(group.sample());
  }
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const loads = samples.map(({ maxOverAvg }) => maxOverAvg);
  return {
    maxOverAvg: mean(loads),
    flowsMaxOverAvg: mean(samples.map(({ flowsMaxOverAvg }) => flowsMaxOverAvg)),
    worst: Math.max(...loads),
    viewChangesPerMinute: ((chooser.viewChanges - changesBefore) * 60) / setup.measureSeconds,
    flows: group.arrived,
  };
}

interface Sample {
  readonly maxOverAvg: number;
  readonly flowsMaxOverAvg: number;
}

/** The servers with their flows, and the reports on their way. */
class Group {
  arrived = 0;
  readonly #setup: Setup;
  readonly #prng: Prng;
  readonly #flows: number[];
  readonly #work: number[];
  readonly #newFlows: number[];
  /** Flows that end, as server and work in turn, and reports that arrive, by step. */
  readonly #ends: number[][] = [];
  readonly #reports: { server: number; load: Load }[][] = [];
  readonly #phases: number[];
  readonly #gapMs: number;
  readonly #cpuPerWork: number;
  readonly #meanSpeed: number;
  #nextArrivalMs = 0;

  constructor(setup: Setup, prng: Prng) {
    this.#setup = setup;
    this.#prng = prng;
    const { speeds, flowsEach, reportMs } = setup;
    this.#flows = speeds.map(() => 0);
    this.#work = speeds.map(() => 0);
    this.#newFlows = speeds.map(() => 0);
    this.#phases = speeds.map(() => prng.below(reportMs / stepMs));
    this.#gapMs = meanOf(lifetimeMs) / (speeds.length * flowsEach);
    this.#meanSpeed = speeds.reduce((a, b) => a + b, 0) / speeds.length;
    const allWork = speeds.length * flowsEach * meanOf(work);
    this.#cpuPerWork = (busy * speeds.length * this.#meanSpeed) / allWork;
  }

  step(step: number, chooser: Chooser): void {
    const ends = this.#ends[step] ?? [];
    delete this.#ends[step];
    for (let at = 0; at < ends.length; at += 2) {
      this.#flows[ends[at]]--;
      this.#work[ends[at]] -= ends[at + 1];
    }
    for (const { server, load } of this.#reports[step] ?? []) chooser.heard(server, load, step * stepMs);
    delete this.#reports[step];
    const { reportMs } = this.#setup;
    for (const [server, phase] of this.#phases.entries()) {
      if (step % (reportMs / stepMs) === phase) this.#report(server, step);
    }
    for (; this.#nextArrivalMs < (step + 1) * stepMs; this.#nextArrivalMs += this.#prng.exponential(this.#gapMs)) {
      this.#arrive(step, chooser);
    }
  }

  sample(): Sample {
    const { speeds } = this.#setup;
    const ratio = (values: readonly number[]) =>
      (Math.max(...values) * values.length) / values.reduce((a, b) => a + b, 0);
    return {
      maxOverAvg: ratio(speeds.map((speed, server) => this.#work[server] / speed)),
      flowsMaxOverAvg: ratio(this.#flows),
    };
  }

  #arrive(step: number, chooser: Chooser): void {
    const prng = this.#prng;
    const ownMs = prng.pareto(lifetimeMs.least, lifetimeMs.most, lifetimeMs.shape);
    const ownCost = prng.pareto(work.least, work.most, work.shape);
    const server = chooser.choose(prng.i32(), prng.i32());
    const pace = this.#setup.slowLastLonger === true ? this.#setup.speeds[server] / this.#meanSpeed : 1;
    const lifeMs = ownMs / pace;
    const cost = ownCost * pace;
    this.arrived++;
    this.#flows[server]++;
    this.#newFlows[server]++;
    this.#work[server] += cost;
    (this.#ends[step + Math.max(1, Math.round(lifeMs / stepMs))] ??= []).push(server, cost);
  }

  #report(server: number, step: number): void {
    const flows = this.#flows[server];
    const cpu = (this.#work[server] * this.#cpuPerWork) / this.#setup.speeds[server];
    const load: Load = {
      flows,
      newFlows: (this.#newFlows[server] * 1_000) / this.#setup.reportMs,
      packets: this.#work[server] * 10,
      bytes: this.#work[server] * 8_000,
      loopDelayMs: 1,
      // A process cannot say by how much it has too much to do.
      cpu: Math.min(1, cpu),
      memoryBytes: 100e6 + 500 * flows,
      tableFill: flows / 1e6,
      temperature: undefined,
      handler: undefined,
      latencyMs: undefined,
      loss: undefined,
    };
    this.#newFlows[server] = 0;
    (this.#reports[step + 1 + this.#prng.below(delayMs / stepMs)] ??= []).push({ server, load });
  }
}

/** The mean of a Pareto distribution with its tail cut, by its density. */
function meanOf({ least, most, shape }: { least: number; most: number; shape: number }): number {
  const whole = 1 - (least / most) ** shape;
  return ((shape * least ** shape) / whole / (shape - 1)) * (least ** (1 - shape) - most ** (1 - shape));
}
