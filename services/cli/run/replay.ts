// `flowherd replay`: a whole cluster in one process, captures through it, and a report that must add up.

import { stat } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { type CaptureSummary, eachBatch, readCapture } from '../../../shared/capture/reader.ts';
import { readSorted } from '../../../shared/capture/sorted.ts';
import { hasStandbys } from '../../../shared/membership/standbys.ts';
import { isSpare } from '../../../shared/membership/transitions.ts';
import { UnreadLinkTypes } from '../../../shared/packet/decode/link/linkTypes.ts';
import { LocalCluster, type LocalServer } from '../../local/localCluster.ts';
import { counted } from '../../ops/numbers.ts';
import { type ClusterReport, reportOn } from '../../ops/report.ts';
import { reportInWords } from '../../ops/words.ts';
import { checkCapture, feedBatches, feedCapture } from '../../tier1/ingress/capture.ts';
import { askedSettings } from '../config/config.ts';
import {
  addClusterOptions,
  type ClusterOptions,
  keyerFor,
  mapFromOptions,
  shortLivedCluster,
} from '../config/settings.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { quietLog } from '../process/log.ts';
import { collect, pairsOf, parseSpeed, wholeNumber } from '../process/parse.ts';
import { within } from '../process/patience.ts';
import { type CaptureRead, captureNotes, mendedNotes, nameOf } from './captureNotes.ts';

/** What `replay` is asked for: the options of the command, parsed. */
export interface ReplayOptions extends ClusterOptions {
  readonly servers: number;
  readonly standbys?: number;
  readonly bus: string;
  readonly speed: 'max' | number;
  readonly handler: string;
  readonly handlerOption: readonly string[];
  /** All packets of all files in order of time. */
  readonly sort?: boolean;
  readonly addAt?: Moment;
  readonly drainAt?: Moment;
  readonly json?: boolean;
}

/** A capture that is played faster or slower has a time of its own, by which its flows age. */
export const replayedCluster: ClusterOptions = { ...shortLivedCluster, time: 'capture' };

/** A moment of the replay: after so many packets, or after that share of the packets' bytes. */
type Moment = { readonly packets: number } | { readonly share: number };

const example = `
Examples:
  $ npx flowherd replay capture.pcap
  $ npx flowherd replay morning.pcap noon.pcap.zst --sort
  $ npx flowherd replay a.pcap b.pcapng --groups 4 --servers 3 --method fig-6 --json
  $ npx flowherd replay capture.pcap --bus nats://127.0.0.1:4222 --add-at 25% --drain-at 50%
  $ npx flowherd replay capture.pcap --handler pcap --handler-option dir=/tmp/servers

Exit code 0 when every packet is accounted for, some were accepted, none twice, no flow moved and no handler failed; 1 otherwise.
${environmentHelp}`;

export function replayCommand(environment: () => Environment): Command {
  const command = new Command('replay')
    .summary('run captures through a whole cluster in this process and account for every packet')
    .description('Runs captures through a whole cluster in this process and accounts for every packet.')
    .argument('<file...>', 'capture files (pcap, pcapng, packed with gzip or zstd too), "-" for standard input');
  addClusterOptions(command, replayedCluster)
    .addOption(new Option('--servers <n>', 'servers in each group').default(3).argParser(wholeNumber(1, 64)))
    .addOption(
      new Option(
        '--standbys <n>',
        'standbys in each group (--availability active-passive, n-plus-m; default: one for each server, or 1)',
      ).argParser(wholeNumber(0, 64)),
    )
    .addOption(
      new Option('--bus <url>', '"embedded", or the address of a NATS server (nats://host:port)').default('embedded'),
    )
    .addOption(
      new Option('--speed <factor>', '"max", or a factor on the pace of the capture: 1 is as recorded')
        .default('max')
        .argParser(parseSpeed),
    )
    .addOption(
      new Option('--handler <module>', 'what the servers do: counting, flow-stats, pcap, or a module of yours').default(
        'counting',
      ),
    )
    .addOption(
      new Option('--handler-option <name=value>', 'given to the handler; may be repeated')
        .default([], 'none')
        .argParser(collect),
    )
    .option('--sort', 'put all packets in order of time first; they are held in memory for that, 1 GiB at most')
    .addOption(
      new Option(
        '--add-at <moment>',
        'add a server to every group after so many packets, or at 25% of the bytes',
      ).argParser(parseMoment),
    )
    .addOption(new Option('--drain-at <moment>', 'drain the first server of every group then').argParser(parseMoment))
    .option('--json', 'the report as JSON')
    .addHelpText('after', example)
    .action(async (files: string[], options: ReplayOptions) => {
      const report = await replay(files, options, environment());
      process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : reportInWords(report));
      if (report.problems.length > 0) process.exitCode = 1;
    });
  return command;
}

