// Every checker, the gravest first.

import { counters } from './counters.ts';
import { exactlyOne } from './exactlyOne.ts';
import type { Checker } from './finding.ts';
import { lease } from './lease.ts';
import { tableLimits } from './limits.ts';
import { mapping } from './mapping.ts';
import { membership } from './membership.ts';
import { order } from './order.ts';
import { replicas } from './replicas.ts';
import { noBlackHole, served } from './served.ts';
import { stickiness } from './stickiness.ts';
import { views } from './views.ts';

export const checkers: readonly Checker[] = [
  exactlyOne,
  lease,
  order,
  replicas,
  stickiness,
  views,
  counters,
  tableLimits,
  membership,
  mapping,
  served,
  noBlackHole,
];
