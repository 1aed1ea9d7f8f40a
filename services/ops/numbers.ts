// Numbers and what they count, as sentences of reports have them: with separators, and in singular or plural.

/** `1,234,567`. */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1 packet`, `1,000 packets`, `0 entries`: a number and its noun, whose plural is given where it is irregular. */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${agreeing(value, noun, plural)}`;
}

/** The form that goes with a number: `was` or `were`. */
export function agreeing(value: number, singular: string, plural: string): string {
  return value === 1 ? singular : plural;
}
