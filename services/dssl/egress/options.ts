// Reading the options of the shipped handlers (`--handler-option name=value`): they arrive as text, and a misspelt one
// should be said, not ignored.

import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';

/** Throws FlowherdError bad-config when there is an option the handler does not know. */
export function checkOptions(
  handler: string,
  options: Readonly<Record<string, string>>,
  known: readonly string[],
): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new FlowherdError(
      errorCodes.badConfig,
      `handler ${handler} has no option '${name}' (it has ${known.join(', ')})`,
    );
  }
}

/**
 * The option as an integer from `min` to `max`, or `otherwise` when it is not given. Throws FlowherdError bad-config.
 */
export function integerOption(
  options: Readonly<Record<string, string>>,
  name: string,
  otherwise: number,
  min: number,
  max: number,
): number {
  const text = options[name];
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new FlowherdError(errorCodes.badConfig, `option ${name}: '${text}' is not an integer from ${min} to ${max}`);
}
