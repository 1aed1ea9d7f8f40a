// Every name on the bus is built here, and nowhere else, so that permissions and documentation can be checked in one
// place.
//
//   subject  = "fh." cluster "." channel
//   channel  = "log."    group "." kind     entries of a group's log; kind is "frame" or "command"
//            | "ctl."    group     who holds the state of the group? from a replica that lacks it to all members
//            | "peer."   group "." server    state and answers for one actor: a server that moves has one in each of two groups
//            | "gossip." group     load and liveness of the group's members and of tier 1
//            | "summary." group    how busy a group is, for the other groups
//            | "beat."   group "." server    that this member lives, to those who watch it
//            | "in."     tier1     packets for one tier 1, as frames: its ingress from the bus
//            | "hello."  tier1     a tier 1 that takes packets from the bus says that it is there
//            | "return." tier1     answers of servers to clients that came in through that tier 1
//            | "out."    server    accepted packets for a server that runs on other hardware than its actor
//            | "ack."    server    what that server has got, and that it is there
//            | "receipt." run      which packets of a traffic generator's run servers have got
//   stream   = "fh_" cluster "_" group    the log of a group: what is published on "fh." cluster ".log." group ".>"
//   bucket   = "fh_" cluster       the key-value store of the cluster
//   key      = "map"               the cluster map
//            | "view." group       the mirror of a group's view
//   inbox    = "_INBOX_" role      where answers come to; one for each role, so that permissions can tell them apart
//   cluster, group, server, tier1, run = 1 to 64 of A-Z a-z 0-9 _ -
//
// A subject is one multicast domain, as an Ethernet segment is in the patent; names have no dots, so a wildcard of one
// token stands for "every group" or "every server". Names of streams have no dots either, so those of cluster "a", group "b_c" and of
// cluster "a_b", group "c" are the same: whoever opens a stream looks whether it is for the subjects meant.

import { errorCodes, FlowherdError } from '../base/errors.ts';
import { type EntryKind, entryKinds } from '../log/log.ts';

export const channels = [
  'log',
  'ctl',
  'peer',
  'gossip',
  'beat',
  'summary',
  'in',
  'hello',
  'return',
  'out',
  'ack',
  'receipt',
] as const;
export type Channel = (typeof channels)[number];

/** Channels to one member of one group. */
const memberChannels = ['peer', 'beat'] as const satisfies readonly Channel[];
type MemberChannel = (typeof memberChannels)[number];

/** The subjects and the bucket of one cluster. Functions throw `bad-name` for a name outside the grammar. */
export interface Subjects {
  readonly cluster: string;
  /** The key-value bucket: `fh_<cluster>`. */
  readonly bucket: string;
  /** Where an entry of that kind is appended to the group's log. */
  log(group: string, kind: EntryKind): string;
  /** The stream that keeps the group's log: `fh_<cluster>_<group>`. */
  logStream(group: string): string;
  control(group: string): string;
  /** State and answers for the actor of that server in that group. */
  peer(group: string, server: string): string;
  gossip(group: string): string;
  summary(group: string): string;
  beat(group: string, server: string): string;
  /** `tier1` is the name of one life of a tier 1, as in its frames. */
  in(tier1: string): string;
  hello(tier1: string): string;
  return(tier1: string): string;
  out(server: string): string;
  ack(server: string): string;
  receipt(run: string): string;
  /** Every group (or server) of a channel at once: `fh.<cluster>.<channel>.*`; of logs every kind as well, of members every server. */
  every(channel: Channel): string;
}

export interface SubjectParts {
  readonly cluster: string;
  readonly channel: Channel;
  /** The group, server, tier 1 or run that the channel is about. */
  readonly name: string;
  /** Of channel 'log' alone. */
  readonly kind?: EntryKind;
  /** Of channels of members, whose name is that of a group. */
  readonly server?: string;
}

