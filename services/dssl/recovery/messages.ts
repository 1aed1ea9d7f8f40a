// What replicas of a group ask each other when one of them needs state, as MessagePack arrays, at most once.
//
//   seek   [ version, 1, server, incarnation, nonce ]                          on ctl.<group>: who holds the group's state?
//   offer  [ version, 2, server, incarnation, nonce, rank, epoch number, epoch id, position ]     on peer.<group>.<server>
//   get    [ version, 3, server, incarnation, nonce, epoch id, first, last, position ]            on peer.<group>.<server>
//   part   [ version, 4, server, incarnation, nonce, first, count, position, mark, chunk, chunks, bytes ]    on peer.<group>.<server>
//   probe  [ version, 5, server, incarnation, nonce, asked server, asked incarnation ]            on peer.<group>.<server>
//   alive  [ version, 6, server, incarnation, nonce ]                          on peer.<group>.<server>
//   want   [ version, 7, server, incarnation, nonce, epoch id, position, since, flows ]           on peer.<group>.<server>
//   states [ version, 8, server, incarnation, nonce, epoch id, position, up to, chunk, chunks, bytes ]    on peer.<group>.<server>
//
// Server and incarnation are the sender's. A `get` asks for the global part (first = last = -1) or for slices first to last, at a position
// that is not below the one it names; the peer answers with as many slices as one part carries, beginning with `first`. `mark` is the
// checksum of the entry at `position` (shared/log/mark.ts): state of another line of the log is not taken. A part that is too long
// for one message comes in chunks.
//
// `want` asks for what the peer's handler keeps for flows (flowState/), at a position that is not below the one it names: for the `flows` (hashes), or where
// `since` is not -1, for all that the asker stands behind and that have had packets behind it. `states` has it as it is at `position`; `up to` says that no
// flow has changed behind `since` and up to there but those that were sent, -1 nothing.

import { Packr } from 'msgpackr';
import { isWhole } from '../../../shared/base/validate.ts';
import { isName } from '../../../shared/bus/subjects.ts';
import type { Life } from '../../../shared/membership/transitions.ts';

const version = 1;
/** Bytes of one chunk; below the bus's default message limit of 1 MiB. */
export const chunkBytes: number = 384 * 1024;
/** Longest part that is put together: a slice of a table of some 50 million flows. */
const chunksMax = 64;
const packr = new Packr({ useRecords: false });

/** The global part in a `get` and a `part`. */
export const globalPart = -1;

export interface Seek extends Life {
  readonly kind: 'seek';
  readonly nonce: number;
}

export interface Offer extends Life {
  readonly kind: 'offer';
  readonly nonce: number;
  /** 0 active, 1 draining, 2 joining, 3 no member: lower ones first. */
  readonly rank: number;
  readonly epochNumber: number;
  readonly epoch: string;
  readonly position: number;
}

export interface Get extends Life {
  readonly kind: 'get';
  readonly nonce: number;
  readonly epoch: string;
  readonly first: number;
  readonly last: number;
  readonly position: number;
}

export interface Part extends Life {
  readonly kind: 'part';
  readonly nonce: number;
  readonly first: number;
  readonly count: number;
  readonly position: number;
  readonly mark: number;
  readonly chunk: number;
  readonly chunks: number;
  readonly bytes: Uint8Array;
}

export interface Probe extends Life {
  readonly kind: 'probe';
  readonly nonce: number;
  readonly asked: Life;
}

export interface Alive extends Life {
  readonly kind: 'alive';
  readonly nonce: number;
}

export interface Want extends Life {
  readonly kind: 'want';
  readonly nonce: number;
  readonly epoch: string;
  readonly position: number;
  readonly since: number;
  /** Two words a flow. */
  readonly flows: Int32Array;
}

export interface States extends Life {
  readonly kind: 'states';
  readonly nonce: number;
  readonly epoch: string;
  readonly position: number;
  readonly upTo: number;
  readonly chunk: number;
  readonly chunks: number;
  /** As in flowState/entries.ts. */
  readonly bytes: Uint8Array;
}

export type PeerMessage = Seek | Offer | Get | Part | Probe | Alive | Want | States;

export function encodePeer(message: PeerMessage): Uint8Array {
  return Uint8Array.from(packr.pack(fieldsOf(message)));
}

function fieldsOf(message: PeerMessage): unknown[] {
  const { server, incarnation, nonce } = message;
  switch (message.kind) {
    case 'seek':
      return [version, 1, server, incarnation, nonce];
    case 'offer': {
      const { rank, epochNumber, epoch, position } = message;
      return [version, 2, server, incarnation, nonce, rank, epochNumber, epoch, position];
    }
    case 'get':
      return [version, 3, server, incarnation, nonce, message.epoch, message.first, message.last, message.position];
    case 'part': {
      const { first, count, position, mark, chunk, chunks, bytes } = message;
      return [version, 4, server, incarnation, nonce, first, count, position, mark, chunk, chunks, bytes];
    }
    case 'probe':
      return [version, 5, server, incarnation, nonce, message.asked.server, message.asked.incarnation];
    case 'alive':
      return [version, 6, server, incarnation, nonce];
    case 'want': {
      const { epoch, position, since, flows } = message;
      const bytes = new Uint8Array(flows.buffer, flows.byteOffset, flows.byteLength);
      return [version, 7, server, incarnation, nonce, epoch, position, since, bytes];
    }
    case 'states': {
      const { epoch, position, upTo, chunk, chunks, bytes } = message;
      return [version, 8, server, incarnation, nonce, epoch, position, upTo, chunk, chunks, bytes];
    }
  }
}

