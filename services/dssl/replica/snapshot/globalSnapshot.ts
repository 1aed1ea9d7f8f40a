// Everything that a group's replicas share but the flow table, as one replica gives it to another.
//
//   [ group, position, mark, epoch, sign and askings, time, view, view position, roster, tier-1 lasts, ordinal, datagrams, recent starts, waiting fragments ]
//
// Reading it back checks each part by itself and against the others. What cannot be is refused as a whole.

import { limits } from '../../../../shared/base/limits.ts';
import { isWhole } from '../../../../shared/base/validate.ts';
import { readView, type View } from '../../../../shared/membership/view.ts';
import type { Asking, Epoch, Sign } from '../global/epochLine.ts';
import type { WaitingFragment } from '../global/fragments.ts';
import type { LineTimeState } from '../global/lineTime.ts';
import type { RosterEntry } from '../global/roster.ts';
import type { Tier1Last } from '../global/tier1Lasts.ts';
import { bytesOfWords, seal, unseal, wordsOfBytes } from './seal.ts';

const name = 'flowherd-global';
const version = 1;
const textMax = 128;

/** Records of a FifoTable. */
export interface FifoContent {
  readonly next: number;
  readonly records: Int32Array;
}

export interface GlobalSnapshot {
  readonly group: string;
  readonly position: number;
  readonly mark: number;
  readonly epoch: Epoch;
  readonly sign: Sign;
  readonly askings: readonly Asking[];
  readonly time: LineTimeState;
  readonly view: View;
  readonly viewPosition: number;
  readonly roster: readonly RosterEntry[];
  readonly lasts: readonly Tier1Last[];
  readonly ordinal: number;
  readonly datagrams: FifoContent;
  readonly recentStarts: FifoContent;
  readonly waiting: readonly WaitingFragment[];
}

export function encodeGlobal(state: GlobalSnapshot): Uint8Array {
  const { group, position, mark, epoch, askings, time, view, roster, lasts, ordinal, datagrams, recentStarts } = state;
  return seal(name, version, [
    group,
    position,
    mark,
    [epoch.number, epoch.id, epoch.position],
    [state.sign.position, state.sign.stampMs, askings.map(({ author, count, atMs }) => [author, count, atMs])],
    [time.logMs, time.captureMs, time.stampMs ?? null, time.captureStampMs ?? null],
    // Read, so that its fields lie in one order whatever has made it: equal states have equal bytes.
    readView(view),
    state.viewPosition,
    roster.map(({ server, incarnation, joinedAt, goneMs }) => [server, incarnation, joinedAt, goneMs ?? null]),
    lasts.map(({ tier1Id, last, atMs, gapMs }) => [tier1Id, last, atMs, gapMs ?? null]),
    ordinal,
    [datagrams.next, bytesOfWords(datagrams.records)],
    [recentStarts.next, bytesOfWords(recentStarts.records)],
    state.waiting.map(({ hi, lo, bytes, timestampMs, atMs, tier1Id, number, row }) => [
      hi,
      lo,
      bytes,
      timestampMs,
      atMs,
      tier1Id,
      number,
      row,
    ]),
  ]);
}

/** Undefined when the bytes are no such state. */
export function decodeGlobal(bytes: Uint8Array): GlobalSnapshot | undefined {
  const fields = unseal(name, version, 14, bytes);
  if (fields === undefined) return undefined;
  const [group, position, mark, ...rest] = fields;
  const epoch = readEpoch(rest[0]);
  const signs = readSigns(rest[1]);
  const time = readTime(rest[2]);
  const view = readView(rest[3]);
  const viewPosition = rest[4];
  const roster = readList(rest[5], 4, readRosterEntry);
  const lasts = readList(rest[6], 4, readLast);
  const ordinal = rest[7];
  const datagrams = readFifo(rest[8], 7);
  const recentStarts = readFifo(rest[9], 5);
  const waiting = readList(rest[10], 8, readWaiting);
  if (!isText(group) || !isCount(position) || !isCount(viewPosition) || !isWhole(mark, 0, 0xffff_ffff))
    return undefined;
  if (epoch === undefined || signs === undefined || time === undefined || view === undefined) return undefined;
  if (roster === undefined || lasts === undefined || !isWhole(ordinal, 0, 0x7fff_ffff)) return undefined;
  if (datagrams === undefined || recentStarts === undefined || waiting === undefined) return undefined;
  return {
    group,
    position,
    mark,
    epoch,
    ...signs,
    time,
    view,
    viewPosition,
    roster,
    lasts,
    ordinal,
    datagrams,
    recentStarts,
    waiting,
  };
}

