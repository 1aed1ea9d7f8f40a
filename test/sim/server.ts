// One life of a server: a process with the production actor in it, and a server that only says which packets it was
// handed.

import { type ActorLog, DsslActor } from '../../services/dssl/actor.ts';
import type { Egress } from '../../services/dssl/egress/egress.ts';
import type { DecisionAudit } from '../../services/dssl/replica/rows.ts';
import type { Subjects } from '../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import { readStamp } from '../../shared/packet/stamp.ts';
import type { Ledger, ServerLife } from './ledger.ts';
import type { SimBus } from './network.ts';
import type { SimProcess } from './process.ts';

export interface ServerOptions {
  readonly name: string;
  readonly group: string;
  readonly incarnation: number;
  readonly weight: number;
  readonly map: ClusterMap;
  readonly maxFlows: number;
  readonly subjects: Subjects;
  readonly process: SimProcess;
  readonly dataBus: SimBus;
  readonly controlBus: SimBus;
  readonly gossipBus: SimBus;
  readonly life: ServerLife;
  readonly ledger: Ledger;
  readonly nowMs: () => number;
  readonly audit: DecisionAudit | undefined;
  readonly log: ActorLog;
}

export class SimServer {
  readonly options: ServerOptions;
  readonly actor: DsslActor;
  /** Packets handed to this server. */
  handed = 0;
  isDraining = false;

  constructor(options: ServerOptions) {
    const { name, group, incarnation, weight, map } = options;
    this.options = options;
    this.actor = new DsslActor({
      birth: { group, cluster: map.cluster, placement: map.placement, seed: map.seed, rules: map.rules },
      candidate: { server: name, incarnation, weight },
      maxFlows: options.maxFlows,
      subjects: options.subjects,
      dataBus: options.dataBus,
      controlBus: options.controlBus,
      gossipBus: options.gossipBus,
      settings: map.settings,
      egress: this.#egress(),
      clock: options.process.clock,
      log: options.log,
      ...(options.audit === undefined ? {} : { audit: options.audit }),
    });
  }

  get life(): ServerLife {
    return this.options.life;
  }

  #egress(): Egress {
    const { ledger, life, nowMs } = this.options;
    const stamp = { run: 0, id: 0, flow: 0 };
    let data: Uint8Array = new Uint8Array(0);
    return {
      begin: (bytes) => {
        data = bytes;
      },
      add: (offset, length) => {
        if (!readStamp(data, offset, offset + length, stamp))
          throw new Error(`${life.name} got a packet without stamp`);
        this.handed++;
        ledger.accept(stamp.id, life, nowMs());
      },
      end: () => undefined,
      flowStarted: () => undefined,
      flowEnded: () => undefined,
    };
  }
}
