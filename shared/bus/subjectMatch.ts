// Subject patterns as NATS has them, for the in-process bus and for checking before anything is sent: tokens between
// dots, `*` for one token, `>` at the end for one or more. Spaces would break the line protocol underneath.

import { errorCodes, FlowherdError } from '../base/errors.ts';

/** True when the pattern holds a wildcard. */
export function isPattern(pattern: string): boolean {
  return pattern.includes('*') || pattern.includes('>');
}

/** True when `subject` (without wildcards) is one that `pattern` stands for. */
export function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split('.');
  const given = subject.split('.');
  for (let at = 0; at < wanted.length; at++) {
    if (wanted[at] === '>') return given.length > at;
    if (at >= given.length) return false;
    if (wanted[at] !== '*' && wanted[at] !== given[at]) return false;
  }
  return wanted.length === given.length;
}

const patternGrammar = /^([^\s.*>]+|\*)(\.([^\s.*>]+|\*))*(\.>)?$/;
const keyGrammar = /^[-/=\w]+(\.[-/=\w]+)*$/;
const bucketGrammar = /^[-\w]{1,128}$/;

/** Throws `bad-name` unless `pattern` can be subscribed to. */
export function assertPattern(pattern: string): void {
  if (pattern !== '>' && !patternGrammar.test(pattern)) throw badName(pattern, 'subject');
}

/** Throws `bad-name` unless `key` can name an entry of the key-value store. */
export function assertKey(key: string): void {
  if (!keyGrammar.test(key)) throw badName(key, 'key');
}

/** Throws `bad-name` unless `bucket` can name a key-value store. */
export function assertBucket(bucket: string): void {
  if (!bucketGrammar.test(bucket)) throw badName(bucket, 'key-value bucket');
}

function badName(name: string, kind: string): FlowherdError {
  return new FlowherdError(errorCodes.badName, `${JSON.stringify(name)} is not a ${kind} the bus can carry`);
}