export interface ReplayReport extends ClusterReport {
  readonly files: readonly {
    readonly file: string;
    readonly packets: number;
    readonly format: string;
    readonly problem?: string;
  }[];
  /** What people should hear of the files: times, order, link types that are not read. */
  readonly notes: readonly string[];
  /** Servers that were to be drained and still hold flows that have not ended. */
  readonly draining: readonly { readonly server: string; readonly flowsLeft: number }[];
}

/** Standbys of a group with standbys. Throws a FlowherdError `bad-config` when there would be more than servers, or none may be. */
function standbysOf({ standbys, servers, availability: { usual, groups } }: ReplayOptions): number {
  const modes = [usual, ...Object.values(groups)];
  if (standbys !== undefined && !modes.some(hasStandbys)) {
    const text = `--standbys ${standbys}: there are standbys with --availability active-passive and n-plus-m only`;
    throw new FlowherdError(errorCodes.badConfig, text);
  }
  if (standbys !== undefined && standbys > servers)
    throw new FlowherdError(
      errorCodes.badConfig,
      `--standbys ${standbys}: there are only ${servers} servers to stand for`,
    );
  return standbys ?? (modes.includes('active-passive') ? servers : 1);
}

/** Runs the captures and reports. Rejects with a FlowherdError when there is no cluster or no capture to begin with. */
export async function replay(
  files: readonly string[],
  options: ReplayOptions,
  environment: Environment,
): Promise<ReplayReport> {
  const secret = environment.secret ?? 'replay';
  const map = mapFromOptions(options, secret, askedSettings(options.config, environment.settings));
  const handlerOptions = pairsOf('--handler-option', options.handlerOption);
  for (const file of files) await checkCapture(file);
  const totalBytes = asksForShare(options) ? await packetBytesOf(files) : 0;
  const cluster = await LocalCluster.start({
    busUrl: options.bus,
    auth: environment.auth,
    tls: environment.tls,
    map,
    keyer: keyerFor(map, secret),
    serversPerGroup: options.servers,
    standbysPerGroup: standbysOf(options),
    handler: options.handler,
    handlerOptions,
    packetTime: 'capture',
    log: quietLog,
  });
  try {
    const changes = new Changes(cluster, map.groups.length, options, totalBytes);
    const startedAtMs = systemClock.monotonicMs();
    const read = await feedFiles(cluster, files, options, changes);
    // A moment at the very end of the captures has no packet behind it.
    if (changes.isDue()) await changes.act();
    await cluster.settle(settleTimeoutMs);
    const seconds = (systemClock.monotonicMs() - startedAtMs) / 1_000;
    const draining = await changes.finish();
    cluster.finish();
    const report = reportOn(
      cluster,
      map.groups.map(({ id }) => id),
      seconds,
    );
    // What could not be read could not be accepted either.
    const problems = read.isNothing
      ? ['nothing of the captures could be read']
      : report.packets.read === 0
        ? ['nothing was accepted: there are no packets in the captures']
        : report.problems;
    return { files: read.files, notes: [...read.notes, ...changes.missed()], draining, ...report, problems };
  } finally {
    await cluster.stop();
  }
}

/** What was read of the files. */
interface FilesRead extends Pick<ReplayReport, 'files' | 'notes'> {
  /** There were packets, and all are of link types that are not read. */
  readonly isNothing: boolean;
}

async function feedFiles(
  cluster: LocalCluster,
  files: readonly string[],
  { speed, sort }: ReplayOptions,
  changes: Changes,
): Promise<FilesRead> {
  const ingress = {
    speed,
    packetTime: 'capture',
    clock: systemClock,
    onBatch: async () => cluster.audit(),
    between: changes,
  } as const;
  if (sort) {
    const unread = new UnreadLinkTypes();
    const { end = [] } = await feedBatches(cluster.tier1, readSorted(files), unread, ingress);
    const notes = end.flatMap(({ source, times }) => mendedNotes(source, times));
    if (unread.words !== undefined) notes.push(unread.words);
    return { files: end.map(({ source, summary }) => fileRead(source, summary)), notes, isNothing: unread.isAll };
  }
  const read: (CaptureRead & { readonly summary: CaptureSummary })[] = [];
  for (const file of files) {
    const summary = await feedCapture(cluster.tier1, file, ingress);
    read.push({ file, summary, times: summary.times, unread: summary.unread });
  }
  return {
    files: read.map(({ file, summary }) => fileRead(file, summary)),
    notes: read.flatMap((each, index) => captureNotes(each, read[index - 1])),
    isNothing:
      read.some(({ unread }) => unread.isAll) && read.every(({ unread }) => unread.isAll || unread.packets === 0),
  };
}

function fileRead(file: string, { packets, format, problem }: CaptureSummary): ReplayReport['files'][number] {
  return { file, packets, format, ...(problem === undefined ? {} : { problem }) };
}

