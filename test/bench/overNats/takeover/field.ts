// A group under load whose servers are killed: a NATS server, five servers, a tier 1 and `flowherd traffic`, each a process of its own. Servers
// write down what they get (test/support/witnessHandler.ts), so a packet that was lost can be told from a receipt that was.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TrafficReport } from '../../../../services/loadgen/report.ts';
import { reasonOf } from '../../../../shared/base/errors.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { connectNats } from '../../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../../shared/bus/subjects.ts';
import { decodeGossip } from '../../../../shared/membership/gossip.ts';
import type { View } from '../../../../shared/membership/view.ts';
import { Service } from '../../../support/processes.ts';
import { ViewWatch } from '../../../support/viewWatch.ts';
import { readTestimony, type Testimony } from '../../../support/witness.ts';
import { residentBytesOf } from '../../memory.ts';
import { cpuMsOf, machineMs } from '../../processes/clock.ts';
import { checkedReport } from '../trafficReport.ts';

export const packetsPerSecond = 10_000;
const flows = 1_000;
const group = 'g1';
/** The run is ended when the last kill is over; by itself it would end here, and that is a failure. */
const mostSeconds = 3_600;
/** On a machine that is busy with other things all takes longer. */
const giveUpMs = 60_000;
/** Flows are over within this: so long a server that comes back has less than its share. */
const seasonedMs = 20_000;
const seasonedLeast = 2;
const witness = fileURLToPath(new URL('../../../support/witnessHandler.ts', import.meta.url));

export interface FieldOptions {
  readonly url: string;
  readonly cluster: string;
  /** Options of the cluster, as the first process has them. */
  readonly options: readonly string[];
  /** Names of the servers, and what each has of its own. */
  readonly servers: ReadonlyMap<string, readonly string[]>;
}

/** What a server's death came to. */
export interface Kill {
  readonly name: string;
  /** From the signal to the view without it. */
  readonly viewMs: number;
  /** Flows of the survivor that has the most, over the mean, among those that had been there for long; undefined where there were too few of them. */
  readonly mostOverMean: number | undefined;
}

/** What actors spend while nothing happens. */
export interface Spent {
  /** Processor time of one, as a share of a core. */
  readonly cores: number;
  readonly megabytes: number;
}

export class Field {
  readonly #options: FieldOptions;
  readonly #bus: Bus;
  readonly #views: ViewWatch;
  /** Those that run, by name. */
  readonly #services: Map<string, Service> = new Map();
  readonly #all: Service[] = [];
  readonly #folder: string;
  readonly #startedAtMs: Map<string, number> = new Map();
  /** Flows of each server, as it said last. */
  readonly #flows: Map<string, number> = new Map();

  private constructor(options: FieldOptions, bus: Bus, views: ViewWatch, folder: string) {
    this.#options = options;
    this.#bus = bus;
    this.#views = views;
    this.#folder = folder;
  }

