// `flowherd demo`, which is `npm start`: a cluster in one process, real and generated traffic through it, a server that
// joins and one that drains, shown live and told in words at the end. It needs nothing but this package: with a
// nats-server on the machine it starts one of its own, else everything runs on the embedded bus.

import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { reasonOf } from '../../../shared/base/errors.ts';
import { embeddedUrl } from '../../../shared/bus/open.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { HeldCapture } from '../../local/demo/capture.ts';
import { Changes } from '../../local/demo/changes.ts';
import { findNatsServer, OwnNatsServer } from '../../local/demo/natsServer.ts';
import { Show } from '../../local/demo/show.ts';
import { Observer } from '../../local/demo/snapshot.ts';
import { type DemoReport, demoInWords } from '../../local/demo/story.ts';
import { Traffic } from '../../local/demo/traffic.ts';
import { LocalCluster } from '../../local/localCluster.ts';
import { reportOn } from '../../ops/report.ts';
import { type AskedSettings, askedSettings, configOption, settingVariables } from '../config/config.ts';
import { keyerFor, mapFromOptions, shortLivedCluster } from '../config/settings.ts';
import { quietLog } from '../process/log.ts';
import { wholeNumber } from '../process/parse.ts';

interface DemoOptions {
  readonly seconds: number;
  readonly rate: number;
  readonly bus?: string;
  readonly config?: string;
  readonly json?: boolean;
}

type Variables = Readonly<Record<string, string | undefined>>;

const captureName = 'test/captures/town.pcap';
const capturePath = fileURLToPath(new URL(`../../../${captureName}`, import.meta.url));

const example = `
Examples:
  $ npm start
  $ npx flowherd demo --seconds 60 --rate 20000
  $ npx flowherd demo --bus nats://127.0.0.1:4222
  $ npx flowherd demo --bus embedded --json

Exit code 0 when every packet is accounted for, none was accepted twice and no flow moved; 1 otherwise. Ctrl-C ends it
early, with the report so far; a second Ctrl-C ends it at once.`;

/** `variables`: the environment; the terminal's and the PATH, where a nats-server is looked for. */
export function demoCommand(variables: Variables): Command {
  return new Command('demo')
    .summary('show a cluster at work: traffic, a server that joins, one that drains')
    .description(
      'Shows a cluster at work: real and generated traffic, a server that joins, one that drains; then what it comes to.',
    )
    .addOption(new Option('--seconds <n>', 'how long the traffic runs').default(20).argParser(wholeNumber(1, 3_600)))
    .addOption(
      new Option('--rate <n>', 'generated packets a second')
        .default(defaultRate)
        .argParser(wholeNumber(100, 1_000_000)),
    )
    .addOption(
      new Option(
        '--bus <url>',
        '"embedded", or the address of a NATS server; without it a nats-server is started for the demo where one is installed',
      ),
    )
    .addOption(configOption())
    .option('--json', 'nothing but the report, as JSON')
    .addHelpText('after', example)
    .action(async (options: DemoOptions) => {
      const report = await demo(options, variables);
      const columns = Math.max(60, Math.min(process.stdout.columns || 100, 101) - 1);
      process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : `\n${demoInWords(report, columns)}`);
      if (report.problems.length > 0) process.exitCode = 1;
    });
}

const defaultRate = 12_000;
const groupWords = {
  g1: 'connections: TCP, SCTP',
  g2: 'connections: TCP, SCTP',
  g3: 'everything else: UDP, ICMP, ...',
};
/** Groups by type (Fig. 10): flows whose end shows leave a drained server soon, others only when they have been silent for minutes. */
const drainGroup = 0;
const joinGroup = 2;
/** Parts of the time. Early, since a drained server keeps ended flows for 10 s and should be seen to leave. */
const joinAt = 0.1;
const drainAt = 0.2;
const settleTimeoutMs = 3_000;
const natsTimeoutMs = 5_000;
const drawEveryMs = 200;

async function demo(options: DemoOptions, variables: Variables): Promise<DemoReport> {
  const show = new Show(process.stdout, options.json === true, variables);
  const interruption = new Interruption();
  // The reader of a pipe may go away; nothing is left to be told to anybody then.
  process.stdout.on('error', () => process.exit(1));
  let nats: OwnNatsServer | undefined;
  try {
    const capture = await HeldCapture.read(capturePath);
    const map = demoMap(askedSettings(options.config, settingVariables(variables)));
    show.say(
      `Flowherd: ${map.groups.length} groups of 3 servers, and one tier 1 that spreads packets over the groups without remembering any flow.`,
    );
    const choice = await chooseBus(options.bus, variables.PATH ?? '');
    nats = choice.nats;
    let { bus, words } = choice;
    let cluster: LocalCluster;
    try {
      cluster = await startCluster(map, bus);
    } catch (error) {
      if (nats === undefined) throw error;
      ({ bus, words } = {
        bus: embeddedUrl,
        words: `embedded, since the nats-server did not serve: ${reasonOf(error)}`,
      });
      await nats.stop();
      nats = undefined;
      cluster = await startCluster(map, bus);
    }
    show.say(`Bus: ${words}.`);
    return await run(cluster, map, capture, options, words, show, interruption);
  } finally {
    show.end();
    interruption.forget();
    await nats?.stop();
  }
}

