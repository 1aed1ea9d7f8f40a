// `flowherd move`: a server goes to another group. It joins that one, and drains in its own when it is active there, so none of its flows moves. This
// appends a command to the log of its group; the rest is the server's own to do (services/dssl/member/moving.ts).

import { Command, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { nearest } from '../../../shared/base/nearest.ts';
import type { Mirror } from '../../../shared/membership/mirror.ts';
import { isStandby, takesFlows } from '../../../shared/membership/standbys.ts';
import { isLifeOf } from '../../../shared/membership/transitions.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { wholeNumber } from '../process/parse.ts';
import { pause } from '../process/patience.ts';
import {
  type Access,
  addServerOptions,
  findServer,
  type Place,
  type ServerOptions,
  sendServer,
  withCluster,
} from './operator.ts';

interface MoveOptions extends ServerOptions {
  readonly to: string;
  readonly wait?: boolean;
  readonly timeout?: number;
}

interface MoveReport {
  readonly server: string;
  readonly from: string;
  readonly to: string;
  /** Number of the newest view of `from` that was seen. */
  readonly view: number;
  /** `under-way`: it joins; `draining`: it is active in the other group, and has flows in its own yet; `stays`: it was called back. */
  readonly state: 'under-way' | 'draining' | 'moved' | 'stays';
}

const example = `
Examples:
  $ NATS_NKEY_FILE=keys/admin/nats.nk npx flowherd move s5 --to g2
  $ npx flowherd move s5 --to g2 --wait            # until it takes new flows in g2
  $ npx flowherd move s5 --to g1                   # called back: from wherever it is

The server takes new flows in the other group as soon as it holds that group's state; those that it has in its own stay with it to their end, and then
it leaves there. "flowherd status" shows both. With --wait it returns when the server takes new flows in the other group; the exit code is 1 when it
does not within --timeout seconds, or cannot. Ctrl-C ends the waiting, not the move.
${environmentHelp}`;

export function moveCommand(environment: () => Environment): Command {
  const command = new Command('move')
    .summary('a server goes to another group, and keeps its flows')
    .description('Sends a server to another group: it joins that one, and drains in its own. Its flows stay with it.')
    .argument('<server>', 'name of the server')
    .addOption(new Option('--to <group>', 'the group to join').makeOptionMandatory())
    .addOption(new Option('--wait', 'until it takes new flows there'))
    .addOption(new Option('--timeout <seconds>', 'with --wait: no longer').argParser(wholeNumber(1, 86_400)));
  return addServerOptions(command)
    .addHelpText('after', example)
    .action((server: string, options: MoveOptions) =>
      withCluster(options, environment(), async (access) => {
        const report = await moveServer(access, server, options);
        process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : inWords(report));
      }),
    );
}

async function moveServer(access: Access, server: string, options: MoveOptions): Promise<MoveReport> {
  const { to } = options;
  const map = await access.readMap();
  const groups = map.groups.map(({ id }) => id);
  if (!groups.includes(to)) throw noGroup(to, groups);
  const mirrors = await access.readMirrors(map);
  const place = findServer(mirrors, server, options);
  const { group: from, member, mirror } = place;
  if (from === to && member.movesTo === undefined)
    return { server, from, to, view: mirror.view.number, state: 'moved' };
  if (from !== to) check(place, to, mirrors);
  const { number } = await sendServer(access, place, to);
  if (from === to) return { server, from, to, view: number, state: 'stays' };
  const report = { server, from, to, view: number, state: 'under-way' } as const;
  if (!options.wait) return report;
  if (!options.json) process.stderr.write(inWords(report));
  return { ...report, ...(await untilActive(access, place, to, options.timeout)) };
}

/** Throws when the server is not to be moved. */
function check({ group, member, mirror }: Place, to: string, mirrors: ReadonlyMap<string, Mirror>): void {
  const { server, state } = member;
  const { view } = mirror;
  if (isStandby(member)) throw refusal(`${server} stands by in ${group}: only a server that takes flows can be moved`);
  for (const id of [group, to]) {
    if (mirrors.get(id)?.view.rules.availability !== 'active-passive') continue;
    throw refusal(`servers of ${id} have standbys by name (active-passive): they do not move between groups`);
  }
  if (state !== 'active') throw refusal(`${server} is ${state} in ${group}: only an active server can be moved`);
  const isLast = !view.members.some((each) => each !== member && takesFlows(each) && each.movesTo === undefined);
  if (isLast) throw refusal(`${server} is the last server of ${group} that takes flows: start another one there first`);
}

const lookEveryMs = 250;

/** Until the server takes new flows in the other group. */
async function untilActive(
  access: Access,
  { group, member }: Place,
  to: string,
  timeoutS: number | undefined,
): Promise<Pick<MoveReport, 'view' | 'state'>> {
  const startMs = systemClock.monotonicMs();
  for (;;) {
    const mirrors = await access.readMirrors(await access.readMap());
    const view = mirrors.get(group)?.view;
    const here = view?.members.find((each) => isLifeOf(each, member));
    const there = mirrors.get(to)?.view.members.find(({ server }) => server === member.server);
    const number = view?.number ?? 0;
    if (there !== undefined && takesFlows(there) && here?.state !== 'active')
      return { view: number, state: here === undefined ? 'moved' : 'draining' };
    if (here?.movesTo === undefined && there === undefined)
      throw refusal(whyNot(member.server, group, to, here !== undefined));
    if (timeoutS !== undefined && systemClock.monotonicMs() - startMs >= timeoutS * 1_000)
      throw new FlowherdError(errorCodes.busTimeout, `${member.server} is not active in ${to} after ${timeoutS} s`);
    await pause(lookEveryMs);
  }
}

function whyNot(server: string, group: string, to: string, isThere: boolean): string {
  if (!isThere) return `${server} has gone from ${group} before it was in ${to}`;
  return `${server} stays in ${group}: it could not join ${to}, as its log says, or was called back`;
}

function noGroup(to: string, groups: readonly string[]): FlowherdError {
  const near = nearest(to, groups);
  const help = near === undefined ? `its groups are ${groups.join(', ')}` : `did you mean ${near}?`;
  return new FlowherdError(errorCodes.badConfig, `there is no group ${to} in this cluster: ${help}`);
}

function refusal(text: string): FlowherdError {
  return new FlowherdError(errorCodes.badState, text);
}

function inWords({ server, from, to, view, state }: MoveReport): string {
  if (state === 'stays') return `${server} stays in ${from} (view ${view}).\n`;
  if (state === 'moved' && from === to) return `${server} is in ${to} already (view ${view}).\n`;
  if (state === 'moved') return `${server} is in ${to} now, and has left ${from} (view ${view}).\n`;
  if (state === 'draining')
    return `${server} takes new flows in ${to}, and keeps those that it has in ${from} to their end.\n`;
  return `${server} is on its way from ${from} to ${to} (view ${view} of ${from}).\n`;
}
