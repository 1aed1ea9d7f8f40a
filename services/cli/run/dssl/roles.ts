// What a DSSL process is in its cluster: a server in one group or in several that overlap in it (as server 5 of Fig. 2), or a standby in one group or
// several (shared/membership/standbys.ts). A server has one name in all its groups; a standby of several groups has a name of its own in each.

import { InvalidArgumentError, Option } from 'commander';
import { errorCodes, FlowherdError } from '../../../../shared/base/errors.ts';
import { isName } from '../../../../shared/bus/subjects.ts';
import { birthOf, type ClusterMap } from '../../../../shared/config/map.ts';
import { hasStandbys } from '../../../../shared/membership/standbys.ts';

export interface RoleOptions {
  /** Groups by name; `all` for all there are. */
  readonly memberOf?: readonly string[];
  /** Servers by name; `all` for those of the group. */
  readonly standbyFor?: readonly string[];
  readonly egress?: string | undefined;
}

/** One membership of the process. */
export interface Role {
  readonly server: string;
  /** Undefined: the server chooses one. */
  readonly memberOf: string | undefined;
  readonly standsFor?: readonly string[];
}

export function memberOfOption(): Option {
  return new Option(
    '--member-of <group>',
    'group to join (default: its former one, else the one with the fewest members for its weight); several, that overlap in this server: g1,g2 or "all"',
  ).argParser(parseNames);
}

export function standbyForOption(): Option {
  return new Option(
    '--standby-for <servers>',
    'take no flows but stand by: for servers by name, such as s1,s2 (--availability active-passive), or for "all" of the group (n-plus-m)',
  ).argParser(parseNames);
}

/** What the process is to be. Throws a FlowherdError `bad-config`. */
export function rolesOf(options: RoleOptions, server: string, map: ClusterMap): readonly Role[] {
  const { standbyFor } = options;
  const ids = map.groups.map(({ id }) => id);
  const groups = options.memberOf?.join() === 'all' && !ids.includes('all') ? ids : options.memberOf;
  const unknown = groups?.find((group) => !ids.includes(group));
  if (unknown !== undefined)
    throw bad(`there is no group ${unknown} in this cluster; its groups are ${ids.join(', ')}`);
  if (standbyFor === undefined) {
    if (groups === undefined) return [{ server, memberOf: undefined }];
    if (groups.length > 1 && options.egress === 'bus')
      throw bad(
        `--member-of ${groups.join()}: a server in several groups cannot be another process (--egress bus): one actor feeds it`,
      );
    return groups.map((memberOf) => ({ server, memberOf }));
  }
  if (groups === undefined && ids.length > 1)
    throw bad(
      `--standby-for ${standbyFor.join()}: say in which group, with --member-of; the groups are ${ids.join(', ')}`,
    );
  const among = groups ?? ids;
  const isForAll = standbyFor.join() === 'all';
  if (standbyFor.includes(server))
    throw bad(`--standby-for ${standbyFor.join()}: server ${server} cannot be a standby for itself`);
  if (!isForAll && among.length > 1)
    throw bad(`--member-of ${among.join()}: only a standby for all (--standby-for all) may be in several groups`);
  for (const group of among) checkScope(map, group, isForAll, standbyFor);
  const standsFor = isForAll ? [] : standbyFor;
  return among.map((group) => ({
    server: among.length === 1 ? server : inGroup(server, group),
    memberOf: group,
    standsFor,
  }));
}

function checkScope(map: ClusterMap, group: string, isForAll: boolean, standbyFor: readonly string[]): void {
  const { availability } = birthOf(map, group).rules;
  const asked = `--standby-for ${standbyFor.join()}`;
  if (!hasStandbys(availability))
    throw bad(
      `${asked}: group ${group} has no standbys, its availability is ${availability}; see "flowherd init --availability"`,
    );
  if (isForAll && availability === 'active-passive')
    throw bad(`${asked}: in group ${group} (active-passive) a standby names the servers that it stands for`);
  if (!isForAll && availability === 'n-plus-m')
    throw bad(`${asked}: in group ${group} (n-plus-m) standbys stand for all: write --standby-for all`);
}

function inGroup(server: string, group: string): string {
  const name = `${server}-${group}`;
  if (!isName(name)) throw bad(`--server ${server}: "${name}", the standby's name in group ${group}, is too long`);
  return name;
}

function parseNames(text: string): readonly string[] {
  const names = text.split(',');
  if (names.every(isName) && new Set(names).size === names.length) return names;
  throw new InvalidArgumentError(
    'names are wanted, separated by commas, none twice; a name is 1 to 64 of the characters A-Z a-z 0-9 _ -',
  );
}

function bad(text: string): FlowherdError {
  return new FlowherdError(errorCodes.badConfig, text);
}
