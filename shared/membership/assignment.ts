// Where a server goes: a pure choice from the map, the views and the server's name.
//
// The mirrors of the views are read, the choice is made, and the join is appended to the group's log. Meanwhile others may have
// chosen by the same views, and all of them the same group. So a choice carries what it was made by, and the command
// has no effect when that holds no longer: the chooser reads again and chooses again. Members only come while
// servers start, so whoever is not declined has joined a group that no other was more in need than, whatever the order
// of reads and writes. Each decline means that somebody else got in, so everybody gets in.
//
// Names are unique in a cluster: two lives of one name are of one process. A life of the same name of another process is
// either alive, and then nobody may join under it, or dead, and then its place is what its successor takes. Which of the
// two it is cannot be seen in a view; the caller asks (services/dssl/member/place.ts), and the command has no effect when
// another life than the one found dead has the name.

import { limits } from '../base/limits.ts';
import type { GroupSettings } from '../config/map.ts';
import { isStandby } from './standbys.ts';
import { type Candidate, countTaking, type JoinTerms } from './transitions.ts';
import { findMember, type MemberState, type View } from './view.ts';

/** Newest view by group; groups that never had a member have none. */
export type Views = ReadonlyMap<string, View>;

/** Where a name is a member. */
export interface FoundLife {
  readonly group: string;
  readonly incarnation: number;
  readonly state: MemberState;
}

/** A place in a group, and what must still hold when it is taken. */
export interface Place extends JoinTerms {
  readonly group: string;
}

/** Every group in which `server` is a member, in the order of the map. */
export function livesOf(groups: readonly GroupSettings[], views: Views, server: string): FoundLife[] {
  return groups.flatMap(({ id }) => {
    const view = views.get(id);
    const member = view && findMember(view, server);
    return member === undefined ? [] : [{ group: id, incarnation: member.incarnation, state: member.state }];
  });
}

/**
 * The place of `server`, whose lives in the views are all dead: in the group that is wanted, else where its former life
 * was, else in the group most in need of a server. Undefined when there is no room.
 */
export function findPlace(
  groups: readonly GroupSettings[],
  views: Views,
  server: string,
  wanted?: string,
): Place | undefined {
  const former = livesOf(groups, views, server);
  const group = wanted ?? former[0]?.group;
  if (group === undefined) return neediest(groups, views);
  const replaces = former.find((life) => life.group === group)?.incarnation;
  return replaces !== undefined || hasRoom(views.get(group)) ? { group, replaces, needAt: undefined } : undefined;
}

/** Fewest members for the group's weight; then fewest members in all; then the order of the map. Weight 0 comes last. */
function neediest(groups: readonly GroupSettings[], views: Views): Place | undefined {
  const rooms = groups
    .map(({ id, weight }) => {
      const view = views.get(id);
      return { id, weight, members: countTaking(view), inAll: view?.members.length ?? 0, hasRoom: hasRoom(view) };
    })
    .filter((group) => group.hasRoom);
  const [best] = rooms.sort(
    (one, other) =>
      Number(one.weight === 0) - Number(other.weight === 0) ||
      // members / weight, compared without division: the products are exact. Groups of weight 0 go by members alone.
      one.members * (other.weight || 1) - other.members * (one.weight || 1) ||
      one.inAll - other.inAll,
  );
  return best && { group: best.id, replaces: undefined, needAt: best.members };
}

/** Why a standby has nobody to stand for in a group, or undefined: no server is there, or as many standbys for all as servers. */
export function standbyProblem(
  group: string,
  view: View | undefined,
  { server, standsFor }: Pick<Candidate, 'server' | 'standsFor'>,
): string | undefined {
  if (standsFor === undefined) return undefined;
  const others = view?.members.filter((member) => member.server !== server) ?? [];
  const standbys = others.filter((member) => isStandby(member)).length;
  const servers = others.length - standbys;
  if (servers > 0 && (standsFor.length > 0 || standbys < servers)) return undefined;
  const count = (number: number, one: string, more: string) => `${number} ${number === 1 ? one : more}`;
  return `group ${group} has ${count(servers, 'server', 'servers')} and ${count(standbys, 'standby', 'standbys')}: standby ${server} would stand for nobody`;
}

function hasRoom(view: View | undefined): boolean {
  return (view?.members.length ?? 0) < limits.groupMembers;
}
