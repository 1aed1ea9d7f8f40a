// `flowherd traffic`: drives a cluster with generated packets and proves what happened to each of them. Every packet carries
// a number, servers answer with the numbers they got, and a ledger puts the two together.

import { randomBytes } from 'node:crypto';
import { Command, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import { embeddedUrl } from '../../../shared/bus/open.ts';
import { FrameFlags, isSingle } from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../shared/flow/keyer.ts';
import { Bar } from '../../loadgen/bar.ts';
import { Drive } from '../../loadgen/drive.ts';
import { TrafficGenerator } from '../../loadgen/generator/generator.ts';
import { Newcomers } from '../../loadgen/newcomers.ts';
import { type TrafficReport, trafficReport } from '../../loadgen/report.ts';
import { longestStandstillMs, Run } from '../../loadgen/run.ts';
import { trafficInWords } from '../../loadgen/words.ts';
import { counted } from '../../ops/numbers.ts';
import { addClusterOptions, type ClusterOptions, keyerFor, shortLivedCluster } from '../config/settings.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { nameOption, wholeNumber } from '../process/parse.ts';
import { onSignals } from '../process/signals.ts';
import {
  type Field,
  livesThatEnded,
  localField,
  lookAt,
  remoteField,
  silentMembers,
  whyNobody,
} from './traffic/field.ts';
import { addPacketOptions, generatorOptionsFrom, mostPps, type PacketOptions } from './traffic/options.ts';

export interface TrafficOptions extends ClusterOptions, PacketOptions {
  readonly to?: string;
  readonly bus?: string;
  readonly cluster: string;
  readonly concurrency?: number;
  readonly seconds: number;
  readonly warmUp: number;
  readonly wait: number;
  readonly servers: number;
  readonly json?: boolean;
}

const example = `
Examples:
  $ npx flowherd traffic
  $ npx flowherd traffic --groups 2 --servers 5 --placement maglev --mix voip --flows 5000
  $ npx flowherd traffic --to nats://127.0.0.1:4222 --rate 50000 --seconds 30
  $ npx flowherd traffic --to nats://127.0.0.1:4222 --concurrency 2000 --json

With --to, the cluster's tier 1s run with "--input bus" and its servers with "--receipts". Without it, a whole cluster is
made inside this process.

Exit code 0 when every packet is accounted for, none was accepted twice and no flow moved; 1 otherwise. Ctrl-C ends it
early, with the report of what was sent so far; a second Ctrl-C ends it at once.
${environmentHelp}`;

export function trafficCommand(environment: () => Environment, terminal: string | undefined): Command {
  const command = new Command('traffic')
    .summary('drive a cluster with generated packets and prove what happened to each')
    .description('Drives a cluster with generated packets and proves of each whether exactly one server got it.')
    .addOption(new Option('--to <url>', 'address of the NATS server on which the cluster runs').env('FLOWHERD_BUS'))
    .addOption(
      nameOption('--cluster <name>', 'name of the cluster on that server').default('default').env('FLOWHERD_CLUSTER'),
    )
    .addOption(
      new Option(
        '--bus <url>',
        'in place of --to: a cluster inside this process, on the "embedded" bus (default) or over a NATS server',
      ),
    )
    .addOption(
      new Option('--concurrency <n>', 'in place of --rate: at most so many packets without a verdict')
        .argParser(wholeNumber(1, maxConcurrency))

        .conflicts(['rate', 'flowsPerSecond']),
    )
    .addOption(new Option('--seconds <n>', 'length of the run').default(10).argParser(wholeNumber(1, 86_400)))
    .addOption(
      new Option('--warm-up <seconds>', 'before that: checked like the rest, but not in the figures')
        .default(1)
        .argParser(wholeNumber(0, 3_600)),
    )
    .addOption(
      new Option('--wait <seconds>', 'longest wait for a tier 1 that takes packets')
        .default(10)
        .argParser(wholeNumber(0, 3_600)),
    )
    .option('--json', 'the report as JSON');
  addPacketOptions(command);
  command.optionsGroup('Options of the cluster inside this process (--bus):');
  addClusterOptions(command, shortLivedCluster).addOption(
    new Option('--servers <n>', 'servers in each group').default(3).argParser(wholeNumber(1, 64)),
  );
  const seed = command.options.find(({ long }) => long === '--seed');
  if (seed !== undefined) seed.description = 'seed of the traffic, and of the placement of that cluster';
  return command.addHelpText('after', example).action(async (options: TrafficOptions) => {
    // The reader of a pipe may go away; nothing is left to be told to anybody then.
    process.stdout.on('error', () => process.exit(1));
    const isOwn = command.getOptionValueSource('bus') !== undefined;
    if (isOwn && command.getOptionValueSource('to') === 'cli') {
      throw new FlowherdError(errorCodes.badConfig, '--to and --bus: a run drives one cluster, so name one of them');
    }
    const { to, ...others } = options;
    const report = await traffic(isOwn || to === undefined ? others : options, environment(), terminal);
    process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : trafficInWords(report));
    if (report.problems.length > 0) process.exitCode = 1;
  });
}

