// How the commands of operators (`status`, `drain`, `settings`, ...) reach a cluster that runs. They make nothing: where there
// is no cluster they say so. What fails is said with what would help: another address, another name, another login.
//
// What a group agrees on, its log decides. So an operator appends a command to it, as members do, and looks in the store at the mirror of
// the view, which a member writes when the command is in force.

import { hostname, userInfo } from 'node:os';
import type { Command } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError, isFlowherdError } from '../../../shared/base/errors.ts';
import { nearest } from '../../../shared/base/nearest.ts';
import type { Bus, KeyValue } from '../../../shared/bus/bus.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { type Subjects, subjectsOf } from '../../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { readMap, readMirrors } from '../../../shared/config/store.ts';
import type { AppendOutcome } from '../../../shared/log/log.ts';
import { encodeCommand, type Command as LogCommand, operatorAuthor } from '../../../shared/log/records/command.ts';
import type { Mirror } from '../../../shared/membership/mirror.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import { busOptionsOf, type Environment } from '../process/environment.ts';
import { pause } from '../process/patience.ts';
import { addBusOptions } from '../process/service.ts';

export interface OperatorOptions {
  readonly bus: string;
  readonly cluster: string;
  readonly json?: boolean;
}

/** Of commands about one server. */
export interface ServerOptions extends OperatorOptions {
  /** Where it is in several. */
  readonly group?: string;
}

/** A cluster, as operators see it. All of it rejects with FlowherdErrors. */
export interface Access {
  readonly bus: Bus;
  readonly store: KeyValue;
  readonly subjects: Subjects;
  /** The map as it is now. */
  readMap(): Promise<ClusterMap>;
  /** The newest mirror of each group of the map that has one. */
  readMirrors(map: ClusterMap): Promise<ReadonlyMap<string, Mirror>>;
  /** What the server did not permit so far. */
  readonly denied: readonly string[];
}

/** A member and where it is one. */
export interface Place {
  readonly group: string;
  readonly member: Member;
  /** As it was looked up. */
  readonly mirror: Mirror;
}

/** A command of an operator; author and epoch are put in when it is appended. */
export type Order =
  | { readonly kind: 'drain' | 'leave'; readonly life: Life }
  | { readonly kind: 'configure'; readonly life: Life; readonly weight: number }
  | { readonly kind: 'move'; readonly life: Life; readonly to: string };

export function addOperatorOptions(command: Command): Command {
  return addBusOptions(command).option('--json', 'as JSON, for programs');
}

/** The options of commands about one server. */
export function addServerOptions(command: Command): Command {
  return addOperatorOptions(command.option('--group <group>', 'of a server that is in several groups: the one meant'));
}

/** Connects, does the work, and closes. */
export async function withCluster<T>(
  options: OperatorOptions,
  environment: Environment,
  work: (access: Access) => Promise<T>,
): Promise<T> {
  // The reader of a pipe may go away; nothing is left to be told to anybody then.
  process.stdout.on('error', () => process.exit(1));
  const subjects = subjectsOf(options.cluster);
  const bus = await openBus(options.bus, {
    name: 'flowherd operator',
    ...busOptionsOf(environment, 'cli'),
    createBuckets: false,
    first: { timeoutMs: connectMs },
  });
  try {
    return await work(await reach(bus, subjects, options));
  } finally {
    await bus.close();
  }
}

/** Who asks for a change, for the record: user@host. */
export function whoTypes(): string {
  let user: string;
  try {
    user = userInfo().username;
  } catch {
    // In containers a user need not have a name.
    user = `user-${process.getuid?.() ?? 'unknown'}`;
  }
  return `${user}@${hostname()}`;
}

/**
 * Where a server is a member; of one that moves, where it takes new flows. Throws when it is none, with the name that may have been meant, and when it is
 * in several groups and none is named.
 */
export function findServer(mirrors: ReadonlyMap<string, Mirror>, server: string, options: ServerOptions): Place {
  const places: Place[] = [...mirrors].flatMap(([group, mirror]) =>
    mirror.view.members.map((member) => ({ group, member, mirror })),
  );
  const own = places.filter(({ member }) => member.server === server);
  const found = own.filter(({ group }) => options.group === undefined || group === options.group);
  const active = found.filter(({ member }) => member.state === 'active');
  if (active.length > 1) {
    const groups = active.map(({ group }) => group).join(' and ');
    throw new FlowherdError(
      errorCodes.badState,
      `${server} is a server of ${groups}: say which is meant, with --group`,
    );
  }
  if (found.length > 0) return active[0] ?? found[0];
  if (own.length > 0) {
    const text = `${server} is no server of ${options.group}: it is one of ${own.map(({ group }) => group).join(' and ')}`;
    throw new FlowherdError(errorCodes.badState, text);
  }
  const near = nearest(
    server,
    places.map(({ member }) => member.server),
  );
  const help = near === undefined ? '"flowherd status" lists them' : `did you mean ${near}?`;
  throw new FlowherdError(errorCodes.badState, `there is no server ${server} in cluster ${options.cluster}: ${help}`);
}

/**
 * Appends the order to the log of the place's group, and resolves to the first view in the store of which `isDone` holds. Rejects
 * with a FlowherdError: `busRefused` for a login that may not, `badState` when the order came to nothing, `busTimeout`.
 */