/** Lets the traffic run for its time, and everything else with it; stops the cluster. */
async function run(
  cluster: LocalCluster,
  map: ClusterMap,
  capture: HeldCapture,
  { seconds, rate: ratePps }: DemoOptions,
  busWords: string,
  show: Show,
  interruption: Interruption,
): Promise<DemoReport> {
  const groupIds = map.groups.map(({ id }) => id);
  const clock = systemClock;
  const traffic: Traffic = new Traffic({
    tier1: cluster.tier1,
    clock,
    capture,
    ratePps,
    seconds,
    onTurn: () => onTurn(),
  });
  let failure: unknown;
  const changes = new Changes({
    cluster,
    groupIds,
    joinGroup,
    drainGroup,
    joinAt: joinAt * seconds,
    drainAt: drainAt * seconds,
    onFailure: (error) => {
      failure ??= error;
      traffic.stop();
    },
  });
  const observer = new Observer(cluster, groupIds);
  const scene = () => ({
    snapshot: observer.read(traffic.elapsedMs),
    events: changes.events,
    groupWords,
    seconds,
    bus: cluster.busKind,
  });
  let drawnAtMs = Number.NEGATIVE_INFINITY;
  const onTurn = () => {
    cluster.audit();
    const { elapsedMs } = traffic;
    if (elapsedMs >= seconds * 1_000 || interruption.happened) traffic.stop();
    if (elapsedMs - drawnAtMs < drawEveryMs) return;
    drawnAtMs = elapsedMs;
    changes.follow(elapsedMs / 1_000);
    show.picture(scene());
  };
  interruption.onHappening(() => traffic.stop());
  try {
    if (!interruption.happened) await traffic.run();
    const ranMs = traffic.elapsedMs;
    await cluster.settle(settleTimeoutMs);
    cluster.finish();
    if (failure !== undefined) throw failure;
    show.picture(scene());
    const { joined, drained, events } = changes;
    return {
      demo: {
        bus: busWords,
        capture: { file: captureName, packets: traffic.sent.capture, passes: traffic.sent.passes },
        generatedPackets: traffic.sent.generated,
        ...(joined === undefined ? {} : { joined }),
        ...(drained === undefined ? {} : { drained }),
        events,
        interrupted: interruption.happened,
      },
      ...reportOn(cluster, groupIds, ranMs / 1_000),
    };
  } finally {
    changes.end();
    await cluster.stop();
  }
}

function demoMap(asked: AskedSettings): ClusterMap {
  const group = (id: string, serves: 'type-1' | 'type-2') => ({ id, weight: 100, serves, vlan: 0 });
  return mapFromOptions(
    { ...shortLivedCluster, group: [group('g1', 'type-1'), group('g2', 'type-1'), group('g3', 'type-2')] },
    secret,
    asked,
  );
}

/** Always the same, so that the recorded flows go to the same servers in every run. */
const secret = 'demo';

function startCluster(map: ClusterMap, busUrl: string): Promise<LocalCluster> {
  return LocalCluster.start({
    busUrl,
    map,
    keyer: keyerFor(map, secret),
    serversPerGroup: 3,
    handler: 'counting',
    handlerOptions: {},
    packetTime: 'live',
    log: quietLog,
  });
}

async function chooseBus(
  asked: string | undefined,
  searchPath: string,
): Promise<{ bus: string; words: string; nats?: OwnNatsServer }> {
  if (asked === embeddedUrl) return { bus: asked, words: 'embedded, inside this process' };
  if (asked !== undefined) return { bus: asked, words: `the NATS server at ${asked}` };
  const program = findNatsServer(searchPath);
  if (program === undefined) {
    const words =
      'embedded, inside this process. To see it on NATS, install nats-server (Debian: apt install nats-server; others: nats.io/download)';
    return { bus: embeddedUrl, words };
  }
  try {
    const nats = await OwnNatsServer.start(program, natsTimeoutMs);
    return {
      bus: nats.url,
      words: `${program} ${nats.version}, started for this demo at ${nats.url} and ended with it`,
      nats,
    };
  } catch (error) {
    return { bus: embeddedUrl, words: `embedded, inside this process: ${program} is there, but ${reasonOf(error)}` };
  }
}

/** Ctrl-C and its kin: the first one asks for an end in order, the second one ends the process. */
class Interruption {
  happened = false;
  #stop: () => void = () => undefined;
  readonly #signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  readonly #hear = () => {
    if (this.happened) process.exit(130);
    this.happened = true;
    this.#stop();
  };

  constructor() {
    for (const signal of this.#signals) process.on(signal, this.#hear);
  }

  onHappening(stop: () => void): void {
    this.#stop = stop;
  }

  forget(): void {
    for (const signal of this.#signals) process.off(signal, this.#hear);
  }
}