const maxConcurrency = 1_000_000;
/** A packet is given up so long after it was sent. */
const graceMs = 3_000;
/** Some 50 MB of ledger. */
const mostAtStandstill = 2 ** 21;
/** In a closed loop nobody says how many packets there will be; the ledger follows so many a second. */
const fastPps = 600_000;
/** Beyond this the ledger, and not the options, would hold a run back. */
const fastestPps = 2_000_000;
/** Others than the first tier 1 have so long to be heard before the run begins. */
const othersMs = limits.helloMs + 50;
const lookEveryMs = 20;

/** Runs the traffic and reports. Rejects with a FlowherdError when there is nothing to send it to. */
export async function traffic(
  options: TrafficOptions,
  environment: Environment,
  terminal: string | undefined,
): Promise<TrafficReport> {
  const id = randomBytes(4).readUInt32BE();
  const source = new TrafficGenerator({ ...generatorOptionsFrom(options), stamp: { run: id } });
  const stop = new AbortController();
  const release = onSignals(() => stop.abort());
  // Where both are one terminal, as in a container with one, the bar would get into the JSON.
  const isMixed = options.json === true && process.stdout.isTTY;
  const bar = new Bar(process.stderr, systemClock, isMixed ? 'dumb' : terminal);
  let field: Field | undefined;
  try {
    field =
      options.to === undefined
        ? await localField(options.bus ?? embeddedUrl, options, environment)
        : await remoteField(options.to, options.cluster, options.wait * 1_000, environment);
    return await runOn(field, options, id, source, stop.signal, bar);
  } finally {
    bar.end();
    await field?.close();
    release();
  }
}

async function runOn(
  field: Field,
  options: TrafficOptions,
  id: number,
  source: TrafficGenerator,
  stop: AbortSignal,
  bar: Bar,
): Promise<TrafficReport> {
  const { subjects, local } = field;
  const clock = systemClock;
  const { concurrency, seconds, warmUp } = options;
  const pps = concurrency === undefined ? Math.min(mostPps(options), fastestPps) : fastPps;
  const run: Run = new Run({
    id,
    capacity: capacityFor(pps, concurrency ?? 0),
    graceMs,
    publish: (tier1, frame) => field.out.publish(subjects.in(tier1), frame),
  });
  const newcomers = new Newcomers();
  let keyer = new FlowKeyer({ secret: 'traffic' });
  const drive: Drive = new Drive({
    run,
    source,
    keyOf: (buffer, length) => {
      const isKeyed = keyer.read(buffer, 0, length, ethernet, 0) === 0;
      const typeOne = isKeyed && (keyer.flags & (FrameFlags.TYPE1 | FrameFlags.AGGREGATE)) === FrameFlags.TYPE1;
      const { flowHi: hi, flowLo: lo } = keyer;
      const { flags } = keyer;
      return { hi, lo, typeOne, starts: (flags & FrameFlags.START) !== 0, isSingle: isKeyed && isSingle(flags) };
    },
    bus: field.out,
    clock,
    ...(concurrency === undefined ? {} : { concurrency }),
    warmUpMs: warmUp * 1_000,
    runMs: seconds * 1_000,
    stop,
    onTurn: () => {
      local?.audit();
      const names = newcomers.in(run.servers, clock.monotonicMs());
      if (names !== undefined) bar.say(`receipts come from ${names}`);
      bar.draw(() => progressOf(run, drive, (warmUp + seconds) * 1_000));
    },
  });
  const denied: string[] = [];
  follow(field, run, (reason) => denied.push(reason));
  field.in.subscribe(subjects.every('hello'), (message) => run.onHello(message, clock.monotonicMs()));
  field.in.subscribe(subjects.receipt(run.name), (message) => {
    run.onReceipt(message, clock.monotonicMs());
    drive.wake();
  });
  await field.in.flush();
  await tier1Ready(field, run, options.wait * 1_000, stop, bar, denied);
  // What is one flow depends on the cluster's settings; the secret does not matter to that.
  const { map, members } = await lookAt(field);
  if (map !== undefined) keyer = keyerFor(map, 'traffic');
  bar.say(`sending packets through ${run.tier1s.ready.map(({ name }) => name).join(', ')} for ${warmUp + seconds} s`);
  await drive.send();
  bar.end();
  const reportNow = () =>
    trafficReport(run, drive, {
      bus: field.bus,
      cluster: field.cluster,
      seed: options.seed,
      floodPackets: source.stats.floodPackets,
      nowMs: clock.monotonicMs(),
    });
  let report = reportNow();
  if ((report.nobody.unexplained ?? 0) > 0) {
    // A server that was killed before its first receipt went out took its packets, and the knowledge of them, along.
    for (const life of await livesThatEnded(field, members)) run.servers.ended(life);
    report = reportNow();
  }
  const others = [...denied, ...(await silenceProblems(field, report)), ...(await auditorProblems(field, report))];
  return { ...report, problems: [...report.problems, ...others] };
}

