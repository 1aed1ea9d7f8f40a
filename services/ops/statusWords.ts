// The state of a cluster for people, in lines that fit a terminal of 80 columns.

import type { LineState } from '../../shared/membership/gossip.ts';
import type { EpochName } from '../../shared/membership/mirror.ts';
import type { ProtectionReport } from '../../shared/membership/protection.ts';
import { wrap } from '../local/demo/screen.ts';
import { agreeing, count, counted } from './numbers.ts';
import type { GroupStatus, ServerStatus, StatusReport } from './statusBoard.ts';
import { table } from './words.ts';

/** The last column stays free: some terminals fold the line when it is written. */
export const narrowColumns = 79;

/** `nowMs`: wall time, for how long ago the map was changed. */
export function statusInWords(report: StatusReport, nowMs: number): string[] {
  const { cluster, map, groups, tier1s, faults } = report;
  const { changed } = map;
  const by =
    changed === undefined
      ? 'as it was made'
      : `changed ${agoInWords(nowMs - changed.atMs)} ago by ${changed.by}: ${changed.what}`;
  const lines = wrapped(`Cluster ${cluster}, map version ${map.version}, ${by}.`);
  for (const group of groups) lines.push('', ...groupInWords(group));
  if (tier1s.length > 0) {
    const rows = tier1s.map((each) => [
      each.id,
      each.state,
      ago(each.heardMsAgo),
      count(each.received),
      count(each.dropped),
    ]);
    lines.push('', ...fitted(['tier 1', 'state', 'heard', 'packets', 'dropped'], rows));
  }
  if (faults > 0)
    lines.push(
      '',
      ...wrapped(
        `${counted(faults, 'message')} ${agreeing(faults, 'was', 'were')} no gossip or hello of this version.`,
      ),
    );
  return lines;
}

function groupInWords({ id, view, epoch, placement, availability, protection, servers }: GroupStatus): string[] {
  if (servers.length === 0) return wrapped(`${id}: no server (view ${view})`);
  const isSafe = availability !== 'none';
  const header = ['server', 'state', 'weight', 'flows', 'new/s', 'packets/s', 'cpu', 'heard'];
  const remarks = servers.flatMap((server) =>
    remarksOn(server, epoch).flatMap((remark) => wrapped(`! ${server.id} ${remark}`, '  ')),
  );
  return [
    ...wrapped(`${id}: ${membersInWords(servers)} (view ${view}, ${placement}${isSafe ? `, ${availability}` : ''})`),
    ...fitted(header, servers.map(rowOf)),
    ...fitted(['log', 'state', 'epoch', 'position', 'lag', 'lag in time'], servers.map(lineOf)),
    ...(isSafe ? protectionInWords(protection, servers) : []),
    ...servers.flatMap(roleInWords),
    ...remarks,
  ];
}

/** Who stands behind the flows of a group, and what its servers have taken over from those that died. */
function protectionInWords(whole: ProtectionReport | null, servers: readonly ServerStatus[]): string[] {
  const header = ['backups', 'flows', 'without', 'taken over', 'replays', 'replayed', 'missed'];
  const rowOf = (name: string, report: ProtectionReport | null): string[] => {
    if (report === null) return [name, '-', '-', '-', '-', '-', '-'];
    const { flows, unprotected, promoted, replays, replayed, unreplayed } = report;
    const without = flows === 0 || unprotected === 0 ? '0' : `${brief(unprotected)} (${share(unprotected / flows)})`;
    return [name, brief(flows), without, ...[promoted, replays, replayed, unreplayed].map(brief)];
  };
  const rows = servers.map(({ id, protection }) => rowOf(id, protection));
  return fitted(header, rows.length > 1 ? [...rows, rowOf('all', whole)] : rows);
}

/** Never none of it where there is some. */
function share(part: number): string {
  return part < 0.01 ? '<1%' : `${Math.floor(part * 100)}%`;
}

interface Standing {
  readonly state: string;
  readonly standsFor?: readonly string[] | null;
}

/** What a member can be, for people. */
export const memberStatesInWords = ['active', 'standby', 'joining', 'draining'] as const;

/** A standby that holds all state is no active server. */
export function stateInWords({ state, standsFor }: Standing): string {
  return state === 'active' && standsFor != null ? 'standby' : state;
}

/** `2 active, 1 standby`. */
function membersInWords(members: readonly Standing[]): string {
  const states = memberStatesInWords.flatMap((state) => {
    const number = members.filter((member) => stateInWords(member) === state).length;
    return number === 0 ? [] : [`${number} ${state}`];
  });
  return states.join(', ') || 'none';
}

