// The option `--availability`: what becomes of flows whose server dies, for the cluster and for groups of it.

import { InvalidArgumentError } from 'commander';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { isOneOf } from '../../../shared/base/validate.ts';
import { isName } from '../../../shared/bus/subjects.ts';
import type { GroupSettings } from '../../../shared/config/map.ts';
import { type AvailabilityName, availabilityNames, defaultRules } from '../../../shared/membership/view.ts';

/** `n-plus-m,g1=none`: for all groups, and for those that differ. */
export interface AvailabilityChoice {
  readonly usual: AvailabilityName;
  readonly groups: Readonly<Record<string, AvailabilityName>>;
}

export const usualAvailability: AvailabilityChoice = { usual: defaultRules.availability, groups: {} };

/** Reads what was typed; what is not said of all groups is as usual. */
export function parseAvailability(text: string): AvailabilityChoice {
  let { usual } = usualAvailability;
  const groups: Record<string, AvailabilityName> = {};
  for (const part of text.split(',')) {
    const [name, group] = part.split('=').reverse();
    if (!isOneOf(availabilityNames, name) || part.split('=').length > 2)
      throw new InvalidArgumentError(
        `${availabilityNames.join(', ')} is wanted, or <group>=<one of these>, separated by commas`,
      );
    if (group === undefined) usual = name;
    else if (isName(group)) groups[group] = name;
    else throw new InvalidArgumentError(`"${group}" is no name of a group`);
  }
  return { usual, groups };
}

/** The groups with what was said of each. Throws a FlowherdError `bad-config` for one that there is not. */
export function withAvailability(
  groups: readonly GroupSettings[],
  { usual, groups: said }: AvailabilityChoice,
): readonly GroupSettings[] {
  const unknown = Object.keys(said).find((name) => !groups.some(({ id }) => id === name));
  if (unknown !== undefined) {
    const text = `--availability ${unknown}=${said[unknown]}: there is no group ${unknown}; the groups are ${groups.map(({ id }) => id).join(', ')}`;
    throw new FlowherdError(errorCodes.badConfig, text);
  }
  return groups.map((group) => {
    const availability = said[group.id] ?? usual;
    return availability === usual ? group : { ...group, availability };
  });
}