const ethernet = 1;

/** Packets that are unsettled within the grace, and, as far as memory allows, while the cluster's logs stand still. */
function capacityFor(pps: number, concurrency: number): number {
  const usual = (pps * (graceMs + 1_000)) / 1_000;
  const atStandstill = (pps * (graceMs + longestStandstillMs)) / 1_000;
  return Math.max(concurrency, usual, Math.min(atStandstill, mostAtStandstill), 65_536);
}

/** Waits until a tier 1 takes packets, and a moment for the others. */
async function tier1Ready(
  field: Field,
  run: Run,
  waitMs: number,
  stop: AbortSignal,
  bar: Bar,
  denied: readonly string[],
): Promise<void> {
  const startedAtMs = systemClock.monotonicMs();
  let readyAtMs = Number.POSITIVE_INFINITY;
  for (;;) {
    const nowMs = systemClock.monotonicMs();
    run.tick(nowMs);
    if (run.tier1s.ready.length > 0) readyAtMs = Math.min(readyAtMs, nowMs);
    if (nowMs - readyAtMs >= othersMs || stop.aborted) return;
    if (denied.length > 0) throw new FlowherdError(errorCodes.busRefused, denied[0]);
    if (readyAtMs === Number.POSITIVE_INFINITY && nowMs - startedAtMs > waitMs) {
      const waiting = run.tier1s.all.filter(({ state }) => state === 'waiting').map(({ name }) => `tier 1 ${name}`);
      throw new FlowherdError(errorCodes.badState, await whyNobody(field, waiting));
    }
    bar.draw(() => ({ ...progressOf(run, undefined, 0), waiting: 'waiting for a tier 1 that takes packets' }));
    await new Promise<void>((resolve) => void systemClock.setTimer(lookEveryMs, resolve));
  }
}

/** The run learns when one of its connections breaks, and when both are there again. */
function follow(field: Field, run: Run, onDenied: (reason: string) => void): void {
  const down = new Set<unknown>();
  for (const bus of [field.out, field.in]) {
    bus.onStatus((status) => {
      if (status.kind === 'denied') onDenied(status.reason);
      if (status.kind === 'disconnected') {
        down.add(bus);
        run.down();
      } else if (status.kind === 'reconnected') {
        down.delete(bus);
        if (down.size === 0) run.up(systemClock.monotonicMs());
      }
    });
  }
}

function progressOf(run: Run, drive: Drive | undefined, wholeMs: number) {
  const elapsedMs = drive?.elapsedMs ?? 0;
  const { sent, underWay, double } = run.ledger;
  const rest = underWay > 0 ? `${counted(underWay, 'packet')} still under way` : 'waiting for the last answers';
  const waiting = drive?.isOver ? rest : run.isDown ? 'reconnecting' : '';
  return {
    elapsedMs,
    wholeMs,
    sent,
    underWay,
    packetsPerSecond: Math.round(sent / Math.max(elapsedMs / 1_000, 0.001)),
    double,
    moved: run.servers.movedFlows + run.servers.openMoves,
    waiting,
  };
}

/** When packets are missing: who might have them and says nothing. */
async function silenceProblems(field: Field, report: TrafficReport): Promise<string[]> {
  if ((report.nobody.unexplained ?? 0) === 0) return [];
  const silent = await silentMembers(field, new Set(report.servers.map(({ group, id }) => `${group}/${id}`)));
  if (silent.length === 0) return [];
  const shown =
    silent.length > 5 ? `${silent.slice(0, 5).join(', ')} and ${silent.length - 5} more` : silent.join(', ');
  return [`no answer from ${shown}: started without --receipts, or died before the run`];
}

/** Inside this process there is an auditor, too, who hears every verdict: two witnesses must say the same. */
async function auditorProblems({ local }: Field, report: TrafficReport): Promise<string[]> {
  if (local === undefined) return [];
  await local.settle(graceMs);
  local.finish();
  const { accepted, double, flows, disagreements } = local.auditor;
  if (disagreements > 0) return [`replicas disagreed on the owners of ${counted(disagreements, 'packet')}`];
  const said = [report.acceptedOnce, report.double, report.movedFlows > 0];
  const seen = [accepted, double, flows.moved > 0];
  if (said.join() === seen.join() || report.receipts.lost > 0 || report.receipts.late > 0) return [];
  return [
    `the cluster's auditor saw ${counted(accepted, 'packet')} accepted once, ${double} by more than one server, and ${flows.moved} stray`,
  ];
}
