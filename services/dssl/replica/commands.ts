// What a command does to a group's agreement: the next view, or none where a precondition does not hold at the command's
// position. What does not apply is ignored by every replica alike, so nobody needs to be asked and nothing is tried again.
//
//   join                   anybody, under the terms of the command; a life joins once (roster.ts)
//   activate               a joining member, for itself
//   drain, configure       a member, for whichever life; an operator
//   move                   the same; back to its group from draining, only itself
//   leave                  a member, for itself; an operator, for a life that is gone
//   remove                 a member, for whichever life, unless it is the last one that takes flows
//   weigh                  a member
//   rules                  a member or an operator; the rules must go together
//   tick, ask, epoch       change no view (epochLine.ts)

import { type Command, operatorAuthor } from '../../../shared/log/records/command.ts';
import {
  activate,
  changeRules,
  configureWeight,
  drain,
  isLifeOf,
  join,
  leave,
  move,
  remove,
  reweigh,
} from '../../../shared/membership/transitions.ts';
import { rulesProblem, type View } from '../../../shared/membership/view.ts';
import { noServer } from './flows/entry.ts';
import type { Roster } from './global/roster.ts';

export { asksNeeded } from './global/epochLine.ts';

export interface Agreement {
  readonly view: View;
  readonly roster: Roster;
}

/** The view after the command, which is the same one when the command has no effect. Keeps the roster. */
export function applyCommand({ view, roster }: Agreement, command: Command, position: number, timeMs: number): View {
  const next = nextView(view, roster, command, timeMs);
  if (next === view) return view;
  const remaining = new Set(next.members.map(({ number }) => number));
  for (const { number } of view.members) if (!remaining.has(number)) roster.gone(number, timeMs);
  const present = new Set(view.members.map(({ number }) => number));
  for (const member of next.members) if (!present.has(member.number)) roster.add(member, member.number, position);
  return next;
}

function nextView(view: View, roster: Roster, command: Command, timeMs: number): View {
  const { author } = command;
  const isMember = view.members.some((member) => isLifeOf(member, author));
  const isOperator = isLifeOf(author, operatorAuthor);
  switch (command.kind) {
    case 'join': {
      const number = roster.next(timeMs);
      if (isOperator || number === noServer || roster.numberOf(author) !== noServer) return view;
      const { weight, standsFor } = command;
      return join(view, { ...author, weight, standsFor }, number, command);
    }
    case 'activate':
      return activate(view, author);
    case 'drain':
      return isMember || isOperator ? drain(view, command.life, command.to) : view;
    case 'leave':
      return isLifeOf(author, command.life) || isOperator ? leave(view, command.life) : view;
    case 'remove':
      return remove(view, command.life, author);
    case 'weigh':
      return isMember ? reweigh(view, command.weights) : view;
    case 'configure':
      return isMember || isOperator ? configureWeight(view, command.life, command.weight) : view;
    case 'move':
      return isMember || isOperator ? move(view, command.life, command.to, author) : view;
    case 'rules': {
      if (!isMember && !isOperator) return view;
      const next = changeRules(
        view,
        command.placement === undefined ? {} : { placement: command.placement },
        command.rules,
      );
      return rulesProblem(next.rules) === undefined ? next : view;
    }
    default:
      return view;
  }
}
