// `flowherd settings`: what can be tuned about a cluster that runs: what is in force, with what it means and costs; changes,
// which all services take over without a restart; and who changed what when.

import { Argument, Command } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { mapKey } from '../../../shared/bus/subjects.ts';
import { type ClusterMap, changedMap, decodeMap, type MapChange } from '../../../shared/config/map.ts';
import type { ClusterSettings } from '../../../shared/config/settings.ts';
import { changeMap } from '../../../shared/config/store.ts';
import {
  checkSettings,
  isSameValue,
  settingIn,
  type Tunable,
  tunableAt,
  tunables,
  unknownInWords,
  valueInWords,
  withSetting,
} from '../../../shared/config/tunables.ts';
import { wrap } from '../../local/demo/screen.ts';
import { narrowColumns } from '../../ops/statusWords.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { type Access, addOperatorOptions, asAdmin, type OperatorOptions, whoTypes, withCluster } from './operator.ts';

const example = `
Examples:
  $ npx flowherd settings
  $ NATS_NKEY_FILE=keys/admin/nats.nk npx flowherd settings set watching.beatMs=50 weights.policy=least-loaded
  $ npx flowherd settings set weights.load=cpu:2,flows:1 watching.beatMs=default
  $ npx flowherd settings history --json

Changes are checked as a whole, written by compare-and-set, and taken over by all services while they run. The history has
the last 64 versions of the cluster's map. A new cluster begins with what a file (--config) and variables such as
${tunables[0].variable} say; without any:

${tunables.map(({ path, fallback }) => `  ${path.padEnd(26)}${valueInWords(fallback)}`).join('\n')}
${environmentHelp}`;

const actions = ['show', 'set', 'history'] as const;
type Action = (typeof actions)[number];

export function settingsCommand(environment: () => Environment): Command {
  const command = new Command('settings')
    .summary('what can be tuned while a cluster runs: show it, set it, see who did')
    .description('Shows what can be tuned while a cluster runs, changes it, or shows who changed what when.')
    .addArgument(new Argument('[action]', 'what to do').choices(actions).default('show'))
    .argument('[setting=value...]', 'with "set": settings and their new values, "default" for the default');
  return addOperatorOptions(command)
    .addHelpText('after', example)
    .action((action: Action, pairs: readonly string[], options: OperatorOptions) => {
      const changes = changesIn(action, pairs);
      return withCluster(options, environment(), async (access) => {
        const { report, words } = await { show, set, history }[action](access, options.cluster, changes);
        process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : `${words().join('\n')}\n`);
      });
    });
}

interface Answer {
  readonly report: unknown;
  words(): string[];
}

interface Change {
  readonly tunable: Tunable;
  readonly value: unknown;
}

/** What was typed behind "set". Throws a FlowherdError `bad-config`; relations are looked at when all settings are known. */
function changesIn(action: Action, pairs: readonly string[]): readonly Change[] {
  const list = tunables.map(({ path }) => path).join(', ');
  if (action !== 'set' && pairs.length > 0) throw refused(`settings ${action} takes no ${pairs[0]}`);
  if (action === 'set' && pairs.length === 0)
    throw refused(`settings set: name what to set, as setting=value: ${list}`);
  const changes = pairs.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw refused(`settings set ${pair}: write it as setting=value`);
    const path = pair.slice(0, at).trim();
    const tunable = tunableAt(path);
    if (tunable === undefined) throw refused(`settings set: ${unknownInWords(path.split('.').slice(0, 2))}`);
    const text = pair.slice(at + 1);
    return { tunable, value: text.trim() === 'default' ? tunable.fallback : tunable.read(text) };
  });
  const twice = changes.find(({ tunable }, index) => changes.findIndex((each) => each.tunable === tunable) !== index);
  if (twice !== undefined) throw refused(`settings set: ${twice.tunable.path} is there twice`);
  return changes;
}