  /** Everything runs, and every server gets its part. */
  static async start(options: FieldOptions): Promise<Field> {
    const { url, cluster, servers } = options;
    const bus = await connectNats({ url, name: 'bench' });
    const subjects = subjectsOf(cluster);
    const init = new Service(['init', '--bus', url, '--cluster', cluster, '--groups', '1', ...options.options]);
    if ((await init.ended()) !== 0) throw new Error(`flowherd init failed:\n${init.messages.join('\n')}`);
    const views = await ViewWatch.of(bus, subjects, group);
    const field = new Field(options, bus, views, mkdtempSync(join(tmpdir(), 'flowherd-bench-')));
    bus.subscribe(subjects.gossip(group), (bytes) => {
      const message = decodeGossip(bytes);
      if (message?.kind === 'state' && message.load !== undefined) field.#flows.set(message.server, message.load.flows);
    });
    try {
      await Promise.all([...servers.keys()].map((name) => field.#startServer(name)));
      const tier1 = field.#start('tier1', ['tier1', ...field.#common, '--input', 'bus', '--json']);
      await tier1.says(/taking packets from the bus/);
      // Connections and flows of UDP: the former go on only where somebody stands behind their server.
      const packets = ['--protocols', 'tcp:50,udp:50', '--flows', `${flows}`, '--packets-per-flow', '20-200'];
      const pace = ['--rate', `${packetsPerSecond}`, '--warm-up', '0', '--seconds', `${mostSeconds}`];
      const to = ['traffic', '--to', url, '--cluster', cluster, '--json'];
      await field.#start('traffic', [...to, ...packets, ...pace]).says(/^receipts come from/);
      return field;
    } catch (error) {
      await field.stop();
      throw error;
    }
  }

  /** What the actors spend in so many seconds. */
  async watch(seconds: number): Promise<Spent> {
    const pids = [...this.#options.servers.keys()].map((name) => this.#server(name).pid);
    const [cpuMs, atMs] = [cpuMsOf(pids), machineMs()];
    await pause(1_000 * seconds);
    const cores = (cpuMsOf(pids) - cpuMs) / (machineMs() - atMs) / pids.length;
    const bytes = pids.reduce((sum, pid) => sum + residentBytesOf(pid), 0) / pids.length;
    return { cores, megabytes: bytes / 1e6 };
  }

  /** Kills a server, waits until the group goes on without it, and starts it again. */
  async kill(name: string): Promise<Kill> {
    const server = this.#server(name);
    const out = this.#views.when((view) => stateOf(view, name) === undefined, `${name} is still a member`, giveUpMs);
    const killedAtMs = performance.now();
    server.signal('SIGKILL');
    const viewMs = (await out).atMs - killedAtMs;
    await server.ended();
    this.#flows.clear();
    // Each of the others has said once more how many flows it has.
    const survivors = (this.#views.newest as View).members.filter(({ state }) => state === 'active').length;
    const giveUpAtMs = performance.now() + giveUpMs;
    while (this.#flows.size < survivors && performance.now() < giveUpAtMs) await pause(20);
    const isSeasoned = (each: string) => killedAtMs - (this.#startedAtMs.get(each) ?? 0) > seasonedMs;
    // One that only stands behind others holds none as long as nothing happens.
    const held = [...this.#flows].flatMap(([each, many]) =>
      many > 0 && each !== name && isSeasoned(each) ? [many] : [],
    );
    const mean = held.reduce((sum, each) => sum + each, 0) / held.length;
    const mostOverMean = held.length < seasonedLeast ? undefined : Math.max(...held) / mean;
    const active = this.#views.when((view) => stateOf(view, name) === 'active', `${name} is not active`, giveUpMs);
    try {
      await Promise.all([this.#startServer(name), active]);
    } catch (error) {
      throw new Error(`${reasonOf(error)}; it said:\n${this.#server(name).messages.join('\n')}`);
    }
    this.#startedAtMs.set(name, performance.now());
    return { name, viewMs, mostOverMean };
  }

  /** Ends the run: what the generator says of it, and what the servers wrote down. */
  async end(): Promise<{ readonly report: TrafficReport; readonly testimony: Testimony }> {
    const traffic = this.#server('traffic');
    const report = checkedReport(traffic, await traffic.end('SIGINT'));
    if (!report.interrupted) throw new Error('flowherd traffic ended before the last kill was over');
    return { report, testimony: readTestimony(this.#folder, report.sent) };
  }

  /** Lines of the logs of all processes that match, also of those that were killed. */
  said(pattern: RegExp): string[] {
    return this.#all.flatMap(({ messages }) => messages.filter((line) => pattern.test(line)));
  }

  async stop(): Promise<void> {
    this.#views.stop();
    await Promise.all([...this.#services.values()].map((service) => service.end('SIGKILL')));
    await this.#bus.close();
    rmSync(this.#folder, { recursive: true });
  }

  get #common(): string[] {
    const { url, cluster } = this.#options;
    return ['--bus', url, '--cluster', cluster];
  }

  #server(name: string): Service {
    return this.#services.get(name) as Service;
  }

  #start(name: string, args: readonly string[]): Service {
    const service = new Service(args);
    this.#services.set(name, service);
    this.#all.push(service);
    return service;
  }

  async #startServer(name: string): Promise<void> {
    const own = ['--server', name, '--receipts', '--drain-seconds', '0', ...(this.#options.servers.get(name) ?? [])];
    const handler = ['--handler', witness, '--handler-option', `dir=${this.#folder}`];
    await this.#start(name, ['dssl', ...this.#common, ...own, ...handler]).says(/server is active/);
  }
}

function stateOf(view: View, name: string): string | undefined {
  return view.members.find(({ server }) => server === name)?.state;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
