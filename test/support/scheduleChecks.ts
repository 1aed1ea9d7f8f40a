// What must hold after a schedule in which nothing was lost, asked of nothing but what was sent and what each module said
// of it.

import type { Flow, Schedule } from './schedule.ts';

export interface Story {
  readonly checker: 'exactly-one' | 'stickiness';
  /** The packet or flow that broke, and what every module made of it. */
  readonly story: string;
}

/** The first thing that does not hold, or undefined. */
export function storyOf(schedule: Schedule): Story | undefined {
  for (const flow of schedule.flows) {
    const story = exactlyOne(schedule, flow) ?? stickiness(schedule, flow);
    if (story !== undefined) return story;
  }
  return undefined;
}

function exactlyOne({ group }: Schedule, flow: Flow): Story | undefined {
  for (const packet of flow.packets) {
    const takers = group.acceptedBy(packet);
    if (takers.length === 1) continue;
    const who = takers.length === 0 ? 'nobody' : takers.join(' and ');
    return {
      checker: 'exactly-one',
      story: `packet ${packet} of flow ${flow.id} was accepted by ${who}: ${said(group, packet)}`,
    };
  }
  return undefined;
}

function stickiness({ group }: Schedule, flow: Flow): Story | undefined {
  const [home] = group.acceptedBy(flow.packets[0]);
  const strayed = flow.packets.find((packet) => group.acceptedBy(packet)[0] !== home);
  if (strayed === undefined) return undefined;
  return {
    checker: 'stickiness',
    story: `flow ${flow.id} began at ${home} and moved at ${strayed}: ${said(group, strayed)}`,
  };
}

function said(group: Schedule['group'], packet: string): string {
  return [...(group.packets.get(packet) ?? [])].map(([module, verdict]) => `${module} ${verdict}`).join(', ');
}
