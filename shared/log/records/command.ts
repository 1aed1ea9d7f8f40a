// A command: an entry of the log by which somebody wants to change what the group has agreed on. Replicas carry it out if its
// preconditions hold at its position (services/dssl/replica/commands.ts); what does not apply is ignored by all of them alike.
//
//   [ format, kind, server, incarnation, epoch, ... ]        author: a life of a server, or '' and 0 for an operator
//
//   join       weight, replaces, needAt, standsFor
//                                             the author wants to be a member (transitions.ts: JoinTerms; nil where not set)
//   activate                                  the author holds the group's state
//   drain      server, incarnation[, group]   this life gets no new flows; with a group: if it is on its way there
//   leave      server, incarnation            this life is gone, of its own will or because it gave up joining
//   remove     server, incarnation, handled   this life is dead; it had handled the log up to this position (0: not known)
//   weigh      [server, weight, ...]          weights that a policy came to
//   configure  server, incarnation, weight    the configured weight of this life
//   rules      placement, rules               nil, or what changes
//   tick                                      nothing but time, and which epoch is in force
//   ask                                       the author looks for a member that holds state; whoever does, ticks
//   move       server, incarnation, group     this life is on its way to that group (transitions.ts)
//   epoch      id, number, previous, since, donorServer, donorIncarnation, birth
//                                             a line begins with the donor's state; donor '': with an empty one
//
// `epoch` (the fifth field) is the epoch that the author takes to be in force, '' when it knows none: a command meant for
// another one is ignored. `previous` is the id of the epoch that the new one follows, '' for none; `since` a position behind which its author has
// seen no sign of anybody who follows that one (services/dssl/replica/global/epochLine.ts).

import { Packr } from 'msgpackr';
import { isRecord, isWhole } from '../../base/validate.ts';
import { isName } from '../../bus/subjects.ts';
import type { Life } from '../../membership/transitions.ts';
import {
  type GroupBirth,
  type GroupRules,
  isStandsFor,
  type PlacementName,
  placementNames,
  readBirth,
} from '../../membership/view.ts';

const format = 1;
/** The longest is `weigh`, with a name of 64 characters for each of a thousand members. */
const bytesMax = 128 * 1024;
const packr = new Packr({ useRecords: false });

interface Common {
  /** Who appended it; an operator has the server name ''. */
  readonly author: Life;
  /** Id of the epoch that the author takes to be in force; '' when it knows none. */
  readonly epoch: string;
}

export interface JoinCommand extends Common {
  readonly kind: 'join';
  readonly weight: number;
  readonly replaces: number | undefined;
  readonly needAt: number | undefined;
  /** Only of a standby (standbys.ts). */
  readonly standsFor?: readonly string[] | undefined;
}

export interface LifeCommand extends Common {
  readonly kind: 'drain' | 'leave';
  readonly life: Life;
  /** Of a drain: without effect unless the server is on its way to that group. */
  readonly to?: string | undefined;
}

export interface RemoveCommand extends Common {
  readonly kind: 'remove';
  readonly life: Life;
  /** The lowest position that its server had not returned from, minus one, as far as its gossip told; 0 when unknown. */
  readonly handled: number;
}

export interface WeighCommand extends Common {
  readonly kind: 'weigh';
  readonly weights: ReadonlyMap<string, number>;
}

export interface ConfigureCommand extends Common {
  readonly kind: 'configure';
  readonly life: Life;
  readonly weight: number;
}

export interface MoveCommand extends Common {
  readonly kind: 'move';
  readonly life: Life;
  /** Name of a group. */
  readonly to: string;
}

export interface RulesCommand extends Common {
  readonly kind: 'rules';
  readonly placement: PlacementName | undefined;
  readonly rules: Partial<Pick<GroupRules, 'tableFirst' | 'midFlow' | 'maxFlows'>>;
}

export interface PlainCommand extends Common {
  readonly kind: 'activate' | 'tick' | 'ask';
}

