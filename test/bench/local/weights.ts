// How evenly a group is loaded under each policy of weights, and how many views that takes: the study of herding
// (test/herding). It is a simulation in virtual time, so its figures are exact: they do not depend on how fast
// or how busy the machine is.

import type { Outcome } from '../../herding/model.ts';
import { type SetupName, seeds, setups, study, type Way, ways } from '../../herding/study.ts';
import type { BenchmarkResult, Figure, Target } from '../runner.ts';

const names = Object.keys(ways) as Way[];

/** Key of the figures, and what ours has to reach, by set-up. */
const about: Readonly<Record<SetupName, { readonly name: string; readonly target: Partial<Record<Way, Target>> }>> = {
  alike: { name: 'Alike64', target: { leastLoaded: { atMost: 1.35 }, fewestFlows: { atMost: 1.35 } } },
  stale: { name: 'Stale64', target: { leastLoaded: { atMost: 1.35 }, fewestFlows: { atMost: 1.35 } } },
  skewed: { name: 'Skewed12', target: { leastLoaded: { atMost: 1.3 } } },
  paced: { name: 'Paced12', target: { leastLoaded: { atMost: 1.3 }, fewestFlows: { atMost: 1.3 } } },
};

export function run(say: (line: string) => void): BenchmarkResult {
  return {
    figures: (Object.keys(setups) as SetupName[]).flatMap((name) => {
      const setup = setups[name];
      say(`${setup.speeds.length} servers, ${name}`);
      const outcomes = names.map((way) => [way, study(setup, way)] as const);
      const figures = (figure: keyof Outcome, ways = outcomes) =>
        Object.fromEntries(ways.map(([way, outcome]) => [way, outcome[figure]]));
      const { speeds, ...others } = setup;
      const explain = { seeds, servers: speeds.length, speeds: [...new Set(speeds)], ...others };
      const placed = outcomes.filter(([way]) => way !== 'naive' && way !== 'twoChoices');
      const views: Figure = {
        key: `weights${about[name].name}ViewsPerMinute`,
        value: figures('viewChangesPerMinute', placed),
        unit: 'views/min',
        target: { leastLoaded: { atMost: 2 }, fewestFlows: { atMost: 2 } },
        explain,
      };
      const load: Figure = {
        key: `weights${about[name].name}MaxOverAvg`,
        value: figures('maxOverAvg'),
        unit: 'max/avg load',
        target: about[name].target as Record<string, Target>,
        explain: { ...explain, flowsMaxOverAvg: figures('flowsMaxOverAvg'), worstSecond: figures('worst') },
      };
      return [load, views];
    }),
  };
}