function readEpoch(value: unknown): Epoch | undefined {
  if (!Array.isArray(value) || value.length !== 3) return undefined;
  const [number, id, position] = value;
  return isCount(number) && isText(id) && isCount(position) ? { number, id, position } : undefined;
}

function readSigns(value: unknown): Pick<GlobalSnapshot, 'sign' | 'askings'> | undefined {
  if (!Array.isArray(value) || value.length !== 3) return undefined;
  const [position, stampMs] = value;
  const askings = readList(value[2], 3, readAsking);
  if (!isCount(position) || !isNumber(stampMs) || askings === undefined) return undefined;
  return { sign: { position, stampMs }, askings };
}

function readAsking([author, count, atMs]: readonly unknown[]): Asking | undefined {
  return isText(author) && isCount(count) && isNumber(atMs) ? { author, count, atMs } : undefined;
}

function readTime(value: unknown): LineTimeState | undefined {
  if (!Array.isArray(value) || value.length !== 4) return undefined;
  const [logMs, captureMs, stampMs, captureStampMs] = value;
  if (!isCount(logMs) || !isCount(captureMs)) return undefined;
  if ((stampMs !== null && !isNumber(stampMs)) || (captureStampMs !== null && !isNumber(captureStampMs)))
    return undefined;
  return { logMs, captureMs, stampMs: stampMs ?? undefined, captureStampMs: captureStampMs ?? undefined };
}

function readRosterEntry([server, incarnation, joinedAt, goneMs]: readonly unknown[], number: number) {
  if (!isText(server) || !isCount(incarnation) || !isCount(joinedAt)) return undefined;
  if (goneMs !== null && !isNumber(goneMs)) return undefined;
  return { server, incarnation, number, joinedAt, goneMs: goneMs ?? undefined };
}

function readLast([tier1Id, last, atMs, gapMs]: readonly unknown[]): Tier1Last | undefined {
  if (!isText(tier1Id) || !isCount(last) || !isNumber(atMs) || (gapMs !== null && !isNumber(gapMs))) return undefined;
  return { tier1Id, last, atMs, gapMs: gapMs ?? undefined };
}

function readFifo(value: unknown, wordsEach: number): FifoContent | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [next, bytes] = value;
  const records = wordsOfBytes(bytes, wordsEach);
  return records !== undefined && isCount(next) ? { next, records } : undefined;
}

function readWaiting(fields: readonly unknown[]): WaitingFragment | undefined {
  const [hi, lo, bytes, timestampMs, atMs, tier1Id, number, row] = fields;
  if (!isInt32(hi) || !isInt32(lo) || !(bytes instanceof Uint8Array) || bytes.length > limits.packetBytes) {
    return undefined;
  }
  if (!isNumber(timestampMs) || !isNumber(atMs) || !isText(tier1Id)) return undefined;
  if (!isCount(number) || !isWhole(row, 0, limits.frameRows - 1)) return undefined;
  return { hi, lo, bytes: Uint8Array.from(bytes), timestampMs, atMs, tier1Id, number, row };
}

/** A list of arrays of `length` fields, each as `read` makes it; undefined when any is not. */
function readList<T>(
  value: unknown,
  length: number,
  read: (fields: readonly unknown[], index: number) => T | undefined,
): readonly T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const list: T[] = [];
  for (const [index, fields] of value.entries()) {
    const item = Array.isArray(fields) && fields.length === length ? read(fields, index) : undefined;
    if (item === undefined) return undefined;
    list.push(item);
  }
  return list;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= textMax;
}

function isCount(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}

function isInt32(value: unknown): value is number {
  return isWhole(value, -0x8000_0000, 0x7fff_ffff);
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