export interface EpochCommand extends Common {
  readonly kind: 'epoch';
  readonly id: string;
  readonly number: number;
  /** Id of the epoch that this one follows; '' for none. */
  readonly previous: string;
  /** Behind this position nobody has spoken who follows that epoch. */
  readonly since: number;
  /** Whose state the line begins with; undefined: an empty one. */
  readonly donor: Life | undefined;
  /** What the first view is made of, where the line begins empty. */
  readonly birth: GroupBirth;
}

export type Command =
  | JoinCommand
  | LifeCommand
  | RemoveCommand
  | WeighCommand
  | ConfigureCommand
  | MoveCommand
  | RulesCommand
  | PlainCommand
  | EpochCommand;

export type CommandKind = Command['kind'];

export const commandKinds = [
  'join',
  'activate',
  'drain',
  'leave',
  'remove',
  'weigh',
  'configure',
  'rules',
  'tick',
  'ask',
  'epoch',
  'move',
] as const satisfies readonly CommandKind[];

/** The author of what an operator appends. */
export const operatorAuthor: Life = { server: '', incarnation: 0 };

export function encodeCommand(command: Command): Uint8Array {
  const { kind, author, epoch } = command;
  const head = [format, commandKinds.indexOf(kind), author.server, author.incarnation, epoch];
  return Uint8Array.from(packr.pack([...head, ...fieldsOf(command)]));
}

function fieldsOf(command: Command): readonly unknown[] {
  switch (command.kind) {
    case 'join':
      return [command.weight, command.replaces ?? null, command.needAt ?? null, command.standsFor ?? null];
    case 'drain':
    case 'leave': {
      const { life, to } = command;
      return [life.server, life.incarnation, ...(to === undefined ? [] : [to])];
    }
    case 'remove':
      return [command.life.server, command.life.incarnation, command.handled];
    case 'weigh':
      return [[...command.weights].flat()];
    case 'configure':
      return [command.life.server, command.life.incarnation, command.weight];
    case 'move':
      return [command.life.server, command.life.incarnation, command.to];
    case 'rules':
      return [command.placement ?? null, command.rules];
    case 'epoch': {
      const { id, number, previous, since, donor, birth } = command;
      return [id, number, previous, since, donor?.server ?? '', donor?.incarnation ?? 0, birth];
    }
    default:
      return [];
  }
}

/** Reads an entry; undefined when it is no command that this version knows. The bytes come from the network: never throws. */
export function decodeCommand(data: Uint8Array): Command | undefined {
  if (data.length > bytesMax) return undefined;
  let fields: unknown;
  try {
    fields = packr.unpack(data);
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields.length < 5 || fields[0] !== format) return undefined;
  const [, code, server, incarnation, epoch, ...rest] = fields;
  const kind = isWhole(code, 0, commandKinds.length - 1) ? commandKinds[code] : undefined;
  if (kind === undefined || !isText(server) || !isCount(incarnation) || !isText(epoch)) return undefined;
  const author = { server, incarnation };
  const isOperator = server === '' && incarnation === 0;
  if (!isOperator && !isName(server)) return undefined;
  return readKind(kind, { author, epoch }, rest);
}

