// A group of DSSL cores in one hand: frames, control messages and views reach each module when the test says so, in any
// order between sources and in order within one. No clock, no bus; the cores are the production ones.

import type { Egress } from '../../services/dssl/egress/egress.ts';
import { DsslCore, type Proposal } from '../../services/dssl/old/core.ts';
import { noPacket, verdicts, waiting } from '../../services/dssl/replica/verdict.ts';
import { FrameFlags, ProtocolClass, protocolClassShift } from '../../shared/flow/frameFlags.ts';
import { type Frame, FrameBuilder } from '../../shared/log/records/frame.ts';
import type { Candidate, GroupBirth } from '../../shared/membership/transitions.ts';
import { join } from '../../shared/membership/transitions.ts';
import { defaultRules, type GroupRules, type PlacementName, type View } from '../../shared/membership/view.ts';

/** Flags of usual packets. */
export const tcp: number = FrameFlags.TYPE1 | (ProtocolClass.TCP << protocolClassShift);
export const syn: number = tcp | FrameFlags.START;
export const fin: number = tcp | FrameFlags.END;
export const udp: number = ProtocolClass.UDP << protocolClassShift;
export const gtp: number = FrameFlags.TYPE1 | FrameFlags.AGGREGATE | (ProtocolClass.GTP_C << protocolClassShift);

export interface Row {
  readonly flow: number;
  readonly flags: number;
  /** Datagram that this first fragment names; or, with LATER_FRAGMENT in the flags, `flow` is the datagram. */
  readonly datagram?: number;
}

/** Where something goes that is under way to one module. */
type Delivery = () => void;

export interface Module {
  readonly name: string;
  readonly core: DsslCore;
  /** What is under way, by source; each source keeps its order. */
  readonly inbox: Map<string, Delivery[]>;
  /** Flows as the server behind the module saw them start and end. */
  readonly events: string[];
  readonly accepted: string[];
  /** The tier 1 that each accepted packet came by. */
  readonly cameBy: string[];
  listening: boolean;
}

/** Sees what the modules say and do, for those who write it down. */
export interface GroupTrace {
  verdict(module: string, packet: string, verdict: string): void;
  control(from: string, message: Uint8Array): void;
  /** `by` is '' for an operator. */
  view(by: string, view: View): void;
  fetch(by: string): void;
}

export class TestGroup {
  /** Living ones and crashed ones, in the order in which they were added. */
  readonly modules: Module[] = [];
  readonly views: View[] = [];
  /** Verdicts by packet name `tier1/sequence/row`, one by module name. */
  readonly packets = new Map<string, Map<string, string>>();
  nowMs = 1_000_000;
  trace: GroupTrace | undefined;
  readonly #birth: GroupBirth;
  readonly #sequences = new Map<string, number>();
  readonly #ordinals = new Map<string, number>();

  constructor(rules: Partial<GroupRules> = {}, placement: PlacementName = 'rendezvous') {
    this.#birth = { group: 'g1', cluster: 'c', placement, seed: 7, rules: { ...defaultRules, ...rules } };
  }

  get view(): View {
    return this.views[this.views.length - 1];
  }

  /**
   * A module that listens, knows the views, and asks to join. Nothing is delivered yet. One whose name was there before is
   * another life of that server.
   */
  add(name: string, weight = 100): Module {
    const former = this.modules.filter((module) => module.name === name);
    if (former.some(({ listening }) => listening)) throw new Error(`${name} is there already`);
    const candidate: Candidate = { server: name, incarnation: former.length + 1, weight };
    const events: string[] = [];
    const accepted: string[] = [];
    const cameBy: string[] = [];
    let tier1 = '';
    const framesSeen = new Set<string>();
    const egress: Egress = {
      begin: (_data, _timestampMs, tier1Id) => {
        tier1 = tier1Id;
      },
      add: (_offset, _length, _hi, lo) => {
        accepted.push(`${lo}`);
        cameBy.push(tier1);
      },
      end: () => undefined,
      flowStarted: (_hi, lo) => void events.push(`+${lo}`),
      flowEnded: (_hi, lo, reason) => void events.push(`-${lo} ${reason}`),
    };
    const note = (id: string, verdict: number) => {
      if (verdict === noPacket || verdict === waiting) return;
      const byModule = this.packets.get(id);
      if (byModule === undefined) throw new Error(`nobody sent ${id}`);
      if (byModule.has(name)) throw new Error(`${name} gave two verdicts on ${id}`);
      byModule.set(name, verdicts[verdict]);
      this.trace?.verdict(name, id, verdicts[verdict]);
    };
    const core = new DsslCore(
      { group: 'g1', candidate, maxFlows: 100_000 },
      {
        egress,
        publishControl: (message) => {
          this.trace?.control(name, message);
          for (const other of this.modules) {
            if (other.name !== name && other.listening)
              this.#send(other, name, () => other.core.onControl(message, this.nowMs));
          }
        },
        fetchViews: () => {
          this.trace?.fetch(name);
          const module = this.#module(name);
          for (const view of this.views) this.#send(module, 'store', () => module.core.onView(view, this.nowMs));
        },
        propose: (step) => this.propose(step, name),
        audit: {
          onFrame: (frame: Frame, codes) => {
            framesSeen.add(`${frame.tier1Id}/${frame.sequence}`);
            for (let row = 0; row < frame.count; row++) note(`${frame.tier1Id}/${frame.sequence}/${row}`, codes[row]);
          },
          onLate: (tier1Id, sequence, row, code) => {
            if (!framesSeen.has(`${tier1Id}/${sequence}`)) throw new Error('a late verdict came before its frame');
            note(`${tier1Id}/${sequence}/${row}`, code);
          },
        },
      },
    );
    const module: Module = { name, core, inbox: new Map(), events, accepted, cameBy, listening: true };
    this.modules.push(module);
    for (const view of this.views) this.#send(module, 'store', () => core.onView(view, this.nowMs));
    this.#write(join(this.views.at(-1), this.#birth, candidate), name);
    return module;
  }

