// How modules tell each other what they know, so that one that joins breaks no flow (claim 13), and one that missed frames
// does not stay ignorant of what began in them.
//
// A joiner listens to the group's frames from the moment it subscribes, so it sees every flow that starts after that. What
// started before, each peer tells: its own flows, those whose owner has gone, and what began in the last seconds. The two
// halves must meet without a gap. A peer may answer before it has decided a frame that reached the joiner's side of the
// bus just before the joiner's subscription did, and that flow would be in neither half. So an answer says how far the
// peer had come with each tier 1 when it began, and the joiner takes it only if the first frame it heard itself of that
// tier 1 is no later than the next one. Otherwise it asks again. For a tier 1 that it has not heard at all it waits, unless
// the peer has not heard it for a second either.
//
// A member that missed frames asks the same with `since`, and is told what began since then, by whomever it is held, and
// which flows had packets since. The cut is the same: a peer's answer counts when the peer had come as far as the frames
// after the hole.
//
//   request  [ version, 1, to, from, nonce, since ]      since: tick, or nil for everything
//   answer   [ version, 2, to, from, incarnation, nonce, chunk, isLast, positions, owners, rows ]
//   probe    [ version, 3, to, incarnation, nonce ]      nonce is the asker's, and comes back in the answer
//   alive    [ version, 4, from, incarnation, nonce ]
//
//   positions  [ tier1Id, sequence, ... ] of the tier 1s heard lately, the same in every chunk
//   owners     [ server, incarnation, number of the view in which it joined, ... ] that rows refer to; the first is the
//              peer itself
//   rows       20 bytes each, little-endian: hashHi i32, hashLo i32, tick i32, kind u8 (RowKind),
//              state u8 (bits 0-1; bits 4-7 protocol class), owner u16, number u32 of the view since when it has that owner
//
// Answers travel in chunks on the control subject, a few a tick, so that neither the peer nor the bus stalls. The table
// may change while it is read: what changes after the positions were taken, the joiner sees by itself.
//
// Before that, whoever wants to join under a name that a view holds already asks whether that life of the server is
// alive. A living one says so at once; silence means that its place is free (place.ts).

import { Packr } from 'msgpackr';
import { limits } from '../../../shared/base/limits.ts';
import { isWhole } from '../../../shared/base/validate.ts';
import { isName } from '../../../shared/bus/subjects.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import { FlowState } from '../replica/flows/entry.ts';
import type { ServerLife } from '../replica/viewHistory.ts';

/** Kinds of messages that tables are compared with are in entropyMessages.ts. Who does not know a kind ignores it. */
export const syncVersion = 2;
const rowBytes = 20;
export const rowsPerChunk = 4_096;
/** Most queues never have more rows than this; it grows. */
const rowsAtFirst = 32;
const positionsMax = 1_024;
const packr = new Packr({ useRecords: false });

/** A flow in the table; a flow that began lately, which only its owner has in a table (Fig. 6); one that all have (Fig. 7). */
export const RowKind = { flow: 0, start: 1, startInTable: 2 } as const;

export interface SyncRequest {
  readonly kind: 'request';
  readonly to: string;
  readonly from: string;
  readonly nonce: number;
  /** Packet time as a tick: tell only what began since then. Undefined: tell everything. */
  readonly since: number | undefined;
}

export interface SyncAnswer {
  readonly kind: 'answer';
  readonly to: string;
  readonly from: string;
  readonly incarnation: number;
  readonly nonce: number;
  readonly chunk: number;
  readonly isLast: boolean;
  readonly positions: ReadonlyMap<string, number>;
  readonly owners: readonly ServerLife[];
  readonly rows: Uint8Array;
}

/** Is this life of the server alive? */
export interface LifeProbe extends Life {
  readonly kind: 'probe';
  readonly nonce: number;
}

/** This life of the server is alive; the nonce is the probe's. */
export interface SignOfLife extends Life {
  readonly kind: 'alive';
  readonly nonce: number;
}

export type SyncMessage = SyncRequest | SyncAnswer | LifeProbe | SignOfLife;

export function encodeRequest(request: SyncRequest): Uint8Array {
  const { to, from, nonce, since } = request;
  return Uint8Array.from(packr.pack([syncVersion, 1, to, from, nonce, since ?? null]));
}

export function encodeAnswer(answer: SyncAnswer): Uint8Array {
  const { to, from, incarnation, nonce, chunk, isLast, positions, owners, rows } = answer;
  const named = owners.flatMap((owner) => [owner.server, owner.incarnation, owner.joinedIn]);
  return Uint8Array.from(
    packr.pack([syncVersion, 2, to, from, incarnation, nonce, chunk, isLast, [...positions].flat(), named, rows]),
  );
}

export function encodeLife({ kind, server, incarnation, nonce }: LifeProbe | SignOfLife): Uint8Array {
  return Uint8Array.from(packr.pack([syncVersion, kind === 'probe' ? 3 : 4, server, incarnation, nonce]));
}

/** The fields of a control message of this version; undefined when the bytes are none. */
export function controlFields(message: Uint8Array): unknown[] | undefined {
  try {
    const fields: unknown = packr.unpack(message);
    return Array.isArray(fields) && fields[0] === syncVersion ? fields : undefined;
  } catch {
    return undefined;
  }
}

/** Reads a control message; undefined when it is none of these. */
export function decodeSync(message: Uint8Array): SyncMessage | undefined {
  const fields = controlFields(message);
  return fields && readSync(fields);
}

