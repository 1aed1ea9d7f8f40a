// Every setting of a cluster with its names: as people write it (`watching.beatMs`), as a variable of the environment
// (`FLOWHERD_WATCHING_BEAT_MS`), and as text. All of it is read off the schema (settings.ts), so a new setting is there by
// itself; so are the words for mistakes.

import { didYouMean, nearest } from '../base/nearest.ts';
import { isRecord } from '../base/validate.ts';
import { blendNames } from '../membership/load.ts';
import {
  type ClusterSettings,
  defaultSettings,
  findProblems,
  type SettingsProblem,
  settingsAsJsonSchema,
  settingsSchema,
} from './settings.ts';

export interface Tunable {
  readonly section: string;
  readonly name: string;
  /** Both, as people write them. */
  readonly path: string;
  /** Its variable in the environment. */
  readonly variable: string;
  readonly fallback: unknown;
  /** What it means, its unit, and what it costs. */
  readonly words: string;
  /** What it may be. */
  readonly allowed: string;
  /** The value that a text stands for; the text itself where it stands for none, which the schema then refuses. */
  read(text: string): unknown;
}

/** What every variable of a setting begins with. */
export const variablePrefix = 'FLOWHERD_';

export const tunables: readonly Tunable[] = readSchema();
export const sections: readonly string[] = [...new Set(tunables.map(({ section }) => section))];

const paths = tunables.map(({ path }) => path);

/** The setting of that path, or undefined. */
export function tunableAt(path: string): Tunable | undefined {
  return tunables.find((each) => each.path === path);
}

/** What these settings have there; also of settings that were not checked yet. */
export function settingIn(settings: unknown, { section, name }: Pick<Tunable, 'section' | 'name'>): unknown {
  const values = isRecord(settings) ? settings[section] : undefined;
  return isRecord(values) ? values[name] : undefined;
}

/** The same settings with another value there. They are not checked. */
export function withSetting(settings: unknown, { section, name }: Tunable, value: unknown): Record<string, unknown> {
  const former = isRecord(settings) ? settings : {};
  const values = former[section] ?? {};
  return isRecord(values) ? { ...former, [section]: { ...values, [name]: value } } : former;
}

/** The settings, or a line for each thing that is wrong with them. */
export function checkSettings(value: unknown): ClusterSettings | { readonly problems: readonly string[] } {
  const parsed = settingsSchema.safeParse(value);
  return parsed.success ? parsed.data : { problems: settingsProblems(value) };
}

/** What is wrong with settings, one line each, with the path; empty when they can be. */
export function settingsProblems(value: unknown): string[] {
  return findProblems(value).map((problem) => problemInWords(problem, value));
}

/** One problem in words. `value` is what was checked. */
export function problemInWords(problem: SettingsProblem, value: unknown): string {
  const { path, kind } = problem;
  const name = path.join('.');
  if (kind === 'unknown') return unknownInWords(path);
  if (path.length === 0) return `settings are an object with ${sections.join(', ')}, not ${shown(value)}`;
  if (path.length === 1)
    return `${name} is an object of settings, not ${shown((value as Record<string, unknown>)[name])}`;
  const place = { section: path[0], name: path[1] };
  const own = settingIn(value, place);
  const given = own === undefined ? settingIn(defaultSettings, place) : own;
  return `${name} is ${shown(path.length > 2 && isRecord(given) ? given[path[2]] : given)}, but must be ${wantedBy(problem)}`;
}

/** What there must be instead of what is wrong. */
export function wantedBy({ path, kind, says }: SettingsProblem): string {
  if (kind === 'relation') return says;
  if (path.length > 2) return 'a number from 0 to 1000';
  return tunableAt(path.join('.'))?.allowed ?? says;
}

/** A name that is no setting, and which one may be meant. */
export function unknownInWords(path: readonly string[]): string {
  const name = path.join('.');
  const last = path.at(-1) ?? '';
  if (path.length > 2) return `${name} is no load${didYouMean(last, blendNames) || `: there are ${list(blendNames)}`}`;
  const mine = path.length < 2 ? [] : tunables.filter(({ section }) => section === path[0]);
  const near = nearest(
    last,
    mine.map((each) => each.name),
  );
  if (near !== undefined) return `${name} is no setting, did you mean ${path[0]}.${near}?`;
  // A setting of another section, one without its section, or a section.
  const elsewhere = tunables.filter((each) => each.name === last || each.path === name).map((each) => each.path);
  const meant = elsewhere.length > 0 ? elsewhere : path.length < 2 ? [nearest(name, [...sections, ...paths])] : [];
  if (meant[0] !== undefined) return `${name} is no setting, did you mean ${meant.join(' or ')}?`;
  return `${name} is no setting: there are ${list(mine.length > 0 ? mine.map((each) => each.path) : sections)}`;
}

/** A value as people write it: `50`, `least-loaded`, `cpu:1,flows:0.5`. */
export function valueInWords(value: unknown): string {
  if (!isRecord(value)) return typeof value === 'string' ? value : shown(value);
  return Object.entries(value)
    .map(([name, part]) => `${name}:${part}`)
    .join(',');
}

/** Two values of one setting are the same, whatever the order of their parts. */
export function isSameValue(one: unknown, other: unknown): boolean {
  if (!isRecord(one) || !isRecord(other)) return one === other;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}

interface JsonSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: unknown;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
}

function readSchema(): Tunable[] {
  const { properties = {} } = settingsAsJsonSchema() as JsonSchema;
  return Object.entries(properties).flatMap(([section, { properties: inside = {} }]) =>
    Object.entries(inside).map(([name, schema]) => ({
      section,
      name,
      path: `${section}.${name}`,
      variable: `${variablePrefix}${inCapitals(section)}_${inCapitals(name)}`,
      fallback: schema.default,
      words: schema.description ?? '',
      allowed: allowedBy(schema),
      read: (text: string) => readText(schema, text.trim()),
    })),
  );
}

function allowedBy({ type, enum: names, minimum, maximum }: JsonSchema): string {
  if (names !== undefined) return `one of ${names.join(', ')}`;
  if (type === 'object') return `loads with parts, not all 0, such as cpu:1,flows:0.5; loads are ${list(blendNames)}`;
  return `${type === 'integer' ? 'a whole number' : 'a number'} from ${minimum} to ${maximum}`;
}

function readText({ type }: JsonSchema, text: string): unknown {
  if (type === 'integer' || type === 'number') return /^[+-]?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
  if (type !== 'object') return text;
  const parts = text.split(',').map((part) => /^\s*(\w+)\s*(?::\s*(\d+(?:\.\d+)?)\s*)?$/.exec(part));
  const pairs = parts.flatMap((match) => (match === null ? [] : [[match[1], Number(match[2] ?? 1)] as const]));
  const isBlend = pairs.length === parts.length && new Set(pairs.map(([name]) => name)).size === pairs.length;
  return isBlend ? Object.fromEntries(pairs) : text;
}

/** `beatMs` as `BEAT_MS`. */
export function inCapitals(name: string): string {
  return name.replace(/[A-Z]/g, '_$&').toUpperCase();
}

function list(names: readonly string[]): string {
  return names.join(', ');
}

/** A value of any kind, short enough for a line. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (isRecord(value))
    return Object.values(value).every((part) => !isRecord(part)) ? cut(valueInWords(value)) : 'an object';
  return cut(JSON.stringify(value) ?? 'nothing');
}

function cut(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