  /** It hears nothing any more and is gone, with all it knew; its place in the view stays. */
  crash(module: Module): void {
    module.listening = false;
    module.inbox.clear();
  }

  /** Writes the next view, as compare-and-set would, and sends it to everybody. */
  propose(step: Proposal, by = ''): void {
    this.#write(step(this.view), by);
  }

  /** Sends a frame to every listening module; `viewNumber` is what that tier 1 holds. Returns the packets' names. */
  send(rows: readonly Row[], { tier1 = 't1', viewNumber = this.view.number, timestampMs = this.nowMs } = {}): string[] {
    const sequence = (this.#sequences.get(tier1) ?? 0) + 1;
    this.#sequences.set(tier1, sequence);
    const startOrdinal = this.#ordinals.get(tier1) ?? 0;
    this.#ordinals.set(tier1, startOrdinal + rows.filter(({ flags }) => flags & FrameFlags.START).length);
    const builder = new FrameBuilder();
    const names: string[] = [];
    for (const { flow, flags, datagram } of rows) {
      if (datagram !== undefined) builder.addDatagram(hiOf(datagram), datagram, FrameFlags.DATAGRAM);
      const name = `${tier1}/${sequence}/${builder.count}`;
      builder.add(Buffer.from(`packet of ${flow}`), 0, 10, hiOf(flow), flow, flags);
      this.packets.set(name, new Map());
      names.push(name);
    }
    const message = builder.finish({ tier1Id: tier1, sequence, viewNumber, mapVersion: 1, timestampMs, startOrdinal });
    for (const module of this.modules) {
      if (module.listening) this.#send(module, tier1, () => module.core.onFrame(message, this.nowMs));
    }
    return names;
  }

  /** Delivers the oldest thing of one source to one module; false when there is none. */
  deliver(module: Module, source: string): boolean {
    const queue = module.inbox.get(source);
    const next = queue?.shift();
    next?.();
    return next !== undefined;
  }

  /** The oldest thing of one source never reaches the module; false when there is none. */
  lose(module: Module, source: string): boolean {
    return module.inbox.get(source)?.shift() !== undefined;
  }

  /** Delivers everything under way, and what that causes, and lets time pass; idle tier 1s say where they stand. */
  settle(ticks = 60): void {
    for (let tick = 0; tick < ticks; tick++) {
      for (const tier1 of this.#sequences.keys()) this.send([], { tier1 });
      for (let busy = true; busy; ) {
        busy = false;
        for (const module of this.modules) {
          for (const source of [...module.inbox.keys()]) while (this.deliver(module, source)) busy = true;
        }
      }
      this.tick(100);
    }
  }

  tick(ms: number): void {
    this.nowMs += ms;
    for (const module of this.modules) if (module.listening) module.core.tick(this.nowMs);
  }

  /** Sends, delivers everywhere at once, and says what each module made of the (only) packet. */
  now(row: Row, options: Parameters<TestGroup['send']>[1] = {}): Record<string, string> {
    const [name] = this.send([row], options);
    for (const module of this.modules) {
      for (const source of [...module.inbox.keys()]) while (this.deliver(module, source));
    }
    return Object.fromEntries(this.packets.get(name) ?? []);
  }

  /** Names of the servers that accepted a packet. */
  acceptedBy(packet: string): string[] {
    return [...(this.packets.get(packet) ?? [])]
      .filter(([, verdict]) => verdict.startsWith('accept'))
      .map(([name]) => name);
  }

  /** Server that accepts this packet when it is sent and delivered now, and nobody else does; '' for none. */
  owner(row: Row, options: Parameters<TestGroup['send']>[1] = {}): string {
    const takers = Object.entries(this.now(row, options)).filter(([, verdict]) => verdict.startsWith('accept'));
    if (takers.length > 1) throw new Error(`accepted by ${takers.map(([name]) => name).join(' and ')}`);
    return takers[0]?.[0] ?? '';
  }

  #write(next: View, by: string): void {
    if (next === this.views.at(-1)) return;
    this.views.push(next);
    this.trace?.view(by, next);
    for (const module of this.modules) {
      if (module.listening) this.#send(module, 'store', () => module.core.onView(next, this.nowMs));
    }
  }

  #module(name: string): Module {
    const module = this.modules.findLast((each) => each.name === name);
    if (module === undefined) throw new Error(`no module ${name}`);
    return module;
  }

  #send(module: Module, source: string, delivery: Delivery): void {
    const queue = module.inbox.get(source);
    if (queue === undefined) module.inbox.set(source, [delivery]);
    else queue.push(delivery);
  }
}

/** A group of so many servers a, b, c, ..., joined and settled. */
export function groupOf(
  servers: number,
  rules: Partial<GroupRules> = {},
  placement: PlacementName = 'rendezvous',
): TestGroup {
  const group = new TestGroup(rules, placement);
  for (let index = 0; index < servers; index++) {
    group.add(String.fromCharCode(97 + index));
    group.settle(20);
  }
  return group;
}

/** Upper half of the hash of a flow that tests know by a small number; spread, as hashes are. */
export function hiOf(flow: number): number {
  return Math.imul(flow + 1, 0x9e3779b1) | 0;
}
