// `flowherd weight`: another weight for a server that runs. The configured weight is what policies depart from; the weight in
// force goes along in proportion. It is a command in the log of its group.

import { Argument, Command } from 'commander';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { isStandby, takesFlows } from '../../../shared/membership/standbys.ts';
import { isLifeOf } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { wholeNumber } from '../process/parse.ts';
import { addServerOptions, appendAsAdmin, findServer, type ServerOptions, withCluster } from './operator.ts';

interface WeightReport {
  readonly server: string;
  readonly group: string;
  readonly view: number;
  /** In force, and as configured; and what they were. */
  readonly weight: number;
  readonly base: number;
  readonly former: { readonly weight: number; readonly base: number };
  /** Something that may not be meant. */
  readonly warning?: string;
}

const example = `
Examples:
  $ NATS_NKEY_FILE=keys/admin/nats.nk npx flowherd weight s1 200      # twice as many new flows as a server of 100
  $ npx flowherd weight s1 0                                          # none, as long as another one has a weight

Flows that there are stay where they are. A server that is started again begins with its own --weight.
${environmentHelp}`;

export function weightCommand(environment: () => Environment): Command {
  const command = new Command('weight')
    .summary("a server's share of new flows, relative to the others of its group")
    .description("Changes a running server's share of new flows, relative to the others of its group.")
    .argument('<server>', 'name of the server')
    .addArgument(new Argument('<weight>', 'from 0 (no new flows) to 65535').argParser(wholeNumber(0, 65_535)));
  return addServerOptions(command)
    .addHelpText('after', example)
    .action((server: string, weight: number, options: ServerOptions) =>
      withCluster(options, environment(), async (access) => {
        const place = findServer(await access.readMirrors(await access.readMap()), server, options);
        const { group, member } = place;
        const { incarnation } = member;
        if (isStandby(member)) throw refusal(server);
        const order = { kind: 'configure', life: { server, incarnation }, weight } as const;
        const view = await appendAsAdmin(
          access,
          place,
          order,
          (seen) => presentIn(seen, member, group).base === weight,
        );
        const report = reportOn(group, view, member);
        process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : inWords(report));
        if (report.warning !== undefined && !options.json) process.stderr.write(`flowherd: ${report.warning}\n`);
      }),
    );
}

function refusal(server: string): FlowherdError {
  const text = `${server} stands by and takes no flows: when it takes the place of a server, it has the weight of that one`;
  return new FlowherdError(errorCodes.badState, text);
}

function presentIn(view: View, member: Member, group: string): Member {
  const present = view.members.find((each) => isLifeOf(each, member));
  if (present !== undefined) return present;
  throw new FlowherdError(errorCodes.badState, `${member.server} has just left ${group}`);
}

function reportOn(group: string, view: View, former: Member): WeightReport {
  const { server, weight, base } = presentIn(view, former, group);
  const active = view.members.filter(takesFlows);
  const isNobodyWeighed = active.length > 0 && active.every((each) => each.weight === 0);
  const warning = `no active server of ${group} has a weight now: new flows go to all of them alike`;
  return {
    server,
    group,
    view: view.number,
    weight,
    base,
    former: { weight: former.weight, base: former.base },
    ...(isNobodyWeighed ? { warning } : {}),
  };
}

function inWords({ server, group, view, weight, base, former }: WeightReport): string {
  if (base === former.base) return `${server} has the weight ${base} already (view ${view} of ${group}).\n`;
  const inForce = weight === base ? '' : `, ${weight} of it in force`;
  return `${server} has the weight ${base} instead of ${former.base}${inForce}, from view ${view} of ${group} on.\n`;
}
