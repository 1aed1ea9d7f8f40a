// Tables stay within their limits, and what waits is bounded.

import { limits } from '../../../shared/base/limits.ts';
import type { World } from '../world.ts';
import type { Finding } from './finding.ts';

export function tableLimits(world: World): Finding | undefined {
  const wrong = (what: string): Finding => ({ checker: 'limits', what });
  for (const { actor, options } of world.servers) {
    const { decider, streams } = actor.core;
    if (decider.table.size > options.maxFlows)
      return wrong(`the table of ${options.name} holds ${decider.table.size} flows, ${options.maxFlows} are the most`);
    if (decider.recentStarts.size > limits.recentStarts)
      return wrong(`${options.name} remembers ${decider.recentStarts.size} starts`);
    for (const stream of streams.all()) {
      if (stream.waiting.length > limits.waitingFrames)
        return wrong(`${stream.waiting.length} frames of ${stream.id} wait at ${options.name}`);
      if (options.process.isAlive && stream.waiting.length > 0)
        return wrong(`${stream.waiting.length} frames of ${stream.id} still wait at ${options.name} in the end`);
    }
  }
  return undefined;
}