/** Gives up waiting for decisions after this long without any. */
const settleTimeoutMs = 3_000;
/** A drain has to be in force by then. */
const drainTimeoutMs = 10_000;
/** A drain that the replay's end overtakes: long enough that flows which have ended can be seen to have. */
const drainPatienceMs = 200;

/**
 * Servers that come and go while the packets run. All packets before such a moment are decided when the change begins, and it is in
 * force when the next one goes on, so that the same packets meet the same members in every run.
 */
class Changes {
  readonly #cluster: LocalCluster;
  readonly #groups: number;
  readonly #addAt: Moment | undefined;
  readonly #drainAt: Moment | undefined;
  readonly #totalBytes: number;
  readonly #drains: Promise<unknown>[] = [];
  #added = false;
  #drained = false;

  constructor(cluster: LocalCluster, groups: number, options: ReplayOptions, totalBytes: number) {
    this.#cluster = cluster;
    this.#groups = groups;
    this.#addAt = options.addAt;
    this.#drainAt = options.drainAt;
    this.#totalBytes = totalBytes;
  }

  /** Whether something is to happen before the next packet. */
  isDue(): boolean {
    return (!this.#added && this.#hasCome(this.#addAt)) || (!this.#drained && this.#hasCome(this.#drainAt));
  }

  /** Does what is due. Resolves when added servers take flows, and drained ones take no more. */
  async act(): Promise<void> {
    await this.#cluster.settle(settleTimeoutMs);
    const groups = Array.from({ length: this.#groups }, (_, group) => group);
    if (!this.#added && this.#hasCome(this.#addAt)) {
      this.#added = true;
      await Promise.all(groups.map((group) => this.#cluster.addServer(group)));
    }
    if (!this.#drained && this.#hasCome(this.#drainAt)) {
      this.#drained = true;
      await Promise.all(groups.map((group) => this.#drain(this.#cluster.membersOf(group)[0])));
    }
  }

  /** Lines about moments that never came. */
  missed(): string[] {
    const late = (option: string, isDone: boolean, moment: Moment | undefined) =>
      isDone || moment === undefined || !('packets' in moment)
        ? []
        : [`${option}: there are less than ${counted(moment.packets, 'packet')}, so nothing was done`];
    return [...late('--add-at', this.#added, this.#addAt), ...late('--drain-at', this.#drained, this.#drainAt)];
  }

  /** Waits a moment for drains; those whose flows the captures left open go on for ever, so they are reported. */
  async finish(): Promise<ReplayReport['draining']> {
    const patience = new Promise<void>((resolve) => systemClock.setTimer(drainPatienceMs, resolve));
    await Promise.race([Promise.all(this.#drains), patience]);
    return this.#cluster.servers
      .filter(({ running, actor }) => running && actor.phase === 'draining')
      .map(({ name, actor }) => ({ server: name, flowsLeft: actor.ownFlows }));
  }

  /** One that may not drain before others are active is not waited for. */
  async #drain(server: LocalServer): Promise<void> {
    const { actor } = server;
    const draining = actor.whenDraining();
    const mayDrain = isSpare(actor.view, actor.candidate);
    this.#drains.push(this.#cluster.drainServer(server, Number.MAX_SAFE_INTEGER));
    if (!mayDrain || (await within(drainTimeoutMs, draining))) return;
    throw new FlowherdError(errorCodes.busTimeout, `server ${server.name} does not drain after ${drainTimeoutMs} ms`);
  }

  #hasCome(moment: Moment | undefined): boolean {
    if (moment === undefined) return false;
    const { received, receivedBytes } = this.#cluster.tier1.distributor;
    return 'packets' in moment ? received >= moment.packets : receivedBytes >= moment.share * this.#totalBytes;
  }
}

function asksForShare({ addAt, drainAt }: ReplayOptions): boolean {
  return [addAt, drainAt].some((moment) => moment !== undefined && 'share' in moment);
}

/**
 * Bytes of all packets. The files are read for that, since the bytes of a file are others: it may be packed, and each packet has
 * a header. Rejects for what can be read only once.
 */
async function packetBytesOf(files: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const file of files) {
    const found = file === '-' ? undefined : await stat(file).catch(() => undefined);
    if (file === '-' || (found !== undefined && !found.isFile())) {
      const text = `${nameOf(file)}: a share of its bytes is not known before its end; name a number of packets`;
      throw new FlowherdError(errorCodes.badConfig, text);
    }
    bytes += (await eachBatch(readCapture(file), () => {})).bytes;
  }
  return bytes;
}

function parseMoment(text: string): Moment {
  const share = /^(\d+(?:\.\d+)?)%$/.exec(text);
  if (share !== null && Number(share[1]) <= 100) return { share: Number(share[1]) / 100 };
  if (/^\d{1,15}$/.test(text)) return { packets: Number(text) };
  throw new InvalidArgumentError('a number of packets, or a share of the bytes from 0% to 100%, is wanted');
}