/** Reads a message; undefined when it is none that this version knows. The bytes come from the network: never throws. */
export function decodePeer(data: Uint8Array): PeerMessage | undefined {
  if (data.length > chunkBytes + 1_024) return undefined;
  let fields: unknown;
  try {
    fields = packr.unpack(data);
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields[0] !== version || !isWhole(fields[1], 1, 8)) return undefined;
  const [, kind, server, incarnation, nonce, ...rest] = fields;
  if (!isServer(server) || !isCount(incarnation) || !isCount(nonce)) return undefined;
  return readKind(kind as number, { server, incarnation, nonce }, rest);
}

function readKind(kind: number, common: Life & { nonce: number }, rest: readonly unknown[]): PeerMessage | undefined {
  if (kind === 1 && rest.length === 0) return { ...common, kind: 'seek' };
  if (kind === 2 && rest.length === 4) {
    const [rank, epochNumber, epoch, position] = rest;
    if (!isWhole(rank, 0, 3) || !isCount(epochNumber) || !isText(epoch) || !isCount(position)) return undefined;
    return { ...common, kind: 'offer', rank, epochNumber, epoch, position };
  }
  if (kind === 3 && rest.length === 4) {
    const [epoch, first, last, position] = rest;
    if (!isText(epoch) || !isPart(first) || !isPart(last) || !isCount(position)) return undefined;
    return { ...common, kind: 'get', epoch, first, last, position };
  }
  if (kind === 4 && rest.length === 7) return readPart(common, rest);
  if (kind === 5 && rest.length === 2) {
    const [server, incarnation] = rest;
    if (!isServer(server) || !isCount(incarnation)) return undefined;
    return { ...common, kind: 'probe', asked: { server, incarnation } };
  }
  if (kind === 7 && rest.length === 4) {
    const [epoch, position, since, bytes] = rest;
    if (!isText(epoch) || !isCount(position) || !isMark(since)) return undefined;
    if (!(bytes instanceof Uint8Array) || bytes.length % 8 !== 0) return undefined;
    return { ...common, kind: 'want', epoch, position, since, flows: new Int32Array(Uint8Array.from(bytes).buffer) };
  }
  if (kind === 8 && rest.length === 6) return readStates(common, rest);
  return kind === 6 && rest.length === 0 ? { ...common, kind: 'alive' } : undefined;
}

function readStates(common: Life & { nonce: number }, rest: readonly unknown[]): States | undefined {
  const [epoch, position, upTo, chunk, chunks, bytes] = rest;
  if (!isText(epoch) || !isCount(position) || !isMark(upTo)) return undefined;
  if (!isWhole(chunks, 1, chunksMax) || !isWhole(chunk, 0, chunks - 1)) return undefined;
  if (!(bytes instanceof Uint8Array) || bytes.length > chunkBytes) return undefined;
  return { ...common, kind: 'states', epoch, position, upTo, chunk, chunks, bytes };
}

function readPart(common: Life & { nonce: number }, rest: readonly unknown[]): Part | undefined {
  const [first, count, position, mark, chunk, chunks, bytes] = rest;
  if (!isPart(first) || !isWhole(count, 1, 256) || !isCount(position) || !isWhole(mark, 0, 0xffffffff))
    return undefined;
  if (!isWhole(chunks, 1, chunksMax) || !isWhole(chunk, 0, chunks - 1)) return undefined;
  if (!(bytes instanceof Uint8Array) || bytes.length > chunkBytes) return undefined;
  return { ...common, kind: 'part', first, count, position, mark, chunk, chunks, bytes };
}

/** Slices one after the other, each behind its length, as one part carries them. */
export function joinSlices(slices: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(slices.reduce((sum, { length }) => sum + 4 + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const slice of slices) {
    view.setUint32(at, slice.length, true);
    bytes.set(slice, at + 4);
    at += 4 + slice.length;
  }
  return bytes;
}

/** What `joinSlices` put together; undefined when the bytes are not that. */
export function splitSlices(bytes: Uint8Array, count: number): Uint8Array[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const slices: Uint8Array[] = [];
  let at = 0;
  while (slices.length < count) {
    if (at + 4 > bytes.length) return undefined;
    const length = view.getUint32(at, true);
    if (at + 4 + length > bytes.length) return undefined;
    slices.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return at === bytes.length ? slices : undefined;
}

function isServer(value: unknown): value is string {
  return typeof value === 'string' && isName(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 64;
}

function isPart(value: unknown): value is number {
  return isWhole(value, globalPart, 255);
}

/** A position, or -1. */
function isMark(value: unknown): value is number {
  return value === -1 || isCount(value);
}

function isCount(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