function rowOf(server: ServerStatus): string[] {
  const { id, standsFor, weight, base, load, heardMsAgo } = server;
  const of = (value: number | undefined, inWords: (value: number) => string) =>
    value === undefined ? '-' : inWords(value);
  return [
    id,
    stateInWords(server),
    standsFor !== null ? '-' : weight === base ? `${weight}` : `${weight} of ${base}`,
    of(load?.flows, brief),
    of(load?.newFlows, brief),
    of(load?.packets, brief),
    of(load?.cpu, (cpu) => `${Math.round(cpu * 100)}%`),
    heardMsAgo === null ? '-' : ago(heardMsAgo),
  ];
}

/** How far a server has come with the log: lag is what waits in the log behind the entry that it applied last. */
function lineOf({ id, line }: ServerStatus): string[] {
  if (line === null) return [id, '-', '-', '-', '-', '-'];
  const { state, epochNumber, position, lag, lagMs } = line;
  return [id, state, count(epochNumber), count(position), count(lag), `${count(lagMs)} ms`];
}

/** Who stands by for whom. */
function roleInWords(server: ServerStatus): string[] {
  const { id, standsFor, inPlaceOf } = server;
  const way = wayInWords(server);
  if (way !== undefined) return wrapped(`${id} ${way}`, '  ');
  if (standsFor !== null)
    return wrapped(`${id} stands by for ${standsFor.join(', ') || 'all servers of the group'}`, '  ');
  return inPlaceOf === null ? [] : wrapped(`${id} is in the place of ${inPlaceOf}`, '  ');
}

/** Where a server that moves is going, and how far it is. */
function wayInWords({ state, flows, movesTo }: ServerStatus): string | undefined {
  if (movesTo === null) return undefined;
  if (state === 'active') return `is on its way to ${movesTo}: it joins there`;
  return `is in ${movesTo} now, and keeps ${flows === null ? 'its flows' : counted(flows, 'flow')} here to their end`;
}

function remarksOn(server: ServerStatus, epoch: EpochName | null): string[] {
  const { state, line, protection, liveState, silent, heardMsAgo, suspectedBy } = server;
  const remarks: string[] = [];
  if (silent) {
    remarks.push(heardMsAgo === null ? 'is silent: nothing was heard of it' : `is silent for ${ago(heardMsAgo)}`);
  }
  if (suspectedBy.length > 0) remarks.push(`is suspected by ${suspectedBy.join(', ')}`);
  if (liveState !== null && liveState !== state) remarks.push(`says that it is ${liveState}`);
  if (protection !== null && protection.replaying > 0) remarks.push('replays what a dead server had not handled');
  if (protection !== null && protection.partial > 0)
    remarks.push(`did not remember all that ${counted(protection.partial, 'dead server')} had not handled`);
  if (line !== null && line.state !== 'following') remarks.push(lineWords[line.state]);
  else if (line !== null && epoch !== null && line.epoch !== epoch.id) {
    remarks.push(`is in epoch ${line.epochNumber} of the log, its group in ${epoch.number}`);
  }
  return remarks;
}

const lineWords: Readonly<Record<Exclude<LineState, 'following'>, string>> = {
  fetching: "fetches its group's state from a peer",
  broken: 'holds state of another log than the present one, and looks for a peer',
  empty: "holds no state, and looks for a peer of its group's",
};

/** A table whose first column gives way where lines would get too long: names are cut, with a mark. */
export function fitted(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
  const others = widths.slice(1).reduce((sum, width) => sum + width + 2, 0);
  const room = Math.max(8, narrowColumns - others);
  const cut = (name: string) => (name.length > room ? `${name.slice(0, room - 1)}~` : name);
  return table(
    header,
    rows.map(([name, ...rest]) => [cut(name), ...rest]),
  );
}

/** At most five characters: 999, 12.3k, 4.56M. */
export function brief(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1_000;
    unit++;
  }
  const digits = unit === 0 || scaled >= 99.95 ? 0 : 1;
  return `${scaled.toFixed(digits)}${units[unit]}`;
}

function ago(ms: number): string {
  return ms < 9_950 ? `${(ms / 1_000).toFixed(1)} s` : agoInWords(ms);
}

/** `12 s`, `5 min`, `3 h`, `2 days`. */
export function agoInWords(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : counted(Math.round(seconds / 86_400), 'day');
}

function wrapped(text: string, indent = ''): string[] {
  return wrap(text, narrowColumns - indent.length).map((line) => `${indent}${line}`);
}