function readKind(kind: CommandKind, common: Common, rest: readonly unknown[]): Command | undefined {
  switch (kind) {
    case 'activate':
    case 'tick':
    case 'ask':
      return rest.length === 0 ? { ...common, kind } : undefined;
    case 'join':
      return readJoin(common, rest);
    case 'drain':
    case 'leave': {
      const life = readLife(rest);
      const [, , to] = rest;
      if (life === undefined || rest.length > 3) return undefined;
      if (rest.length === 2) return { ...common, kind, life };
      return kind === 'drain' && typeof to === 'string' && isName(to) ? { ...common, kind, life, to } : undefined;
    }
    case 'remove': {
      const life = rest.length === 3 ? readLife(rest) : undefined;
      return life && isCount(rest[2]) ? { ...common, kind, life, handled: rest[2] } : undefined;
    }
    case 'configure': {
      const life = rest.length === 3 ? readLife(rest) : undefined;
      return life && isWeight(rest[2]) ? { ...common, kind, life, weight: rest[2] } : undefined;
    }
    case 'move': {
      const life = rest.length === 3 ? readLife(rest) : undefined;
      const [, , to] = rest;
      return life && typeof to === 'string' && isName(to) ? { ...common, kind, life, to } : undefined;
    }
    case 'weigh': {
      const weights = rest.length === 1 ? readWeights(rest[0]) : undefined;
      return weights && { ...common, kind, weights };
    }
    case 'rules':
      return readRulesCommand(common, rest);
    case 'epoch':
      return readEpoch(common, rest);
  }
}

function readJoin(common: Common, rest: readonly unknown[]): JoinCommand | undefined {
  const [weight, replaces, needAt, standsFor] = rest;
  if (rest.length !== 4 || !isWeight(weight)) return undefined;
  if ((replaces !== null && !isCount(replaces)) || (needAt !== null && !isCount(needAt))) return undefined;
  if (standsFor !== null && !isStandsFor(standsFor)) return undefined;
  const terms = { replaces: replaces ?? undefined, needAt: needAt ?? undefined };
  return { ...common, kind: 'join', weight, ...terms, ...(standsFor === null ? {} : { standsFor }) };
}

function readRulesCommand(common: Common, rest: readonly unknown[]): RulesCommand | undefined {
  const [placement, rules] = rest;
  if (rest.length !== 2 || !isRecord(rules)) return undefined;
  const known = placementNames.find((name) => name === placement);
  if (placement !== null && known === undefined) return undefined;
  const { tableFirst, midFlow, maxFlows } = rules;
  if (tableFirst !== undefined && typeof tableFirst !== 'boolean') return undefined;
  if (midFlow !== undefined && midFlow !== 'ignore' && midFlow !== 'adopt') return undefined;
  if (maxFlows !== undefined && !isWhole(maxFlows, 1, 100_000_000)) return undefined;
  const parts = {
    ...(tableFirst === undefined ? {} : { tableFirst }),
    ...(midFlow === undefined ? {} : { midFlow }),
    ...(maxFlows === undefined ? {} : { maxFlows }),
  };
  return { ...common, kind: 'rules', placement: known, rules: parts as RulesCommand['rules'] };
}

function readEpoch(common: Common, rest: readonly unknown[]): EpochCommand | undefined {
  const [id, number, previous, since, donorServer, donorIncarnation, birthFields] = rest;
  const birth = readBirth(birthFields);
  if (rest.length !== 7 || birth === undefined || !isCount(number) || !isCount(since)) return undefined;
  if (!isText(id) || id === '' || !isText(previous)) return undefined;
  const donor = donorServer === '' ? undefined : readLife([donorServer, donorIncarnation]);
  if (donorServer !== '' && donor === undefined) return undefined;
  return { ...common, kind: 'epoch', id, number, previous, since, donor, birth };
}

function readLife([server, incarnation]: readonly unknown[]): Life | undefined {
  return typeof server === 'string' && isName(server) && isCount(incarnation) ? { server, incarnation } : undefined;
}

function readWeights(value: unknown): ReadonlyMap<string, number> | undefined {
  if (!Array.isArray(value) || value.length % 2 !== 0) return undefined;
  const weights = new Map<string, number>();
  for (let at = 0; at < value.length; at += 2) {
    const [server, weight] = [value[at], value[at + 1]];
    if (typeof server !== 'string' || !isName(server) || !isWeight(weight)) return undefined;
    weights.set(server, weight);
  }
  return weights;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 64;
}

function isWeight(value: unknown): value is number {
  return isWhole(value, 0, 65_535);
}

function isCount(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
