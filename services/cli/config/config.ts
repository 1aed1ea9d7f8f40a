// The settings that a process was asked for: the defaults, over them a configuration file (`--config`, FLOWHERD_CONFIG), over
// that the variables of the environment, such as FLOWHERD_WATCHING_BEAT_MS. The file is JSON, with the sections of the
// settings: { "watching": { "beatMs": 50 }, "weights": { "policy": "least-loaded" } }.
//
// What cannot be is refused before anything is connected, in one line that names the file or the variable.

import { closeSync, openSync, readSync } from 'node:fs';
import { Option } from 'commander';
import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import { nearest } from '../../../shared/base/nearest.ts';
import { isRecord } from '../../../shared/base/validate.ts';
import {
  type ClusterSettings,
  defaultSettings,
  findProblems,
  type SettingsProblem,
  settingsSchema,
} from '../../../shared/config/settings.ts';
import {
  inCapitals,
  problemInWords,
  sections,
  settingIn,
  type Tunable,
  tunables,
  variablePrefix,
  wantedBy,
  withSetting,
} from '../../../shared/config/tunables.ts';
import { faultIn } from '../../ops/jsonText.ts';

type Variables = Readonly<Record<string, string | undefined>>;

/** Settings, and which of them were asked for; the others have their defaults. */
export interface AskedSettings {
  readonly settings: ClusterSettings;
  readonly asked: readonly Tunable[];
}

export const nothingAsked: AskedSettings = { settings: defaultSettings, asked: [] };

export function configOption(): Option {
  return new Option(
    '--config <file>',
    'settings of a new cluster, as JSON; "flowherd settings" lists them, with the variables that beat the file',
  ).env('FLOWHERD_CONFIG');
}

/** The variables that may be settings. */
export function settingVariables(variables: Variables): Readonly<Record<string, string>> {
  const found = Object.entries(variables).filter(([name, text]) => name.startsWith(variablePrefix) && text);
  return Object.fromEntries(found) as Record<string, string>;
}

/** Reads both. Throws a FlowherdError `bad-config` that says what is wrong where. */
export function askedSettings(file: string | undefined, variables: Variables = {}): AskedSettings {
  const inFile = file ? readConfig(file) : {};
  const given = tunables.filter(({ variable }) => variables[variable]);
  for (const name of Object.keys(variables)) refuseUnknown(name);
  let values: unknown = inFile;
  for (const tunable of given) values = withSetting(values, tunable, tunable.read(variables[tunable.variable] ?? ''));
  const parsed = settingsSchema.safeParse(values);
  if (parsed.success) {
    return { settings: parsed.data, asked: tunables.filter((tunable) => settingIn(values, tunable) !== undefined) };
  }
  const sources = { file: `configuration ${file}`, given, variables };
  const lines = findProblems(values).map((problem) => tell(problem, values, sources));
  throw refused(
    lines.length > most ? `${lines.slice(0, most).join('; ')}; and ${lines.length - most} more` : lines.join('; '),
  );
}

/** So many mistakes fit a line. */
const most = 3;
const longestConfig = 1_048_576;

interface Sources {
  readonly file: string;
  /** What the environment has. */
  readonly given: readonly Tunable[];
  readonly variables: Variables;
}

function tell(problem: SettingsProblem, values: unknown, { file, given, variables }: Sources): string {
  const isAt = ({ section, name }: Tunable, path: readonly string[] = []) => section === path[0] && name === path[1];
  const variableOf = (path: readonly string[] | undefined) => given.find((tunable) => isAt(tunable, path));
  const inEnvironment = variableOf(problem.path);
  const words = problemInWords(problem, values);
  if (problem.kind === 'value' && problem.path.length === 2 && inEnvironment !== undefined) {
    return `${inEnvironment.variable}=${variables[inEnvironment.variable]}: must be ${wantedBy(problem)}`;
  }
  // Two settings that are at odds: the first one may have its default, then it is the second one that was asked for.
  const isAsked = problem.kind !== 'relation' || settingIn(values, placeOf(problem.path)) !== undefined;
  const source = inEnvironment ?? (isAsked ? undefined : variableOf(problem.other));
  return `${source === undefined ? file : `${source.variable}=${variables[source.variable]}`}: ${words}`;
}

function placeOf([section, name]: readonly string[]): { section: string; name: string } {
  return { section, name };
}

/** A variable that looks like a setting and is none. Others are somebody else's. */
function refuseUnknown(variable: string): void {
  if (tunables.some((tunable) => tunable.variable === variable)) return;
  const section = sections.find((each) => variable.startsWith(`${variablePrefix}${inCapitals(each)}_`));
  if (section !== undefined) {
    const mine = tunables.filter((tunable) => tunable.section === section).map(({ name }) => inCapitals(name));
    const start = `${variablePrefix}${inCapitals(section)}_`;
    const near = nearest(variable.slice(start.length), mine);
    const help =
      near === undefined ? `: there are ${start}${mine.join(`, ${start}`)}` : `, did you mean ${start}${near}?`;
    throw refused(`${variable} is no setting${help}`);
  }
  for (const tunable of tunables) {
    if (!variable.endsWith(`_${inCapitals(tunable.name)}`)) continue;
    const mistyped = variable.slice(variablePrefix.length, -inCapitals(tunable.name).length - 1);
    if (nearest(mistyped, [inCapitals(tunable.section)]) === undefined) continue;
    throw refused(`${variable} is no setting, did you mean ${tunable.variable}?`);
  }
}

function readConfig(file: string): Record<string, unknown> {
  const text = readBounded(file).replace(/^\uFEFF/, '');
  const fault = faultIn(text);
  if (fault !== undefined) {
    throw refused(`configuration ${file}: line ${fault.line}, column ${fault.column}: ${fault.reason}`);
  }
  const value: unknown = JSON.parse(text);
  if (isRecord(value)) return value;
  throw refused(`configuration ${file}: an object with ${sections.join(', ')} is wanted`);
}

function readBounded(file: string): string {
  const bytes = Buffer.alloc(longestConfig + 1);
  let length = 0;
  try {
    const handle = openSync(file, 'r');
    try {
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = readSync(handle, bytes, length, bytes.length - length, null);
      }
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    throw refused(`configuration ${file} cannot be read (${reasonOf(error)})`, error);
  }
  if (length > longestConfig) throw refused(`configuration ${file} has more than ${longestConfig} bytes`);
  return bytes.toString('utf8', 0, length);
}

function refused(text: string, cause?: unknown): FlowherdError {
  return new FlowherdError(errorCodes.badConfig, text, cause);
}
