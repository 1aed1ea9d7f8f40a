// The messages by which members of a group compare their tables, and say what they hold. They go to everybody on the
// group's control subject, beside those of sync.ts, whose version, positions and rows they share.
//
//   digest  [ version, 5, from, incarnation, tick, positions, sums ]        sums of the sender's own flows (tableSums.ts)
//   ask     [ version, 6, to, from, bucket ]                                what do you hold in this bucket? `to` nil: everybody
//   bucket  [ version, 7, from, incarnation, joinedIn, bucket, nonce, tick, view, chunk, isLast, positions, rows ]
//   claim   [ version, 8, from, incarnation, joinedIn, positions, rows ]
//
//   tick      packet time when the sender looked, and
//   positions how far it had come with each tier 1 then
//   view      the oldest that a tier 1 stamped then
//   rows      of flows that the sender holds. In a claim: of kind `start`, what began near a change of views, with the view
//             by which it was placed; of kind `flow`, what somebody else says it holds too, with the view since when it has it
//
// An answer concerns everybody who differs in that bucket, not only who asked: so it goes to all.

import { Packr } from 'msgpackr';
import { isWhole } from '../../../shared/base/validate.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import { areRows, isCount, isServer, readPositions, syncVersion } from './sync.ts';
import { bucketCount, TableSums } from './tableSums.ts';

const packr = new Packr({ useRecords: false });

export interface Digest extends Life {
  readonly kind: 'digest';
  readonly tick: number;
  readonly positions: ReadonlyMap<string, number>;
  readonly sums: TableSums;
}

export interface BucketRequest {
  readonly kind: 'ask';
  /** Undefined: everybody is asked. */
  readonly to: string | undefined;
  readonly from: string;
  readonly bucket: number;
}

export interface BucketChunk extends Life {
  readonly kind: 'bucket';
  readonly joinedIn: number;
  readonly bucket: number;
  readonly nonce: number;
  readonly tick: number;
  readonly view: number;
  readonly chunk: number;
  readonly isLast: boolean;
  readonly positions: ReadonlyMap<string, number>;
  readonly rows: Uint8Array;
}

export interface Claim extends Life {
  readonly kind: 'claim';
  readonly joinedIn: number;
  readonly positions: ReadonlyMap<string, number>;
  readonly rows: Uint8Array;
}

export type EntropyMessage = Digest | BucketRequest | BucketChunk | Claim;

export function encodeEntropy(message: EntropyMessage): Uint8Array {
  return Uint8Array.from(packr.pack([syncVersion, ...fieldsOf(message)]));
}

function fieldsOf(message: EntropyMessage): unknown[] {
  if (message.kind === 'ask') return [6, message.to ?? null, message.from, message.bucket];
  const { server, incarnation } = message;
  if (message.kind === 'digest')
    return [5, server, incarnation, message.tick, [...message.positions].flat(), message.sums.toBytes()];
  const { joinedIn, rows } = message;
  if (message.kind === 'claim') return [8, server, incarnation, joinedIn, [...message.positions].flat(), rows];
  const { bucket, nonce, tick, view, chunk, isLast, positions } = message;
  return [7, server, incarnation, joinedIn, bucket, nonce, tick, view, chunk, isLast, [...positions].flat(), rows];
}

/** Reads the fields of a control message; undefined when it is none of these. */
export function readEntropy(fields: unknown[]): EntropyMessage | undefined {
  if (fields[1] === 5 && fields.length === 7) return readDigest(fields);
  if (fields[1] === 6 && fields.length === 5) return readRequest(fields);
  if (fields[1] === 7 && fields.length === 13) return readBucket(fields);
  if (fields[1] === 8 && fields.length === 7) return readClaim(fields);
  return undefined;
}

function readDigest([, , server, incarnation, tick, flat, bytes]: unknown[]): Digest | undefined {
  const positions = readPositions(flat);
  const sums = bytes instanceof Uint8Array ? TableSums.fromBytes(bytes) : undefined;
  if (!isServer(server) || !isCount(incarnation) || !isTick(tick)) return undefined;
  if (positions === undefined || sums === undefined) return undefined;
  return { kind: 'digest', server, incarnation, tick, positions, sums };
}

function readRequest([, , to, from, bucket]: unknown[]): BucketRequest | undefined {
  if ((to !== null && !isServer(to)) || !isServer(from) || !isBucket(bucket)) return undefined;
  return { kind: 'ask', to: to ?? undefined, from, bucket };
}

function readBucket(fields: unknown[]): BucketChunk | undefined {
  const [, , server, incarnation, joinedIn, bucket, nonce, tick, view, chunk, isLast, flat, rows] = fields;
  const positions = readPositions(flat);
  if (!isServer(server) || !isCount(incarnation) || !isCount(joinedIn) || !isBucket(bucket)) return undefined;
  if (!isCount(nonce) || !isTick(tick) || !isCount(view) || !isCount(chunk) || typeof isLast !== 'boolean')
    return undefined;
  if (positions === undefined || !areRows(rows)) return undefined;
  return { kind: 'bucket', server, incarnation, joinedIn, bucket, nonce, tick, view, chunk, isLast, positions, rows };
}

function readClaim([, , server, incarnation, joinedIn, flat, rows]: unknown[]): Claim | undefined {
  const positions = readPositions(flat);
  if (!isServer(server) || !isCount(incarnation) || !isCount(joinedIn)) return undefined;
  if (positions === undefined || !areRows(rows)) return undefined;
  return { kind: 'claim', server, incarnation, joinedIn, positions, rows };
}

function isTick(value: unknown): value is number {
  return isWhole(value, -0x8000_0000, 0x7fff_ffff);
}

function isBucket(value: unknown): value is number {
  return isWhole(value, 0, bucketCount - 1);
}
