// What the demo shows while it runs, as lines of text: a snapshot in, lines out. Nothing here knows a terminal but its
// size, and whether it takes colours and block characters.

import { count, counted } from '../../ops/numbers.ts';
import { sumOf } from '../../ops/report.ts';
import type { DemoEvent } from './changes.ts';
import type { GroupState, ServerState, Snapshot } from './snapshot.ts';

export interface ScreenOptions {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
  /** Block characters; else plain ASCII. */
  readonly unicode: boolean;
}

export interface Scene {
  readonly snapshot: Snapshot;
  readonly events: readonly DemoEvent[];
  /** What each group takes, by its id. */
  readonly groupWords: Readonly<Record<string, string>>;
  readonly seconds: number;
  readonly bus: string;
}

type Style = 'plain' | 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
type Span = readonly [text: string, style: Style];
type Line = readonly Span[];

const codes: Record<Style, string> = {
  plain: '',
  bold: '1',
  dim: '2',
  red: '31',
  green: '32',
  yellow: '33',
  cyan: '36',
};
const stateStyles: Record<string, Style> = {
  joining: 'cyan',
  active: 'green',
  draining: 'yellow',
  left: 'dim',
  outside: 'dim',
};
const causeWords: Record<string, string> = {
  midFlow: 'start of the connection not seen',
  fragment: 'fragment without its first',
  tableFull: 'table full',
  noServer: 'no server',
  skipped: 'passed over by a server',
  unexplained: 'unexplained',
};

const intro = 'Each packet goes through the log of one group to all its servers, and exactly one of them keeps it.';
const narrowest = 40;
const nameWidth = 7;
const stateWidth = 9;
const numbersWidth = 32;

/** The whole display: at most `rows - 1` lines, none longer than `columns - 1`. */
export function renderScreen(scene: Scene, options: ScreenOptions): string[] {
  const columns = Math.max(narrowest, options.columns) - 1;
  const { snapshot, groupWords } = scene;
  const head: Line[] = [...wrap(intro, columns).map((text): Line => [[text, 'dim']]), headline(scene)];
  const groups: Line[][] = snapshot.groups.map((group) =>
    groupLines(group, groupWords[group.id] ?? '', columns, options),
  );
  const totals = totalLines(snapshot);
  const room = options.rows - 1;
  // On a low terminal the blank lines go first, then the older events, then what is left at the bottom.
  const fixed = head.length + columnTitles(columns).length + groups.flat().length + totals.length;
  const airy = room >= fixed + groups.length + 2 + 2;
  const blank: Line[] = airy ? [[]] : [];
  const lines: Line[] = [
    ...head,
    ...blank,
    ...columnTitles(columns),
    ...groups.flatMap((group) => [...group, ...blank]),
    ...totals,
  ];
  const eventRoom = Math.max(0, Math.min(6, room - lines.length - blank.length));
  if (eventRoom > 0) lines.push(...blank, ...eventLines(scene.events, columns, options).slice(-eventRoom));
  return lines.slice(0, room).map((line) => paint(line, columns, options));
}

/** One line of progress, for output that is not a terminal. */
export function progressLine({ snapshot }: Scene): string {
  const { seconds, packets, packetsPerSecond, accepted, double, nobody, flows, moved, groups } = snapshot;
  const servers = groups
    .map(({ id, servers: all }) => `${id} ${all.filter(({ state }) => state !== 'left').length}`)
    .join(' ');
  return [
    `${seconds.toFixed(1).padStart(5)} s  ${counted(packets, 'packet')} (${rate(packetsPerSecond)}/s)`,
    `one server ${count(accepted)}, nobody ${count(sumOf(nobody))}, two ${count(double)}`,
    `flows ${count(flows)}, moved ${count(moved)}`,
    `servers ${servers}`,
  ].join('; ');
}

export function eventLine({ seconds, text }: DemoEvent): string {
  return `${seconds.toFixed(1).padStart(5)} s  ${text}`;
}

function headline({ snapshot, seconds, bus }: Scene): Line {
  return [
    [`${snapshot.seconds.toFixed(1).padStart(4)} s of ${seconds}`, 'bold'],
    [`  ${rate(snapshot.packetsPerSecond)} packets/s`, 'bold'],
    [`  bus: ${bus}`, 'plain'],
  ];
}

