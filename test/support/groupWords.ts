// Words of golden transcripts for what is in a group's log, and lists of flows in short.

import type { Command } from '../../shared/log/records/command.ts';
import { defaultIdle, type IdleLimits, parseIdle } from '../../shared/membership/idleLimits.ts';
import type { Member, View } from '../../shared/membership/view.ts';

export function viewInWords({ number, members }: View): string {
  const each = ({ server, state, weight, standsFor, inPlaceOf, movesTo }: Member): string => {
    if (standsFor !== undefined)
      return `${server} ${state === 'active' ? '' : `${state}, `}stands by for ${standsFor.join(' ') || 'all'}`;
    const place = inPlaceOf === undefined ? '' : ` in the place of ${inPlaceOf}`;
    const way = movesTo === undefined ? '' : ` on its way to ${movesTo}`;
    return `${server} ${state}${weight === 100 ? '' : ` of weight ${weight}`}${place}${way}`;
  };
  return `view ${number}: ${members.map(each).join(', ') || 'nobody'}`;
}

export function commandInWords(command: Command): string {
  const who = command.author.server === '' ? 'an operator' : command.author.server;
  switch (command.kind) {
    case 'join':
      return command.replaces === undefined ? `${who} joins` : `${who} takes the place of its former life`;
    case 'activate':
      return `${who} is ready`;
    case 'drain':
      return command.life.server === who ? `${who} drains` : `${who} drains ${command.life.server}`;
    case 'leave':
      return command.life.server === who ? `${who} leaves` : `${who} takes ${command.life.server} out`;
    case 'remove':
      return `${who} removes ${command.life.server}`;
    case 'weigh':
      return `${who} weighs ${[...command.weights].map(([server, weight]) => `${server} ${weight}`).join(', ')}`;
    case 'configure':
      return `${who} gives ${command.life.server} the weight ${command.weight}`;
    case 'move':
      return `${who} sends ${command.life.server} to ${command.to}`;
    case 'rules':
      return `${who} changes the rules`;
    case 'tick':
      return `${who} ticks`;
    case 'ask':
      return `${who} asks who holds state`;
    case 'epoch': {
      const state = command.donor === undefined ? 'empty' : `with the state of ${command.donor.server}`;
      return `${who} begins epoch ${command.number}, ${state}`;
    }
  }
}

/** `1 3 5-8` as numbers. */
export function numbersOf(words: readonly string[]): number[] {
  return words.flatMap((word) => {
    const [from, to = from] = word.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}

/** Numbers in short, `1 3 5-8`. */
export function flowsIn(flows: readonly number[]): string {
  const sorted = [...flows].sort((one, other) => one - other);
  const words: string[] = [];
  for (let at = 0; at < sorted.length; ) {
    let last = at;
    while (sorted[last + 1] === sorted[last] + 1) last++;
    words.push(last > at + 1 ? `${sorted[at]}-${sorted[last]}` : sorted.slice(at, last + 1).join(' '));
    at = last + 1;
  }
  return words.join(' ');
}

export function flowsInWords(flows: readonly number[]): string {
  return flows.length === 0 ? 'no flow' : `${flows.length === 1 ? 'flow' : 'flows'} ${flowsIn(flows)}`;
}

/** What is said again and again is said once, with how often. */
export function joinAlike(lines: readonly string[]): string[] {
  const joined: { line: string; key: string; times: number }[] = [];
  for (const line of lines) {
    const key = line.replace(/^[\d.]+ s {2}/, '');
    const last = joined.at(-1);
    if (last?.key === key && key !== line) last.times++;
    else joined.push({ line, key, times: 1 });
  }
  return joined.map(({ line, times }) => (times === 1 ? line : `${line} (${times} times)`));
}

export function idleIn(words: readonly string[]): IdleLimits {
  const idle: Record<string, number> = { ...defaultIdle };
  for (const word of words.filter((each) => each.includes('='))) {
    const limit = parseIdle(word);
    if (typeof limit === 'string') throw new Error(limit);
    idle[limit.name] = limit.seconds;
  }
  return idle as IdleLimits;
}
