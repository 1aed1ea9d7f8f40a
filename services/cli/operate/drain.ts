// `flowherd drain`: a server is to get no new flows, and leave when those that it has have ended. This appends a command to the
// log of its group; the rest is the server's own to do, as if a signal had told it.

import { Command, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { hasStandbys, isStandby, standbysOf, takesFlows } from '../../../shared/membership/standbys.ts';
import { drain, isLifeOf } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import { counted } from '../../ops/numbers.ts';
import { StatusBoard } from '../../ops/statusBoard.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { wholeNumber } from '../process/parse.ts';
import { pause } from '../process/patience.ts';
import {
  type Access,
  addServerOptions,
  appendAsAdmin,
  findServer,
  type Place,
  type ServerOptions,
  withCluster,
} from './operator.ts';

interface DrainOptions extends ServerOptions {
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly force?: boolean;
  readonly now?: boolean;
}

interface DrainReport {
  readonly server: string;
  readonly group: string;
  /** Number of the newest view that was seen. */
  readonly view: number;
  readonly state: 'draining' | 'left';
  /** It was draining before. */
  readonly already: boolean;
}

const example = `
Examples:
  $ NATS_NKEY_FILE=keys/admin/nats.nk npx flowherd drain s1
  $ npx flowherd drain s1 --wait --timeout 600
  $ npx flowherd drain s1 --now

Without --wait it returns as soon as the server gets no new flows, with --now when it is out. With --wait it returns when the server has left; the exit
code is 1 when it has not within --timeout seconds. Ctrl-C ends the waiting, not the drain.
${environmentHelp}`;

export function drainCommand(environment: () => Environment): Command {
  const command = new Command('drain')
    .summary('a server gets no new flows, keeps those it has to their end, and leaves')
    .description('Gives a server no new flows; it keeps those that it has to their end, and then leaves its group.')
    .argument('<server>', 'name of the server')
    .addOption(new Option('--wait', 'until it has left').conflicts('now'))
    .addOption(new Option('--timeout <seconds>', 'with --wait: no longer').argParser(wholeNumber(1, 604_800)))
    .option('--now', 'it leaves at once, and its flows go on at their backups (--availability)')
    .option('--force', 'also the last active server of its group, and with --now also where flows have no backups');
  return addServerOptions(command)
    .addHelpText('after', example)
    .action((server: string, options: DrainOptions) =>
      withCluster(options, environment(), async (access) => {
        const report = await drainServer(access, server, options);
        process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : inWords(report));
      }),
    );
}

async function drainServer(access: Access, server: string, options: DrainOptions): Promise<DrainReport> {
  const place = findServer(await access.readMirrors(await access.readMap()), server, options);
  const { group, member, mirror } = place;
  const { incarnation } = member;
  const already = isDraining(mirror.view, place, options.force === true);
  if (options.now) checkBackups(mirror.view, place, options.force === true);
  const order = { kind: 'drain', life: { server, incarnation } } as const;
  // One without flows may have left before anybody looks.
  const isDone = (view: View) => memberIn(view, member)?.state !== 'active';
  const { number } = await appendAsAdmin(access, place, order, isDone);
  const report = { server, group, view: number, state: 'draining', already } as const;
  if (options.now) {
    const leave = { kind: 'leave', life: { server, incarnation } } as const;
    const left = await appendAsAdmin(access, place, leave, (view) => memberIn(view, member) === undefined);
    return { ...report, state: 'left', view: left.number };
  }
  if (!options.wait) return report;
  if (!options.json) process.stderr.write(inWords(report));
  return { ...report, state: 'left', view: await untilLeft(access, place, options.timeout) };
}

/** Whether it drains already. Throws when it is not to be drained. */
function isDraining(view: View, { group, member }: Place, isForced: boolean): boolean {
  const { server, state } = member;
  if (state === 'draining') return true;
  if (state === 'joining') throw refusal(`${server} is joining ${group}: it can be drained when it is active`);
  const isLast = !isStandby(member) && !drain(view, member).members.some(takesFlows);
  if (isLast && !isForced) {
    const text = `${server} is the last active server of ${group}: new flows would have none; start another one first, or use --force`;
    throw refusal(text);
  }
  return false;
}

/** Throws when the flows of a server that leaves at once would go on nowhere. */
function checkBackups(view: View, { group, member }: Place, isForced: boolean): void {
  const { availability } = view.rules;
  const others = view.members.filter((each) => each.state === 'active' && each !== member);
  const hasBackups = hasStandbys(availability) ? standbysOf(view).has(member.number) : others.length > 0;
  if (isForced || (availability !== 'none' && hasBackups)) return;
  const text = `flows of ${member.server} have no backups in ${group} (${availability}) and would be lost: drain it without --now, or use --force`;
  throw refusal(text);
}

function memberIn(view: View, life: Member): Member | undefined {
  return view.members.find((each) => isLifeOf(each, life));
}

const lookEveryMs = 500;

/** Resolves to the number of the first view without the server. */
async function untilLeft(access: Access, { group, member }: Place, timeoutS: number | undefined): Promise<number> {
  const { bus, subjects } = access;
  const startMs = systemClock.monotonicMs();
  const board = new StatusBoard(startMs);
  bus.subscribe(subjects.gossip(group), (bytes) => board.onGossip(bytes, systemClock.monotonicMs()));
  const progress = new Progress(member.server);
  try {
    for (;;) {
      const view = (await access.readMirrors(await access.readMap())).get(group)?.view;
      if (view !== undefined && memberIn(view, member) === undefined) return view.number;
      const waitedS = (systemClock.monotonicMs() - startMs) / 1_000;
      const flows = board.stateOf(member)?.load?.flows;
      progress.tell(flows, waitedS);
      if (timeoutS !== undefined && waitedS >= timeoutS) {
        const rest = flows === undefined ? '' : ` with ${counted(flows, 'flow')}`;
        throw new FlowherdError(errorCodes.busTimeout, `${member.server} still drains after ${timeoutS} s${rest}`);
      }
      await pause(lookEveryMs);
    }
  } finally {
    progress.end();
  }
}

/** Flows left, on standard error: one line that is drawn over itself on a terminal, elsewhere a line when they are fewer. */
class Progress {
  readonly #server: string;
  readonly #isDrawn = process.stderr.isTTY;
  #told: number | undefined;

  constructor(server: string) {
    this.#server = server;
  }

  tell(flows: number | undefined, waitedS: number): void {
    const left = flows === undefined ? 'drains' : `drains: ${counted(flows, 'flow')} left`;
    if (this.#isDrawn) process.stderr.write(`\r${this.#server} ${left}, ${Math.floor(waitedS)} s\x1b[K`);
    else if (flows !== this.#told) process.stderr.write(`${this.#server} ${left}\n`);
    this.#told = flows;
  }

  end(): void {
    if (this.#isDrawn) process.stderr.write('\r\x1b[K');
  }
}

function inWords({ server, group, view, state, already }: DrainReport): string {
  if (state === 'left') return `${server} has left ${group} (view ${view}).\n`;
  if (already) return `${server} drains already: it gets no new flows (view ${view} of ${group}).\n`;
  return `${server} drains: it gets no new flows from view ${view} of ${group} on.\n`;
}

function refusal(text: string): FlowherdError {
  return new FlowherdError(errorCodes.badState, text);
}
