// Shares by integer weights: for a draw by chance, and for taking turns.
//
// Lay the candidates side by side on a line, each as long as its weight. A hash that falls on the line picks the
// candidate below it: weighted random. For weighted round robin every unit of the line is given a moment: the
// fractional part of its number times the golden ratio. Such moments of any run of neighbours are spread almost evenly
// (Weyl's sequence; no ratio does it better), so taking the units in the order of their moments gives everybody exactly
// as many turns as its weight says, and nobody many turns in a row. The order is written down once as a cycle; a turn
// costs one look-up.

/** Longest cycle; where weights need a longer one, shares are rounded to this many turns. */
export const CYCLE_TURNS = 65_536;

/**
 * The candidate under `hash` (int32, read unsigned) where the candidates' weights add up to `ends[i]`; at most 2^26 in
 * all. Binary search, because groups have up to a thousand members.
 */
export function weightedPick(ends: Float64Array, hash: number): number {
  const total = ends[ends.length - 1];
  // Every step is exact: below 2^53 before the shift, or rounded the same way by every engine.
  const point = Math.floor((hash >>> 0) * total * 2 ** -32);
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (point < ends[middle]) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Running sums of positive integer weights, for `weightedPick`. */
export function cumulate(weights: readonly number[]): Float64Array {
  let total = 0;
  return Float64Array.from(weights, (weight) => (total += weight));
}

/**
 * The cycle of turns for positive integer weights: indices of candidates, each as often as its weight (divided by their
 * greatest common divisor) says, spread evenly. With equal weights everybody has one turn. Weights that would need more
 * than `longest` turns (CYCLE_TURNS at most) are scaled down to that many, with one turn at least for everybody.
 */
export function smoothCycle(weights: readonly number[], longest: number = CYCLE_TURNS): Uint16Array {
  const turns = turnsByWeight(weights, longest);
  const line = new Uint16Array(turns.reduce((a, b) => a + b, 0));
  let end = 0;
  for (const [candidate, count] of turns.entries()) line.fill(candidate, end, (end += count));
  if (turns.every((count) => count === 1)) return line;
  // Moment and unit in one number below 2^48; 2^32 / golden ratio is odd, so no two units share a moment.
  const order = Float64Array.from(line, (_, unit) => (Math.imul(unit, 0x9e3779b1) >>> 0) * CYCLE_TURNS + unit).sort();
  return line.map((_, turn) => line[order[turn] % CYCLE_TURNS]);
}

/** Turns of each candidate in one cycle: exact where that fits, else by largest remainder. */
function turnsByWeight(weights: readonly number[], longest: number): number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  const exact = weights.map((weight) => weight / divisor);
  const total = exact.reduce((a, b) => a + b, 0);
  if (total <= longest) return exact;

  // Everybody has one turn for sure; what is left is shared by weight. Products stay below 2^42.
  const shared = longest - weights.length;
  const turns = exact.map((weight) => 1 + Math.floor((weight * shared) / total));
  const remainder = exact.map((weight) => (weight * shared) % total);
  const byRemainder = remainder.map((_, index) => index).sort((a, b) => remainder[b] - remainder[a] || a - b);
  const missing = longest - turns.reduce((a, b) => a + b, 0);
  for (const index of byRemainder.slice(0, missing)) turns[index] += 1;
  return turns;
}

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
