// How large things of generated traffic are (packets of a flow, bytes of a packet): distributions, one draw, their mean,
// and how people write them.

import type { Prng } from '../../../shared/base/prng.ts';

/** A distribution of sizes (packets of a flow, or bytes of a packet). All bounds are included. */
export type Sizes =
  | { readonly kind: 'fixed'; readonly size: number }
  | { readonly kind: 'uniform'; readonly min: number; readonly max: number }
  /** Heavy-tailed, cut at `max`: see Prng.pareto(). */
  | { readonly kind: 'pareto'; readonly min: number; readonly max: number; readonly shape: number }
  /** Each size as likely as its weight (an integer). */
  | { readonly kind: 'choice'; readonly sizes: readonly number[]; readonly weights: readonly number[] };

/**
 * "Simple IMIX": 64, 594 and 1518 bytes with the Ethernet checksum as 7 : 4 : 1 (cf. RFC 6985); here without its 4
 * bytes.
 */
export const imix: Sizes = { kind: 'choice', sizes: [60, 590, 1514], weights: [7, 4, 1] };

/**
 * Reads `128`, `64-1500`, `imix` or `pareto:<min>:<max>:<shape>`, as people write sizes on a command line. Throws on
 * anything else.
 */
export function parseSizes(text: string): Sizes {
  if (text === 'imix') return imix;
  if (/^\d+$/.test(text)) return { kind: 'fixed', size: Number(text) };
  const range = /^(\d+)-(\d+)$/.exec(text);
  if (range !== null && Number(range[1]) <= Number(range[2]))
    return { kind: 'uniform', min: Number(range[1]), max: Number(range[2]) };
  const pareto = /^pareto:(\d+):(\d+):(\d+(?:\.\d+)?)$/.exec(text);
  if (pareto !== null && Number(pareto[1]) >= 1 && Number(pareto[1]) < Number(pareto[2]) && Number(pareto[3]) > 0) {
    return { kind: 'pareto', min: Number(pareto[1]), max: Number(pareto[2]), shape: Number(pareto[3]) };
  }
  throw new Error(`not a size: ${text} (write 128, 64-1500, imix or pareto:2:10000:1.2)`);
}

/** The largest size a distribution can give. */
export function largestSize(sizes: Sizes): number {
  if (sizes.kind === 'fixed') return sizes.size;
  return sizes.kind === 'choice' ? Math.max(...sizes.sizes) : sizes.max;
}

/** The smallest one. */
export function smallestSize(sizes: Sizes): number {
  if (sizes.kind === 'fixed') return sizes.size;
  return sizes.kind === 'choice' ? Math.min(...sizes.sizes) : sizes.min;
}

/** One size. */
export function drawSize(sizes: Sizes, prng: Prng): number {
  switch (sizes.kind) {
    case 'fixed':
      return sizes.size;
    case 'uniform':
      return prng.between(sizes.min, sizes.max);
    case 'pareto':
      return Math.floor(prng.pareto(sizes.min, sizes.max, sizes.shape));
    case 'choice':
      return sizes.sizes[prng.pickWeighted(sizes.weights)]!;
  }
}

/** The mean of what drawSize() gives. */
export function meanSize(sizes: Sizes): number {
  switch (sizes.kind) {
    case 'fixed':
      return sizes.size;
    case 'uniform':
      return (sizes.min + sizes.max) / 2;
    case 'pareto':
      return meanPareto(sizes.min, sizes.max, sizes.shape);
    case 'choice': {
      const weight = sizes.weights.reduce((sum, each) => sum + each, 0);
      return sizes.sizes.reduce((sum, size, i) => sum + size * sizes.weights[i]!, 0) / weight;
    }
  }
}

/** The integral of P(X > x) of the bounded distribution, less the half that rounding down takes away. */
function meanPareto(min: number, max: number, shape: number): number {
  const cut = (min / max) ** shape;
  const area =
    shape === 1 ? min * Math.log(max / min) : (min ** shape * (max ** (1 - shape) - min ** (1 - shape))) / (1 - shape);
  return min + (area - cut * (max - min)) / (1 - cut) - 0.5;
}