/** Builds the names of `cluster`. Each name is built once and kept, so asking per frame costs a map lookup. */
export function subjectsOf(cluster: string): Subjects {
  assertName('cluster', cluster);
  const known = new Map<Channel, Map<string, string>>();
  const build = (channel: Channel, kind: string, name: string): string => {
    let names = known.get(channel);
    if (names === undefined) known.set(channel, (names = new Map()));
    let subject = names.get(name);
    if (subject === undefined) {
      assertName(kind, name);
      names.set(name, (subject = `fh.${cluster}.${channel}.${name}`));
    }
    return subject;
  };
  const members = new Map<string, string>();
  const buildMember = (channel: MemberChannel, group: string, server: string): string => {
    const name = `${channel} ${group} ${server}`;
    let subject = members.get(name);
    if (subject === undefined) {
      assertName('server', server);
      members.set(name, (subject = `${build(channel, 'group', group)}.${server}`));
    }
    return subject;
  };
  return {
    cluster,
    bucket: `fh_${cluster}`,
    log: (group, kind) => `${build('log', 'group', group)}.${kind}`,
    logStream: (group) => {
      assertName('group', group);
      return `fh_${cluster}_${group}`;
    },
    control: (group) => build('ctl', 'group', group),
    peer: (group, server) => buildMember('peer', group, server),
    gossip: (group) => build('gossip', 'group', group),
    summary: (group) => build('summary', 'group', group),
    beat: (group, server) => buildMember('beat', group, server),
    in: (tier1) => build('in', 'tier 1', tier1),
    hello: (tier1) => build('hello', 'tier 1', tier1),
    return: (tier1) => build('return', 'tier 1', tier1),
    out: (server) => build('out', 'server', server),
    ack: (server) => build('ack', 'server', server),
    receipt: (run) => build('receipt', 'run', run),
    every: (channel) => `fh.${cluster}.${channel}.*${channel === 'log' || isOfMembers(channel) ? '.*' : ''}`,
  };
}

function isOfMembers(channel: Channel | undefined): channel is MemberChannel {
  return memberChannels.some((each) => each === channel);
}

/** Who may do what on the bus: deploy/nats/permissions.conf gives each of them a user. */
export const roles = ['tier1', 'dssl', 'server', 'cli', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Begins the subjects at which connections of that role get their answers. */
export function inboxPrefixOf(role: Role): string {
  return `_INBOX_${role}`;
}

/** The parts of a subject, or undefined when it is not one of ours. Never throws: subjects arrive from the network. */
export function parseSubject(subject: string): SubjectParts | undefined {
  const parts = subject.split('.');
  const [fh, cluster, third, name, fifth] = parts;
  const channel = channels.find((one) => one === third);
  const length = channel === 'log' || isOfMembers(channel) ? 5 : 4;
  if (channel === undefined || parts.length !== length || fh !== 'fh' || !isName(cluster) || !isName(name))
    return undefined;
  if (isOfMembers(channel)) return isName(fifth) ? { cluster, channel, name, server: fifth } : undefined;
  if (channel !== 'log') return { cluster, channel, name };
  const kind = entryKinds.find((one) => one === fifth);
  return kind === undefined ? undefined : { cluster, channel, name, kind };
}

/** The key of the cluster map. */
export const mapKey = 'map';
/** Matches the view of every group; for KeyValue.watch. */
export const everyViewKey = 'view.*';

/** The key of a group's view. Throws `bad-name`. */
export function viewKey(group: string): string {
  assertName('group', group);
  return `view.${group}`;
}

/** The group whose view is kept under `key`, or undefined when it is another key. */
export function groupOfViewKey(key: string): string | undefined {
  if (!key.startsWith('view.')) return undefined;
  const group = key.slice('view.'.length);
  return isName(group) ? group : undefined;
}

const nameGrammar = /^[A-Za-z0-9_-]{1,64}$/;

/** True for a name that clusters, groups and servers may have. */
export function isName(name: string): boolean {
  return nameGrammar.test(name);
}

/** Throws `bad-name` with a message that says what is wrong; `kind` ('cluster', 'group', ...) is for the message. */
export function assertName(kind: string, name: string): void {
  if (isName(name)) return;
  const shown = JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name);
  const hint = 'use 1 to 64 of the characters A-Z a-z 0-9 _ -';
  throw new FlowherdError(errorCodes.badName, `${shown} cannot be the name of a ${kind}: ${hint}`);
}