/** The same of a message whose fields are known. */
export function readSync(fields: unknown[]): SyncMessage | undefined {
  if (fields[1] === 1 && fields.length === 6) return readRequest(fields);
  if (fields[1] === 2 && fields.length === 11) return readAnswer(fields);
  if ((fields[1] === 3 || fields[1] === 4) && fields.length === 5) return readLife(fields);
  return undefined;
}

function readRequest([, , to, from, nonce, since]: unknown[]): SyncRequest | undefined {
  if (!isServer(to) || !isServer(from) || !isCount(nonce)) return undefined;
  if (since !== null && !isWhole(since, -0x8000_0000, 0x7fff_ffff)) return undefined;
  return { kind: 'request', to, from, nonce, since: since ?? undefined };
}

function readLife([, type, server, incarnation, nonce]: unknown[]): LifeProbe | SignOfLife | undefined {
  if (!isServer(server) || !isCount(incarnation) || !isCount(nonce)) return undefined;
  return { kind: type === 3 ? 'probe' : 'alive', server, incarnation, nonce };
}

function readAnswer(fields: unknown[]): SyncAnswer | undefined {
  const [, , to, from, incarnation, nonce, chunk, isLast, flat, named, rows] = fields;
  if (!isServer(to) || !isServer(from) || !isCount(incarnation) || !isCount(nonce) || !isCount(chunk)) return undefined;
  const positions = readPositions(flat);
  if (typeof isLast !== 'boolean' || !areRows(rows) || positions === undefined) return undefined;
  if (!Array.isArray(named) || named.length % 3 !== 0 || named.length > 3 * limits.knownServers) return undefined;
  const owners: ServerLife[] = [];
  for (let i = 0; i < named.length; i += 3) {
    const [server, life, joinedIn] = [named[i], named[i + 1], named[i + 2]];
    if (!isServer(server) || !isCount(life) || !isCount(joinedIn)) return undefined;
    owners.push({ server, incarnation: life, joinedIn });
  }
  if (owners[0]?.server !== from || owners[0].incarnation !== incarnation) return undefined;
  return { kind: 'answer', to, from, incarnation, nonce, chunk, isLast, positions, owners, rows };
}

/** One row as numbers; `owner` is a number of the answer's owners. */
export interface SyncRow {
  kind: number;
  hi: number;
  lo: number;
  tick: number;
  state: FlowState;
  protocolClass: number;
  owner: number;
  view: number;
}

/** Rows waiting to be sent; they leave in chunks. */
export class RowQueue {
  #view: DataView = new DataView(new ArrayBuffer(rowsAtFirst * rowBytes));
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(row: SyncRow): void {
    const at = this.#count * rowBytes;
    if (at === this.#view.byteLength) this.#view = doubled(this.#view);
    this.#view.setInt32(at, row.hi, true);
    this.#view.setInt32(at + 4, row.lo, true);
    this.#view.setInt32(at + 8, row.tick, true);
    this.#view.setUint32(at + 12, row.kind | (row.state << 8) | (row.protocolClass << 12) | (row.owner << 16), true);
    this.#view.setUint32(at + 16, row.view, true);
    this.#count++;
  }

  /** Takes the oldest rows out, at most one chunk of them, as bytes of their own. */
  takeChunk(): Uint8Array {
    const taken = Math.min(this.#count, rowsPerChunk);
    const bytes = new Uint8Array(this.#view.buffer);
    const chunk = bytes.slice(0, taken * rowBytes);
    bytes.copyWithin(0, taken * rowBytes, this.#count * rowBytes);
    this.#count -= taken;
    return chunk;
  }
}

function doubled(view: DataView): DataView {
  const larger = new Uint8Array(2 * view.byteLength);
  larger.set(new Uint8Array(view.buffer));
  return new DataView(larger.buffer);
}

/** Shows every row; the object is filled again for the next. */
export function readRows(rows: Uint8Array, visit: (row: Readonly<SyncRow>) => void): void {
  const view = new DataView(rows.buffer, rows.byteOffset, rows.length);
  const row: SyncRow = { kind: 0, hi: 0, lo: 0, tick: 0, state: 0, protocolClass: 0, owner: 0, view: 0 };
  for (let at = 0; at < rows.length; at += rowBytes) {
    const stateAndClass = view.getUint8(at + 13);
    row.kind = view.getUint8(at + 12);
    row.hi = view.getInt32(at, true);
    row.lo = view.getInt32(at + 4, true);
    row.tick = view.getInt32(at + 8, true);
    row.state = Math.min(stateAndClass & 15, FlowState.closing) as FlowState;
    row.protocolClass = stateAndClass >>> 4;
    row.owner = view.getUint16(at + 14, true);
    row.view = view.getUint32(at + 16, true);
    visit(row);
  }
}

/** How far somebody has come with each tier 1, as messages carry it: id and sequence in turn. */
export function readPositions(flat: unknown): Map<string, number> | undefined {
  if (!Array.isArray(flat) || flat.length % 2 !== 0 || flat.length > 2 * positionsMax) return undefined;
  const positions = new Map<string, number>();
  for (let i = 0; i < flat.length; i += 2) {
    const [id, sequence] = [flat[i], flat[i + 1]];
    if (typeof id !== 'string' || !isCount(sequence)) return undefined;
    positions.set(id, sequence);
  }
  return positions;
}

export function areRows(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length % rowBytes === 0;
}

export function isServer(value: unknown): value is string {
  return typeof value === 'string' && isName(value);
}

export function isCount(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
