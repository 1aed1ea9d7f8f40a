// Sabotages of moves between groups: see sabotage.ts.

import { Standing, type StandingFacts } from '../../services/dssl/member/standing.ts';
import { defaultRules } from '../../shared/membership/view.ts';
import { type Sabotage, wrap } from './sabotaging.ts';

const moves: Pick<Sabotage, 'caughtWithin' | 'kinds' | 'plan'> = {
  caughtWithin: 5,
  kinds: ['move-server', 'add-server'],
  plan: { groups: 2, serversPerGroup: 3, rules: { ...defaultRules, typeOneMethod: 'fig-7', availability: 'none' } },
};

/** What a member does before its turn. */
function beforeTick(act: (standing: Standing, facts: StandingFacts) => StandingFacts): () => void {
  return wrap(
    Standing,
    'tick',
    (original) =>
      function (this: Standing, facts: StandingFacts, nowMs: number) {
        original.call(this, act(this, facts), nowMs);
      },
  );
}

const leavesAtOnce = () =>
  beforeTick(({ phase, wantsToLeave }, facts) =>
    phase === 'draining' && !wantsToLeave ? { ...facts, ownFlows: 0 } : facts,
  );

export const moveSabotages: Readonly<Record<string, Sabotage>> = {
  'moves-at-once': {
    what: 'a server that moves leaves its group as soon as it is active in the other one',
    ...moves,
    apply: leavesAtOnce,
  },
  'moves-at-once-with-backups': {
    what: 'the same where the flows that it leaves behind go on at others',
    ...moves,
    plan: { ...moves.plan, rules: { ...defaultRules, typeOneMethod: 'fig-7', availability: 'active-active' } },
    apply: leavesAtOnce,
  },
  'moves-by-half': {
    what: 'a server that moves takes new flows in both groups',
    ...moves,
    apply: () =>
      beforeTick((standing, facts) => {
        if (standing.moveWish?.kind === 'drain') standing.moveWish = undefined;
        return facts;
      }),
  },
  'no-way-back': {
    what: 'a server that drains because it moves does not say that it has been called back',
    ...moves,
    caughtWithin: 15,
    apply: () =>
      beforeTick((standing, facts) => {
        if (standing.moveWish?.kind === 'move') standing.moveWish = undefined;
        return facts;
      }),
  },
};
