// What tests of adaptive weights share: loads and views in few words, and a loop in which weights make load, load is
// reported and reports make weights, without chance, so that what the policy itself does can be seen.

import { defaultSettings, type WeightSettings } from '../../shared/config/settings.ts';
import type { Load } from '../../shared/membership/load.ts';
import { reweigh } from '../../shared/membership/transitions.ts';
import { defaultRules, type Member, type View } from '../../shared/membership/view.ts';
import { WeightGovernor } from '../../shared/membership/weights/governor.ts';

const idle: Load = {
  flows: 0,
  newFlows: 0,
  packets: 0,
  bytes: 0,
  loopDelayMs: 0,
  cpu: 0,
  memoryBytes: 0,
  tableFill: 0,
  temperature: undefined,
  handler: undefined,
  latencyMs: undefined,
  loss: undefined,
};

/** A load that is idle but for what is named. */
export function loadOf(some: Partial<Load>): Load {
  return { ...idle, ...some };
}

/** Settings of weights, the defaults but for some. */
export function weightSettings(some: Partial<WeightSettings>): WeightSettings {
  return { ...defaultSettings.weights, ...some };
}

/** A view of active members s0, s1, ... given by weight, or weight and other things. */
export function viewOf(members: readonly (number | Partial<Member>)[]): View {
  return {
    group: 'g1',
    number: 1,
    placement: 'rendezvous',
    seed: 1,
    rules: defaultRules,
    members: members.map((some, index) => ({
      server: `s${index}`,
      incarnation: 1,
      number: index,
      state: 'active',
      weight: 100,
      base: 100,
      flows: 0,
      ...(typeof some === 'number' ? { weight: some } : some),
    })),
  };
}

export function weightsOf(view: View): number[] {
  return view.members.map(({ weight }) => weight);
}

export interface Change {
  readonly atMs: number;
  readonly before: View;
  readonly after: View;
}

/** A server of the loop: what it has, and what it then reports of its load. */
export interface LoopServer {
  readonly speed: number;
  flows: number;
  newFlows: number;
}

export interface LoopOptions {
  readonly view: View;
  readonly settings: WeightSettings;
  readonly speeds: readonly number[];
  /** New flows a second in the whole group, and the seconds that each lives. */
  readonly newFlows: number;
  readonly lifetimeSeconds: number;
  /** What a server reports besides its flows and new flows. */
  readonly load: (server: LoopServer, index: number) => Partial<Load>;
}

/** The loop: seconds pass, each with a report of everybody and a chance to change weights. */
export class Loop {
  view: View;
  governor: WeightGovernor;
  nowMs = 0;
  readonly changes: Change[] = [];
  readonly servers: readonly LoopServer[];
  readonly #options: LoopOptions;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.view = options.view;
    this.governor = new WeightGovernor(options.settings);
    const each = (options.newFlows * options.lifetimeSeconds) / options.speeds.length;
    this.servers = options.speeds.map((speed) => ({ speed, flows: each, newFlows: each / options.lifetimeSeconds }));
  }

  /** Lets seconds pass, and says how many changes of weights came in them. */
  pass(seconds: number): number {
    const before = this.changes.length;
    for (let second = 0; second < seconds; second++) this.#second();
    return this.changes.length - before;
  }

  /** The largest of the values over their average. */
  maxOverAvg(value: (server: LoopServer, index: number) => number): number {
    const values = this.servers.map(value);
    return (Math.max(...values) * values.length) / values.reduce((a, b) => a + b, 0);
  }

  #second(): void {
    const { newFlows, lifetimeSeconds, load } = this.#options;
    this.nowMs += 1_000;
    const all = weightsOf(this.view).reduce((a, b) => a + b, 0);
    const stays = Math.exp(-1 / lifetimeSeconds);
    for (const [index, server] of this.servers.entries()) {
      server.newFlows = (newFlows * this.view.members[index].weight) / all;
      server.flows = server.flows * stays + server.newFlows * lifetimeSeconds * (1 - stays);
      const { flows, newFlows: rate } = server;
      this.governor.heard({
        server: `s${index}`,
        incarnation: 1,
        load: loadOf({ flows, newFlows: rate, ...load(server, index) }),
        heardAtMs: this.nowMs,
      });
    }
    const weights = this.governor.propose(this.view, this.nowMs);
    if (weights === undefined) return;
    const after = reweigh(this.view, weights);
    this.changes.push({ atMs: this.nowMs, before: this.view, after });
    this.view = after;
  }
}
