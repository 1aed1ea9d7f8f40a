// A group under a random schedule: two tier 1s that learn of views at different times, frames, control messages and views
// that reach each module in any order between sources, servers that join and drain meanwhile. Nothing is lost here, so
// every packet must be accepted by exactly one server, and a flow must stay where it is.
//
// Everything follows from one seed. The cores are the production ones; what is simulated is the order of events.

import { Prng } from '../../shared/base/prng.ts';
import { FrameFlags } from '../../shared/flow/frameFlags.ts';
import { groupOf, type Row, syn, type TestGroup, tcp, udp } from './group.ts';

export interface Flow {
  readonly id: number;
  readonly tier1: string;
  readonly type1: boolean;
  readonly packets: string[];
}

const tier1s = ['t1', 't2'];

export class Schedule {
  readonly flows: Flow[] = [];
  readonly group: TestGroup;
  readonly #prng: Prng;
  readonly #held = new Map<string, number>();
  #joined = 0;
  #drained = 0;
  #datagrams = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    const typeOneMethod = this.#prng.pick(['fig-6', 'fig-7'] as const);
    this.group = groupOf(this.#prng.between(1, 4), { typeOneMethod, tableFirst: this.#prng.chance(1, 2) });
    for (const tier1 of tier1s) {
      this.#held.set(tier1, this.group.view.number);
      this.group.send([], { tier1 });
    }
    // A server that drains waits for the tier 1s it has heard; one that it never heard is given time, not waited for.
    this.group.settle(1);
  }

  run(steps = 400): void {
    const prng = this.#prng;
    for (let step = 0; step < steps; step++) {
      if (prng.chance(4, 10)) this.#send();
      for (let deliveries = prng.below(6); deliveries > 0; deliveries--) this.#deliver();
      if (prng.chance(1, 10)) this.#learn(prng.pick(tier1s));
      if (prng.chance(1, 12)) this.#tick();
      if (prng.chance(1, 60) && this.#joined < 3) this.group.add(`j${++this.#joined}`);
      if (prng.chance(1, 80)) this.#drain();
    }
    for (let round = 0; round < 40; round++) {
      for (const tier1 of tier1s) this.#learn(tier1);
      this.group.settle(1);
    }
  }

  #send(): void {
    const prng = this.#prng;
    if (this.flows.length === 0 || prng.chance(1, 3)) {
      const flow = { id: this.flows.length + 1, tier1: prng.pick(tier1s), type1: prng.chance(1, 2), packets: [] };
      this.flows.push(flow);
      this.#packet(flow, flow.type1 ? syn : udp);
      return;
    }
    const flow = prng.pick(this.flows);
    if (!flow.type1 && prng.chance(1, 5)) this.#fragments(flow);
    else this.#packet(flow, flow.type1 && prng.chance(1, 8) ? syn : flow.type1 ? tcp : udp);
  }

  #packet(flow: Flow, flags: number): void {
    this.#frame(flow, [{ flow: flow.id, flags }]);
  }

  /** A datagram in three fragments, the first one not always first. */
  #fragments(flow: Flow): void {
    const datagram = 1_000_000 + ++this.#datagrams;
    const later: Row = { flow: datagram, flags: FrameFlags.LATER_FRAGMENT };
    const rows: Row[] = [{ flow: flow.id, flags: udp, datagram }, later, later];
    this.#prng.shuffle(rows);
    for (const row of rows) this.#frame(flow, [row]);
  }

  #frame(flow: Flow, rows: readonly Row[]): void {
    flow.packets.push(...this.group.send(rows, { tier1: flow.tier1, viewNumber: this.#held.get(flow.tier1) ?? 0 }));
  }

  #deliver(): void {
    const module = this.#prng.pick(this.group.modules);
    const sources = [...module.inbox.keys()];
    if (sources.length > 0) this.group.deliver(module, this.#prng.pick(sources));
  }

  #learn(tier1: string): void {
    const held = this.#held.get(tier1) ?? 0;
    if (held < this.group.view.number) this.#held.set(tier1, held + 1);
  }

  #tick(): void {
    for (const tier1 of tier1s) this.group.send([], { tier1, viewNumber: this.#held.get(tier1) ?? 0 });
    this.group.tick(20);
  }

  #drain(): void {
    const active = this.group.view.members.filter(({ state }) => state === 'active');
    if (active.length < 2 || this.#drained >= 2) return;
    this.#drained++;
    const { server } = this.#prng.pick(active);
    this.group.modules.find(({ name }) => name === server)?.core.drain(Number.POSITIVE_INFINITY);
  }
}
