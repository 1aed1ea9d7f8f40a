// Tables stay within their limits, and what waits is bounded.

import { limits } from '../../../shared/base/limits.ts';
import { sliceCount } from '../reference/judgement.ts';
import type { World } from '../world.ts';
import type { Finding } from './finding.ts';

export function tableLimits(world: World): Finding | undefined {
  const wrong = (what: string): Finding => ({ checker: 'limits', what });
  for (const { actor, options } of world.servers) {
    const { replica } = actor;
    if (replica === undefined) continue;
    // The cap holds for each slice; by Fig. 6 connections count beside what all know.
    const { maxFlows } = replica.view.rules;
    const most = sliceCount * Math.max(1, Math.floor(maxFlows / sliceCount)) * (world.isPrivate ? 2 : 1);
    if (replica.table.size > most)
      return wrong(`the table of ${options.name} holds ${replica.table.size} flows, ${most} are the most`);
    if (replica.recentStarts > limits.recentStarts)
      return wrong(`${options.name} remembers ${replica.recentStarts} starts`);
  }
  return undefined;
}
