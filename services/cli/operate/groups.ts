// `flowherd groups`: the groups of a cluster, as its map has them, with the members that the mirrors of their views have.

import { Command } from 'commander';
import { birthOf, type GroupSettings } from '../../../shared/config/map.ts';
import type { AvailabilityName, Member } from '../../../shared/membership/view.ts';
import { fitted, memberStatesInWords, stateInWords } from '../../ops/statusWords.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { addOperatorOptions, type OperatorOptions, withCluster } from './operator.ts';

interface GroupReport extends GroupSettings {
  /** Number of its view; 0 as long as it never had a member. */
  readonly view: number;
  readonly placement: string;
  readonly availability: AvailabilityName;
  readonly members: readonly Pick<Member, 'server' | 'state' | 'weight' | 'base' | 'standsFor' | 'movesTo'>[];
}

const example = `
Examples:
  $ npx flowherd groups
  $ npx flowherd groups --bus nats://nats:4222 --json

The weight of a group is its share of the flow keys; "serves" says which flows it takes: type-1 (their start shows in a
packet), type-2 (all others), or both. How servers are, says "flowherd status".
${environmentHelp}`;

export function groupsCommand(environment: () => Environment): Command {
  const command = new Command('groups')
    .summary('the groups of a cluster: weight, what they serve, VLAN, members, view')
    .description('Lists the groups of a cluster: weight, what they serve, VLAN, members, view.');
  return addOperatorOptions(command)
    .addHelpText('after', example)
    .action((options: OperatorOptions) =>
      withCluster(options, environment(), async (access) => {
        const map = await access.readMap();
        const mirrors = await access.readMirrors(map);
        const groups = map.groups.map((group): GroupReport => {
          const { number = 0, placement = map.placement, members = [] } = mirrors.get(group.id)?.view ?? {};
          const shown = members.map(({ server, state, weight, base, standsFor, movesTo }) => ({
            ...{ server, state, weight, base },
            ...(standsFor === undefined ? {} : { standsFor }),
            ...(movesTo === undefined ? {} : { movesTo }),
          }));
          const { availability } = birthOf(map, group.id).rules;
          return { ...group, view: number, placement, availability, members: shown };
        });
        const report = { cluster: options.cluster, version: map.version, selection: map.groupSelection, groups };
        process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : inWords(groups));
      }),
    );
}

function inWords(groups: readonly GroupReport[]): string {
  const header = ['group', 'serves', 'placement', 'weight', 'vlan', ...memberStatesInWords, 'view'];
  const rows = groups.map(({ id, serves, placement, weight, vlan, members, view }) => {
    const number = (state: string) => `${members.filter((member) => stateInWords(member) === state).length}`;
    const states = memberStatesInWords.map(number);
    return [id, serves, placement, `${weight}`, vlan === 0 ? '-' : `${vlan}`, ...states, `${view}`];
  });
  return `${fitted(header, rows).join('\n')}\n`;
}
