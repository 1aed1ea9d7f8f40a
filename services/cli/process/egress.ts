// Where a server runs, by the options of `flowherd dssl`: as a handler in the actor's process, as a UDP server that is
// reached at an address, or as a process on other hardware that takes its packets from the bus.

import { type Command, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { parseUdpUrl, resolveUdp } from '../../../shared/base/udpAddress.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import type { ActorLog } from '../../dssl/actor.ts';
import type { ServerEgress } from '../../dssl/egress/egress.ts';
import type { ServerContext } from '../../dssl/egress/handlers/handler.ts';
import { loadHandler } from '../../dssl/egress/handlers/load.ts';
import { LocalEgress } from '../../dssl/egress/local.ts';
import { BusEgress } from '../../dssl/egress/remote/bus.ts';
import { UdpEgress } from '../../dssl/egress/udp.ts';
import { handlerLog } from './log.ts';
import { collect, pairsOf } from './parse.ts';

export interface HandlerOptions {
  readonly handler: string;
  readonly handlerOption: readonly string[];
}

export interface EgressOptions extends HandlerOptions {
  readonly server?: string;
  readonly backend?: string;
  readonly egress?: 'bus';
}

/** What an egress has to do with the rest of the process. */
export interface EgressPlace {
  readonly server: string;
  readonly group: string;
  readonly incarnation: number;
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly log: ActorLog;
  /** See ServerContext. */
  readonly tunnels: ServerContext['tunnels'];
}

/** An egress, and what its report is called. */
export interface OpenedEgress {
  readonly egress: ServerEgress;
  readonly part: 'handler' | 'backend' | 'remote';
  /** For the log. */
  readonly to: string;
}

export function addHandlerOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--handler <module>',
        'what the server does: counting, flow-stats, pcap, or a module of yours',
      ).default('counting'),
    )
    .addOption(
      new Option('--handler-option <name=value>', 'given to the handler; may be repeated')
        .default([], 'none')
        .argParser(collect),
    );
}

export function addEgressOptions(command: Command): Command {
  return addHandlerOptions(command)
    .addOption(
      new Option(
        '--backend <udp://host:port>',
        'a server that speaks UDP instead of a handler: it gets the datagrams, and its answers go to the clients',
      ).conflicts(['handler', 'handlerOption']),
    )
    .addOption(
      new Option('--egress <where>', '"bus": the server runs elsewhere, as "flowherd server --of <name>"')
        .choices(['bus'])
        .conflicts(['handler', 'handlerOption', 'backend']),
    );
}

/** Throws FlowherdError bad-config for options that cannot be; before anything is connected. */
export function checkEgress(options: EgressOptions): void {
  if (options.backend !== undefined) parseUdpUrl(options.backend, 1);
  if (options.egress === 'bus' && options.server === undefined) {
    throw new FlowherdError(
      errorCodes.badConfig,
      '--egress bus needs --server: the server takes its packets by that name',
    );
  }
}

/** Makes the egress; it is not started. Rejects with a FlowherdError. */
export async function openEgress(options: EgressOptions, place: EgressPlace): Promise<OpenedEgress> {
  const { server, incarnation, bus, subjects } = place;
  const log = handlerLog(place.log);
  if (options.backend !== undefined) {
    const backend = await resolveUdp(parseUdpUrl(options.backend, 1));
    const egress = new UdpEgress({ backend, server, bus, subjects, clock: systemClock, log });
    return { egress, part: 'backend', to: options.backend };
  }
  if (options.egress === 'bus') {
    const egress = new BusEgress({ server, life: incarnation, bus, subjects, clock: systemClock, log });
    return { egress, part: 'remote', to: subjects.out(server) };
  }
  return { egress: await openHandler(options, place), part: 'handler', to: options.handler };
}

/** A handler in this process. */
export async function openHandler(
  options: HandlerOptions,
  place: Pick<EgressPlace, 'server' | 'group' | 'log' | 'tunnels'>,
): Promise<LocalEgress> {
  const context = {
    server: place.server,
    group: place.group,
    tunnels: place.tunnels,
    log: handlerLog(place.log),
    options: pairsOf('--handler-option', options.handlerOption),
  };
  const handler = await loadHandler(options.handler, process.cwd(), context);
  return new LocalEgress({
    handler,
    name: options.handler,
    log: context.log,
    nowMs: () => systemClock.monotonicMs(),
  });
}
