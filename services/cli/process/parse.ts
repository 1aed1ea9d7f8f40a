// Values of command-line options that several commands read alike. A wrong one is a usage error, worded by commander.

import { InvalidArgumentError, Option } from 'commander';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { isName } from '../../../shared/bus/subjects.ts';

/** A whole number within bounds. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`a whole number from ${least} to ${most} is wanted`);
    }
    return value;
  };
}

/** `max`, or a positive factor. */
export function parseSpeed(text: string): 'max' | number {
  if (text === 'max') return 'max';
  const factor = Number(text);
  if (!(factor > 0 && Number.isFinite(factor))) throw new InvalidArgumentError('"max" or a positive number is wanted');
  return factor;
}

/** An option that may be repeated. */
export function collect(value: string, former: readonly string[] = []): readonly string[] {
  return [...former, value];
}

/** An option that takes a name of a server, group or process. */
export function nameOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    if (!isName(text)) throw new InvalidArgumentError('a name is 1 to 64 of the characters A-Z a-z 0-9 _ -');
    return text;
  });
}

/** `name=value` pairs as an object. Throws a FlowherdError `bad-config`. */
export function pairsOf(option: string, pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new FlowherdError(errorCodes.badConfig, `${option} ${pair}: write it as name=value`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
