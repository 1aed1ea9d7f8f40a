// `flowherd rebalance`: which server should go from which group to which, by how busy the groups are now (shared/membership/rebalance/policy.ts), and why;
// without --plan it is sent there. The cluster does so by itself where the setting rebalance.mode is `auto`, and says so where it is `advise`.

import { Command, Option } from 'commander';
import { chooseServer, planMove } from '../../../shared/membership/rebalance/policy.ts';
import { type GroupSummary, summarize } from '../../../shared/membership/rebalance/summary.ts';
import { fitted } from '../../ops/statusWords.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { Listener } from './listener.ts';
import { type Access, addOperatorOptions, type OperatorOptions, sendServer, withCluster } from './operator.ts';

interface RebalanceOptions extends OperatorOptions {
  readonly plan?: boolean;
}

interface GroupLoad {
  readonly id: string;
  /** Servers that take new flows and stay, and those that are on their way elsewhere. */
  readonly servers: number;
  readonly leaving: number;
  readonly joining: number;
  /** Of the load that groups are compared by: all of it, and for each server; null where nobody tells. */
  readonly load: number | null;
  readonly loadPerServer: number | null;
}

interface RebalanceReport {
  readonly mode: string;
  /** The load that groups are compared by. */
  readonly by: string;
  readonly groups: readonly GroupLoad[];
  /** Null when no server should move. */
  readonly move: { readonly server: string; readonly from: string; readonly to: string } | null;
  /** Whether the server has been sent there. */
  readonly done: boolean;
  readonly why: string;
  /** Why groups can neither give nor take. */
  readonly leftOut: readonly string[];
}

const example = `
Examples:
  $ npx flowherd rebalance --plan
  $ NATS_NKEY_FILE=keys/admin/nats.nk npx flowherd rebalance       # and do it
  $ npx flowherd settings set rebalance.mode=auto                  # the cluster does so by itself

It listens until every server has said how busy it is, and goes by that moment; the cluster itself waits until a move has been wanted for a while
(settings rebalance.*). A server that moves keeps its flows: see "flowherd move".
${environmentHelp}`;

export function rebalanceCommand(environment: () => Environment): Command {
  const command = new Command('rebalance')
    .summary('which server should go to which group, by how busy the groups are, and why')
    .description('Says which server should go from which group to which, by how busy they are, and sends it there.')
    .addOption(new Option('--plan', 'say it, and change nothing'));
  return addOperatorOptions(command)
    .addHelpText('after', example)
    .action((options: RebalanceOptions) =>
      withCluster(options, environment(), async (access) => {
        const report = await rebalance(access, options);
        process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : inWords(report));
      }),
    );
}

async function rebalance(access: Access, options: RebalanceOptions): Promise<RebalanceReport> {
  const listener = await Listener.open(access, options.cluster);
  await listener.look();
  await listener.listen();
  await listener.look();
  const { map, mirrors } = listener;
  const settings = map.settings.rebalance;
  const views = map.groups.flatMap(({ id }) => mirrors.get(id)?.view ?? []);
  const summaries = views.map((view) => summarize(view, listener.loadsOf(view)));
  const plan = planMove(summaries, settings);
  const { leftOut } = plan;
  const common = {
    mode: settings.mode,
    by: settings.by,
    groups: summaries.map((each) => loadOf(each, settings.by)),
    leftOut,
  };
  if (!('move' in plan)) return { ...common, move: null, done: false, why: plan.none };
  const { from, to, why } = plan.move;
  const mirror = mirrors.get(from);
  const member = mirror && chooseServer(mirror.view, listener.loadsOf(mirror.view));
  if (mirror === undefined || member === undefined) return { ...common, move: null, done: false, why };
  const report = { ...common, move: { server: member.server, from, to }, done: options.plan !== true, why };
  if (!options.plan) await sendServer(access, { group: from, member, mirror }, to);
  return report;
}

function loadOf({ group, servers, leaving, joining, loads }: GroupSummary, by: keyof GroupSummary['loads']): GroupLoad {
  const { sum, told } = loads[by];
  const isKnown = told > 0;
  return {
    id: group,
    ...{ servers, leaving, joining },
    load: isKnown ? sum : null,
    loadPerServer: isKnown ? sum / told : null,
  };
}

function inWords({ mode, by, groups, move, done, why, leftOut }: RebalanceReport): string {
  const shown = (value: number | null) => (value === null ? '-' : String(Number(value.toPrecision(3))));
  const rows = groups.map(({ id, servers, leaving, joining, load, loadPerServer }) => [
    ...[id, servers, leaving, joining].map(String),
    ...[load, loadPerServer].map(shown),
  ]);
  const what =
    move === null
      ? `No server moves: ${why}.`
      : `${move.server} ${done ? 'is on its way' : 'should go'} from ${move.from} to ${move.to}: ${why}.`;
  const lines = [
    ...fitted(['group', 'servers', 'leaving', 'joining', by, 'a server'], rows),
    ...leftOut.map((each) => `! ${each}`),
    '',
    what,
    ...(done || mode === 'auto' ? [] : [`The cluster does nothing by itself: rebalance.mode is ${mode}.`]),
  ];
  return `${lines.join('\n')}\n`;
}
