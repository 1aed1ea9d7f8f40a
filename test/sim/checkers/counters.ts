// All counters add up: what clients sent is what tier 1s received, what they received is what they distributed and
// dropped, what servers were handed is what actors say they accepted.

import { verdicts } from '../../../services/dssl/replica/verdict.ts';
import type { World } from '../world.ts';
import type { Finding } from './finding.ts';

export function counters(world: World): Finding | undefined {
  const wrong = (what: string): Finding => ({ checker: 'counters', what });
  for (const { name, process, actor, offered, lost } of world.tier1s) {
    const { received, distributed, dropped, pending } = actor.distributor;
    const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0);
    if (process.isAlive && received !== offered - lost)
      return wrong(`${name} was given ${offered - lost} packets and received ${received}`);
    if (received !== distributed + drops + pending)
      return wrong(
        `${name}: received ${received} is not distributed ${distributed} + dropped ${drops} + open ${pending}`,
      );
  }
  for (const { actor, handed, options } of world.servers) {
    const accepted = verdicts.filter((verdict) => verdict.startsWith('accept'));
    const sum = accepted.reduce((total, verdict) => total + actor.core.verdicts[verdict], 0);
    if (sum !== handed) return wrong(`${options.name} accepted ${sum} packets, its server was handed ${handed}`);
  }
  return undefined;
}
