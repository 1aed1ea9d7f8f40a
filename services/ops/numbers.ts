// Numbers in reports for people: with thousands apart, and with a noun that agrees.

/** `12,511`. */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1 packet`, `2 packets`. */
export function several(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
}
