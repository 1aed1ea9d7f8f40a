// Where a run takes place: a cluster that runs on a NATS server, or one made for the run inside this process. Either way
// the generator is one more party on the bus and sees nothing but messages.

import { isFlowherdError } from '../../../../shared/base/errors.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { openBus } from '../../../../shared/bus/open.ts';
import { mapKey, type Subjects, subjectsOf, viewKey } from '../../../../shared/bus/subjects.ts';
import { type ClusterMap, decodeMap } from '../../../../shared/config/map.ts';
import { decodeMirror } from '../../../../shared/membership/mirror.ts';
import type { Member } from '../../../../shared/membership/view.ts';
import { LocalCluster } from '../../../local/localCluster.ts';
import { askedSettings } from '../../config/config.ts';
import { type ClusterOptions, keyerFor, mapFromOptions } from '../../config/settings.ts';
import { busOptionsOf, type Environment } from '../../process/environment.ts';
import { quietLog } from '../../process/log.ts';

export interface Field {
  /** For people: the address of the bus, and the cluster's name there. */
  readonly bus: string;
  readonly cluster: string;
  readonly subjects: Subjects;
  /** Packets go out on one connection; receipts and hellos come in on the other. */
  readonly out: Bus;
  readonly in: Bus;
  /** The cluster itself, where it runs inside this process. */
  readonly local?: LocalCluster;
  /** Closes what was opened. */
  close(): Promise<void>;
}

/** A cluster on a NATS server. Rejects with a FlowherdError when the server cannot be reached in `waitMs`. */
export async function remoteField(
  url: string,
  cluster: string,
  waitMs: number,
  environment: Environment,
): Promise<Field> {
  const subjects = subjectsOf(cluster);
  const buses: Bus[] = [];
  const close = async () => void (await Promise.all(buses.map((bus) => bus.close())));
  const open = async (direction: string): Promise<Bus> => {
    const name = `flowherd traffic ${direction}`;
    const bus = await openBus(url, {
      name,
      createBuckets: false,
      first: { timeoutMs: Math.max(waitMs, 1_000) },
      ...busOptionsOf(environment, 'cli'),
    });
    buses.push(bus);
    return bus;
  };
  try {
    const out = await open('out');
    return { bus: url, cluster, subjects, out, in: await open('in'), close };
  } catch (error) {
    // An open connection would keep the process alive.
    await close();
    throw error;
  }
}

export interface LocalFieldOptions extends ClusterOptions {
  readonly servers: number;
}

/** A cluster in this process, on the embedded bus or on a NATS server. Rejects with a FlowherdError. */
export async function localField(busUrl: string, options: LocalFieldOptions, environment: Environment): Promise<Field> {
  const secret = environment.secret ?? 'traffic';
  const map = mapFromOptions(options, secret, askedSettings(options.config, environment.settings));
  const local = await LocalCluster.start({
    busUrl,
    auth: environment.auth,
    tls: environment.tls,
    map,
    keyer: keyerFor(map, secret),
    serversPerGroup: options.servers,
    handler: 'counting',
    handlerOptions: {},
    packetTime: 'live',
    log: quietLog,
    overBus: true,
  });
  const buses: Bus[] = [];
  const close = async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    await local.stop();
  };
  try {
    for (const direction of ['out', 'in']) buses.push(await local.connect(`traffic ${direction}`));
    const { subjects } = local;
    return { bus: busUrl, cluster: subjects.cluster, subjects, out: buses[0], in: buses[1], local, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Why no tier 1 has said that it is ready, in one line that says what to do. */
export async function whyNobody(field: Field, waiting: readonly string[]): Promise<string> {
  const { bus, cluster } = field;
  const { map, members, isReadable } = await lookAt(field);
  if (isReadable && map === undefined) {
    return `there is no cluster ${cluster} at ${bus}: start it with "flowherd tier1 --input bus" and "flowherd dssl --receipts", or name another one with --cluster`;
  }
  if (waiting.length === 0) {
    return `no tier 1 of cluster ${cluster} takes packets from the bus at ${bus}: start one with "flowherd tier1 --input bus"`;
  }
  const groups = map?.groups.map(({ id }) => id) ?? [];
  const empty = groups.filter((id) => !members.some(({ group, state }) => group === id && state !== 'joining'));
  const where = empty.length === 0 ? 'some group has no server' : `no server in ${empty.join(', ')}`;
  const member = empty.length === 0 ? '' : ` --member-of ${empty[0]}`;
  return `${waiting.join(', ')} cannot send yet: ${where}; start one with "flowherd dssl --receipts${member}"`;
}

/** Lives of servers that were members and are none any more; none where the store may not be read. */
export async function livesThatEnded(field: Field, members: readonly GroupMember[]): Promise<GroupMember[]> {
  const lifeOf = ({ group, server, incarnation }: GroupMember) => `${group}/${server}/${incarnation}`;
  const now = await lookAt(field);
  if (!now.isReadable) return [];
  const present = new Set(now.members.map(lifeOf));
  return members.filter((member) => !present.has(lifeOf(member)));
}

/** Members of groups of whom nothing was heard, as `group/server`; none where the store may not be read. */
export async function silentMembers(field: Field, heard: ReadonlySet<string>): Promise<string[]> {
  const { members } = await lookAt(field);
  return members.map(({ group, server }) => `${group}/${server}`).filter((name) => !heard.has(name));
}

export interface Look {
  readonly isReadable: boolean;
  /** The cluster's map; undefined where there is none, or where the store may not be read. */
  readonly map: ClusterMap | undefined;
  readonly members: readonly GroupMember[];
}

export type GroupMember = Member & { readonly group: string };

/** What the cluster's store says. A generator needs none of it to do its work, so nothing here fails. */
export async function lookAt({ in: bus, subjects }: Field): Promise<Look> {
  try {
    const store = await bus.openKeyValue(subjects.bucket);
    const entry = await store.get(mapKey);
    const map = entry && decodeMap(entry.value);
    const members: (Member & { group: string })[] = [];
    for (const { id } of map?.groups ?? []) {
      const entry = await store.get(viewKey(id));
      const mirror = entry && decodeMirror(entry.value);
      for (const member of mirror?.view.members ?? []) members.push({ ...member, group: id });
    }
    return { isReadable: true, map, members };
  } catch (error) {
    return { isReadable: isFlowherdError(error, 'store-missing'), map: undefined, members: [] };
  }
}