async function show(access: Access, cluster: string): Promise<Answer> {
  const { version, changed, settings } = await access.readMap();
  const listed = tunables.map((tunable) => {
    const { path, variable, fallback, words, allowed } = tunable;
    const value = settingIn(settings, tunable);
    return { path, value, default: fallback, differs: !isSameValue(value, fallback), words, allowed, variable };
  });
  const words = (): string[] => {
    const differing = listed.filter(({ differs }) => differs).length;
    const by = changed === undefined ? 'as it was made' : changeInWords(changed);
    return [
      ...wrap(`Settings of cluster ${cluster}, map version ${version}, ${by}.`, narrowColumns),
      differing === 0
        ? 'All are the defaults.'
        : `${differing} of ${listed.length} are not the defaults, marked with *.`,
      ...listed.flatMap((each) => {
        const former = each.differs ? ` (default ${valueInWords(each.default)})` : '';
        const title = `${each.differs ? '*' : ' '} ${each.path} = ${valueInWords(each.value)}${former}`;
        return [
          '',
          title,
          ...wrap(`${each.words} (${each.allowed}; ${each.variable})`, narrowColumns - 6).map(
            (line) => `      ${line}`,
          ),
        ];
      }),
    ];
  };
  return {
    report: { cluster, version, ...(changed === undefined ? {} : { changed }), settings, tunables: listed },
    words,
  };
}

async function set(access: Access, cluster: string, changes: readonly Change[]): Promise<Answer> {
  const step = (map: ClusterMap): ClusterMap | undefined => {
    const settings = changedSettings(map.settings, changes);
    const what = changes.flatMap((change) => changeOf(map, settings, change));
    if (what.length === 0) return undefined;
    return changedMap(map, { settings }, { by: whoTypes(), atMs: systemClock.nowMs(), what: what.join(', ') });
  };
  // A look first: mistakes and a cluster that is not there are to be said to every login.
  const before = await access.readMap();
  const isNeeded = step(before) !== undefined;
  const written = isNeeded ? await asAdmin(() => changeMap(access.store, step)) : undefined;
  const { version, changed, settings } = written ?? before;
  const report = {
    cluster,
    version,
    written: written !== undefined,
    ...(changed === undefined ? {} : { changed }),
    settings,
  };
  const words = () =>
    written?.changed === undefined
      ? [`Nothing to change: the settings are so already (map version ${version}).`]
      : [`Changed ${written.changed.what} (map version ${version}).`];
  return { report, words };
}

function changedSettings(settings: ClusterSettings, changes: readonly Change[]): ClusterSettings {
  let values: unknown = settings;
  for (const { tunable, value } of changes) values = withSetting(values, tunable, value);
  const checked = checkSettings(values);
  if ('problems' in checked) throw refused(`settings set: ${checked.problems.join('; ')}`);
  return checked;
}

function changeOf(map: ClusterMap, settings: ClusterSettings, { tunable }: Change): string[] {
  const [from, to] = [settingIn(map.settings, tunable), settingIn(settings, tunable)];
  return isSameValue(from, to) ? [] : [`${tunable.path} from ${valueInWords(from)} to ${valueInWords(to)}`];
}

async function history({ store, readMap }: Access, cluster: string): Promise<Answer> {
  // Without a map there is no cluster, which this says.
  await readMap();
  const entries = await store.history(mapKey);
  const maps = entries.flatMap(({ value }) => decodeMap(value) ?? []);
  const unreadable = entries.length - maps.length;
  const changes = maps.map(({ version, changed }) => ({ version, ...changed }));
  const words = () => [
    ...maps.flatMap(({ version, changed }) => {
      const line = changed === undefined ? 'made' : changeInWords(changed);
      return wrap(`${version}  ${line}`, narrowColumns).map((each, index) => (index === 0 ? each : `    ${each}`));
    }),
    ...(unreadable === 0 ? [] : [`${unreadable} versions are such that this program cannot read them.`]),
  ];
  return { report: { cluster, changes, unreadable }, words };
}

function changeInWords({ by, atMs, what }: MapChange): string {
  return `changed ${new Date(atMs).toISOString()} by ${by}: ${what}`;
}

function refused(text: string): FlowherdError {
  return new FlowherdError(errorCodes.badConfig, text);
}