function columnTitles(columns: number): Line[] {
  const width = barWidth(columns);
  const title = width >= 20 ? 'share of its group' : 'share';
  const titles = [
    `  ${'server'.padEnd(nameWidth)}${'state'.padEnd(stateWidth)}${title.padEnd(width)}`,
    `${'packets/s'.padStart(14)}${'open'.padStart(8)}${'ended'.padStart(8)} flows`,
  ];
  return [[[titles.join(''), 'dim']]];
}

function groupLines(group: GroupState, words: string, columns: number, options: ScreenOptions): Line[] {
  const title: Line = [
    [group.id, 'bold'],
    [`  ${words}`, 'plain'],
    [`  ${rate(group.packetsPerSecond)}/s  view ${group.view}`, 'dim'],
  ];
  return [title, ...group.servers.map((server) => serverLine(server, columns, options))];
}

function serverLine(server: ServerState, columns: number, options: ScreenOptions): Line {
  const { name, state, share, packetsPerSecond, openFlows, endedFlows } = server;
  const style = stateStyles[state] ?? 'plain';
  const start: Line = [
    [`  ${name.padEnd(nameWidth)}`, 'plain'],
    [state.padEnd(stateWidth), style],
  ];
  if (state === 'left') return start;
  const percent = `${Math.round(share * 100)} %`.padStart(6);
  const numbers = `${percent}${rate(packetsPerSecond).padStart(8)}${count(openFlows).padStart(8)}${count(endedFlows).padStart(8)}`;
  return [...start, ...bar(share, barWidth(columns), style, options), [numbers, 'plain']];
}

function bar(share: number, width: number, style: Style, { unicode }: ScreenOptions): Line {
  const full = Math.min(width, Math.round(share * width));
  const [on, off] = unicode ? ['█', '░'] : ['#', '.'];
  return [
    [on.repeat(full), style],
    [off.repeat(width - full), 'dim'],
  ];
}

function barWidth(columns: number): number {
  return Math.max(6, Math.min(48, columns - 2 - nameWidth - stateWidth - numbersWidth - 4));
}

function totalLines(snapshot: Snapshot): Line[] {
  const { packets, accepted, double, nobody, underWay, flows, moved, copiesPerPacket, droppedAtTier1 } = snapshot;
  const causes = Object.entries(nobody).map(([cause, number]) => `${causeWords[cause] ?? cause} ${count(number)}`);
  const bad = (wrong: boolean): Style => (wrong ? 'red' : 'green');
  return [
    [
      [`${counted(packets, 'packet')}: `, 'bold'],
      [`kept by one ${count(accepted)}`, 'green'],
      [', by two ', 'plain'],
      [count(double), bad(double > 0)],
      [`, by nobody ${count(sumOf(nobody))}`, 'plain'],
      [underWay === 0 ? '' : `, on the way ${count(underWay)}`, 'dim'],
    ],
    [
      [`${counted(flows, 'flow')}: `, 'bold'],
      ['moved to another server ', 'plain'],
      [count(moved), bad(moved > 0)],
      [`; ${copiesPerPacket.toFixed(2)} copies a packet`, 'plain'],
    ],
    [
      [`by nobody: ${causes.length === 0 ? 'none' : causes.join(', ')}`, 'dim'],
      [`; dropped before the log: ${count(droppedAtTier1)}`, 'dim'],
    ],
  ];
}

function eventLines(events: readonly DemoEvent[], columns: number, { unicode }: ScreenOptions): Line[] {
  return events.flatMap(({ seconds, text }) =>
    wrap(unicode ? text : text.replaceAll('→', '->'), columns - 9).map(
      (part, index): Line => [
        [index === 0 ? `${seconds.toFixed(1).padStart(5)} s  ` : ' '.repeat(9), 'dim'],
        [part, 'plain'],
      ],
    ),
  );
}

/** A line cut to `columns` characters, with colours where they are wanted. */
function paint(line: Line, columns: number, { colour }: ScreenOptions): string {
  let left = columns;
  let text = '';
  for (const [span, style] of line) {
    const cut = span.slice(0, left);
    left -= cut.length;
    text += colour && style !== 'plain' && cut !== '' ? `\x1b[${codes[style]}m${cut}\x1b[0m` : cut;
  }
  return text;
}

/** Breaks a text into lines of at most `columns` characters, between words. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function rate(perSecond: number): string {
  return count(Math.round(perSecond));
}
