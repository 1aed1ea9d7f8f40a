// The line of the log that says that a group is mapped out or in, for people: why, and where its flows go.

import type { GroupSettings } from '../../../shared/config/map.ts';
import type { Tier1Log } from '../actor.ts';
import type { MappingChange } from './silentGroups.ts';

type NamedGroup = Pick<GroupSettings, 'id' | 'weight' | 'serves'>;

const namesShown = 4;

/** `out`: all groups that are mapped out now. `returnMs`: how long this one has to be heard before it comes in again. */
export function tellMapping(
  log: Tier1Log,
  groups: readonly NamedGroup[],
  change: MappingChange,
  out: ReadonlySet<number>,
  returnMs: number,
): void {
  const { id } = groups[change.group];
  if (change.kind === 'in') {
    const outMs = Math.round(change.outMs);
    log.info({ group: id, outMs }, `group ${id} is back after ${seconds(outMs)}: its flows go to it again`);
    return;
  }
  const silentMs = change.reason === 'silent' ? Math.round(change.silentMs) : undefined;
  const why = silentMs === undefined ? 'it has no server any more' : `nothing heard of it for ${seconds(silentMs)}`;
  const fields = { group: id, ...(silentMs === undefined ? {} : { silentMs }), returnMs };
  const ways = waysOf(groups, change.group, out);
  log.warn(fields, `group ${id} is mapped out, ${why}; ${ways}, until it has been there for ${seconds(returnMs)}`);
}

/** Where the flows of a group go, in words, together or for each type. */
function waysOf(groups: readonly NamedGroup[], group: number, out: ReadonlySet<number>): string {
  const { serves } = groups[group];
  const others = (type: 'type-1' | 'type-2') =>
    groups
      .filter((each, index) => !out.has(index) && each.weight > 0 && (each.serves === 'both' || each.serves === type))
      .map(({ id }) => id);
  if (serves !== 'both') return way('its flows', others(serves));
  const [type1, type2] = [others('type-1'), others('type-2')];
  if (type1.join() === type2.join()) return way('its flows', type1);
  return `${way('its flows of type 1', type1)}, ${way('those of type 2', type2)}`;
}

function way(flows: string, groups: readonly string[]): string {
  if (groups.length === 0) return `${flows} are lost, for no other group takes them`;
  return `${flows} go to ${groups.length <= namesShown ? groups.join(', ') : `${groups.length} other groups`}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
