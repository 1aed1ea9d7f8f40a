// How the commands of operators (`status`, `drain`, `settings`, ...) reach a cluster that runs. They make nothing: where there
// is no cluster they say so. What fails is said with what would help: another address, another name, another login.

import { hostname, userInfo } from 'node:os';
import type { Command } from 'commander';
import { errorCodes, FlowherdError, isFlowherdError } from '../../../shared/base/errors.ts';
import { nearest } from '../../../shared/base/nearest.ts';
import type { Bus, KeyValue } from '../../../shared/bus/bus.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { type Subjects, subjectsOf } from '../../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { changeView, readMap, readViews } from '../../../shared/config/store.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import { busOptionsOf, type Environment } from '../process/environment.ts';
import { addBusOptions } from '../process/service.ts';

export interface OperatorOptions {
  readonly bus: string;
  readonly cluster: string;
  readonly json?: boolean;
}

/** A cluster, as operators see it. All of it rejects with FlowherdErrors. */
export interface Access {
  readonly bus: Bus;
  readonly store: KeyValue;
  readonly subjects: Subjects;
  /** The map as it is now. */
  readMap(): Promise<ClusterMap>;
  /** The newest view of each group of the map. */
  readViews(map: ClusterMap): Promise<ReadonlyMap<string, View>>;
}

/** A member and where it is one. */
export interface Place {
  readonly group: string;
  readonly member: Member;
}

export function addOperatorOptions(command: Command): Command {
  return addBusOptions(command).option('--json', 'as JSON, for programs');
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

/** Where a server is a member. Throws when it is none, with the name that may have been meant. */
export function findServer(views: ReadonlyMap<string, View>, server: string, options: OperatorOptions): Place {
  const places: Place[] = [...views].flatMap(([group, { members }]) => members.map((member) => ({ group, member })));
  const found = places.find(({ member }) => member.server === server);
  if (found !== undefined) return found;
  const near = nearest(
    server,
    places.map(({ member }) => member.server),
  );
  const help = near === undefined ? '"flowherd status" lists them' : `did you mean ${near}?`;
  throw new FlowherdError(errorCodes.badState, `there is no server ${server} in cluster ${options.cluster}: ${help}`);
}

/** changeView(), with the login that it takes in what it rejects with. */
export function changeAsAdmin(
  { store }: Access,
  group: string,
  step: (view: View | undefined) => View | undefined,
): Promise<View | undefined> {
  return asAdmin(() => changeView(store, group, step));
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
    readViews: (map) =>
      read(() =>
        readViews(
          store,
          map.groups.map(({ id }) => id),
        ),
      ),
  };
}
