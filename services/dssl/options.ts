// What a DSSL actor is given: its group, its name, its connections and its server.

import type { Clock } from '../../shared/base/clock.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import type { Subjects } from '../../shared/bus/subjects.ts';
import type { ClusterSettings } from '../../shared/config/settings.ts';
import type { LogSettings } from '../../shared/log/log.ts';
import type { Load } from '../../shared/membership/load.ts';
import type { Candidate } from '../../shared/membership/transitions.ts';
import type { GroupBirth } from '../../shared/membership/view.ts';
import type { Egress } from './egress/egress.ts';
import type { DecisionAudit, Effects } from './replica/effects.ts';
import type { Replica } from './replica/replica.ts';

/** Lines for people about what happens to the actor; a pino logger fits. */
export interface ActorLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface DsslActorOptions {
  readonly birth: GroupBirth;
  readonly candidate: Candidate;
  readonly subjects: Subjects;
  /** Connections for the log, for peers and the key-value store, and for gossip; may be the same. */
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  readonly gossipBus: Bus;
  /** How the log is made where it is missing; undefined: this process may not make it. */
  readonly logSettings?: LogSettings;
  readonly settings: ClusterSettings;
  /** How busy the server is, asked about once a second; undefined where nobody measures. */
  readonly load?: (nowMs: number) => Load | undefined;
  readonly egress: Egress;
  readonly clock: Clock;
  readonly log: ActorLog;
  readonly audit?: DecisionAudit;
  /** Sees each entry after it was applied, for those who check. */
  readonly onApplied?: (replica: Replica, effects: Effects) => void;
}
