// Did you mean ...? The known word that is nearest to one that was mistyped.

/**
 * The nearest of `known`, or undefined when none is near: at most a third of the letters may differ, and at least one must
 * be right. Capitals do not count.
 */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  const asked = word.slice(0, longest).toLowerCase();
  for (const candidate of known) {
    const difference = editsBetween(asked, candidate.slice(0, longest).toLowerCase());
    if (difference < least) [best, least] = [candidate, difference];
  }
  return least <= Math.max(1, Math.floor(asked.length / 3)) && least < asked.length ? best : undefined;
}

/** The question to ask, with a comma before it; empty when no word is near. */
export function didYouMean(word: string, known: readonly string[]): string {
  const candidate = nearest(word, known);
  return candidate === undefined ? '' : `, did you mean ${candidate}?`;
}

const longest = 128;

/** Letters to insert, drop, replace or swap with their neighbour (optimal string alignment). */
function editsBetween(one: string, other: string): number {
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row++) {
    const line = [row];
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[row - 1] === other[column - 1];
      let edits = Math.min(line[column - 1] + 1, last[column] + 1, last[column - 1] + (isSame ? 0 : 1));
      const isSwap = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      if (isSwap) edits = Math.min(edits, before[column - 2] + 1);
      line.push(edits);
    }
    [before, last] = [last, line];
  }
  return last[other.length];
}
