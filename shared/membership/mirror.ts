// The mirror of a group's view: a copy in the key-value store for those that read no log, which are tier 1, operators and
// servers that look for a group. No decision about a packet hangs on it. It goes forwards only: by the epoch's number, then by the view's, then by position.

import { isRecord, isWhole, parseJson } from '../base/validate.ts';
import { type Member, readView, type View } from './view.ts';

/** One line of the log: it began when the log did, or when the log was found to be another one. */
export interface EpochName {
  /** Goes up by one from each epoch to the next. */
  readonly number: number;
  /** Tells two epochs of the same number apart. */
  readonly id: string;
}

export interface Mirror {
  readonly epoch: EpochName;
  /** How far the replica that wrote it had come with the log. */
  readonly position: number;
  readonly view: View;
}

/** Mirrors are written as JSON: they are few, and an operator reads them with any key-value client. */
export function encodeMirror({ epoch, position, view }: Mirror): Uint8Array {
  return Buffer.from(JSON.stringify({ epoch, position, view }));
}

/** Reads a mirror; undefined when the bytes are none. */
export function decodeMirror(bytes: Uint8Array): Mirror | undefined {
  const value = parseJson(bytes);
  if (!isRecord(value) || !isRecord(value.epoch)) return undefined;
  const { number, id } = value.epoch;
  const view = readView(value.view);
  if (view === undefined || typeof id !== 'string' || !isWhole(number, 0, Number.MAX_SAFE_INTEGER)) return undefined;
  if (!isWhole(value.position, 0, Number.MAX_SAFE_INTEGER)) return undefined;
  return { epoch: { number, id }, position: value.position, view };
}

/** Whether `one` tells of a later state than `other`. */
export function isNewer(one: Mirror, other: Mirror | undefined): boolean {
  if (other === undefined || one.epoch.number !== other.epoch.number) {
    return other === undefined || one.epoch.number > other.epoch.number;
  }
  if (one.epoch.id !== other.epoch.id) return true;
  if (one.view.number !== other.view.number) return one.view.number > other.view.number;
  // A log that has lost its end may have come to another view with the same number.
  return one.position > other.position && !isSameView(one.view, other.view);
}

function isSameView(one: View, other: View): boolean {
  if (one === other) return true;
  const isSame = (member: Member, index: number) => {
    const { incarnation, number, state } = other.members[index];
    return member.incarnation === incarnation && member.number === number && member.state === state;
  };
  return one.members.length === other.members.length && one.members.every(isSame);
}