export async function appendAsAdmin(
  access: Access,
  { group, mirror }: Place,
  order: Order,
  isDone: (view: View) => boolean,
): Promise<View> {
  const map = await access.readMap();
  const giveUpAtMs = systemClock.monotonicMs() + shownWithinMs;
  let appendedIn: string | undefined;
  for (let latest = mirror; ; ) {
    if (isDone(latest.view)) return latest.view;
    // An order is meant for one epoch: where another one has begun meanwhile, it counts for nothing.
    if (appendedIn !== latest.epoch.id) {
      appendedIn = latest.epoch.id;
      await asAdmin(() => append(access, group, { ...order, author: operatorAuthor, epoch: latest.epoch.id }));
    }
    if (systemClock.monotonicMs() >= giveUpAtMs) throw notShown(group, latest);
    await pause(lookEveryMs);
    latest = (await access.readMirrors(map)).get(group) ?? latest;
  }
}

/** Sends the server of the place to another group, or calls it back to its own; resolves to the first view that says so. */
export function sendServer(access: Access, place: Place, to: string): Promise<View> {
  const { group, member } = place;
  const { server, incarnation } = member;
  const movesTo = to === group ? undefined : to;
  const isSent = (view: View) => view.members.find((each) => isLifeOf(each, member))?.movesTo === movesTo;
  return appendAsAdmin(access, place, { kind: 'move', life: { server, incarnation }, to }, isSent);
}

/** The view is the mirror's: a member that follows the log writes it at once, another one within seconds. */
const shownWithinMs = 10_000;
const lookEveryMs = 50;

function notShown(group: string, { view }: Mirror): FlowherdError {
  const text = `it is in the log of ${group}, but view ${view.number} does not show it after ${shownWithinMs / 1_000} s`;
  const help = 'the server has gone, or no member follows the log: see "flowherd status"';
  return new FlowherdError(errorCodes.busTimeout, `${text}: ${help}`);
}

async function append({ bus, subjects, denied }: Access, group: string, command: LogCommand): Promise<void> {
  const log = await bus.openLog(subjects.cluster, group);
  const outcome = await new Promise<AppendOutcome>((resolve) => {
    // The server may say that it does not permit this before, or instead of, anything else.
    bus.onStatus(({ kind, ...status }) => {
      if (kind === 'denied' && 'reason' in status) resolve({ kind: 'refused', reason: status.reason });
    });
    log.append('command', encodeCommand(command), resolve);
  });
  if (outcome.kind === 'stored') return;
  const refusal = denied.find((reason) => reason.includes(subjects.log(group, 'command')));
  if (refusal !== undefined) throw new FlowherdError(errorCodes.busRefused, refusal);
  if (outcome.kind === 'unknown') {
    const text = `no answer from the log of ${group} (${outcome.reason}): it may or may not have been done`;
    throw new FlowherdError(errorCodes.busTimeout, text);
  }
  throw new FlowherdError(errorCodes.storeUnavailable, `the log of ${group} did not take it: ${outcome.reason}`);
}

/** Does what takes the administrator's login, and says so where it is another one. */
export async function asAdmin<T>(change: () => Promise<T>): Promise<T> {
  try {
    return await change();
  } catch (error) {
    if (!isFlowherdError(error, errorCodes.busRefused)) throw error;
    const text = `this takes the administrator's login (NATS_NKEY_FILE, the key of "admin"): ${error.message}`;
    throw new FlowherdError(errorCodes.busRefused, text, error);
  }
}

/** What a login lacks that may not even look. */
export function mayNotRead(reason: string): FlowherdError {
  const text = `looking at a cluster takes the login of "cli" or "admin" (NATS_NKEY_FILE): ${reason}`;
  return new FlowherdError(errorCodes.busRefused, text);
}

const connectMs = 3_000;

async function reach(bus: Bus, subjects: Subjects, { bus: url, cluster }: OperatorOptions): Promise<Access> {
  const denied: string[] = [];
  bus.onStatus((status) => {
    if (status.kind === 'denied') denied.push(status.reason);
  });
  const noCluster = `there is no cluster ${cluster} at ${url}: make one with "flowherd init", or name another one with --cluster`;
  const read = async <T>(look: () => Promise<T>): Promise<T> => {
    try {
      return await look();
    } catch (error) {
      if (isFlowherdError(error, errorCodes.storeMissing)) throw new FlowherdError(error.code, noCluster, error);
      if (isFlowherdError(error, errorCodes.busRefused)) throw mayNotRead(error.message);
      // A login that gets no answers where this connection awaits them.
      if (isFlowherdError(error, errorCodes.busTimeout) && denied.length > 0) throw mayNotRead(denied[0]);
      throw error;
    }
  };
  const store = await read(() => bus.openKeyValue(subjects.bucket));
  return {
    bus,
    store,
    subjects,
    readMap: () =>
      read(async () => {
        const map = await readMap(store);
        if (map === undefined) throw new FlowherdError(errorCodes.storeMissing, noCluster);
        return map;
      }),
    readMirrors: (map) =>
      read(() =>
        readMirrors(
          store,
          map.groups.map(({ id }) => id),
        ),
      ),
    denied,
  };
}
