// What is known of the load of each member, from its reports: a running mean of each number, because one report is a
// moment, and a weight that follows moments trembles.
//
// A report tells of one life. Another life of the same server begins anew, and so does a member that was silent so long
// that its mean tells of another time. Where a number is missing in the newest report it is missing in the mean: what a
// sensor said before it failed says nothing of now.

import { limits } from '../../base/limits.ts';
import { type Load, loadNames } from '../load.ts';

export interface MemberReport {
  readonly server: string;
  readonly incarnation: number;
  readonly load: Load;
  readonly heardAtMs: number;
}

/** A member's load as it is known: `mean` smoothed, `load` as last reported. */
export interface Known extends MemberReport {
  readonly mean: Load;
}

export class Reports {
  readonly #known = new Map<string, Known>();

  /** How many servers are known; a member's own reports may be among them. */
  get size(): number {
    return this.#known.size;
  }

  get(server: string): Known | undefined {
    return this.#known.get(server);
  }

  /**
   * Takes a report in. `smoothing` is the part of the newest one in the mean; after a silence of `staleMs` it is all of
   * it. Reports that come late, behind a newer one, are left out; much too late is a clock that was set back.
   */
  take(report: MemberReport, smoothing: number, staleMs: number): void {
    const before = this.#known.get(report.server);
    const lateMs = before === undefined ? 0 : before.heardAtMs - report.heardAtMs;
    if (lateMs > 0 && lateMs <= staleMs) return;
    const goesOn = before !== undefined && before.incarnation === report.incarnation && Math.abs(lateMs) <= staleMs;
    // Put in anew, so that the map's order is that of the last report and the longest silent one is its first.
    this.#known.delete(report.server);
    this.#known.set(report.server, {
      ...report,
      mean: goesOn ? blend(before.mean, report.load, smoothing) : report.load,
    });
    if (this.#known.size > limits.groupMembers) {
      for (const silent of this.#known.keys()) {
        this.#known.delete(silent);
        break;
      }
    }
  }

  /** Forgets servers of which nothing is to be known any more. */
  keepOnly(servers: ReadonlySet<string>): void {
    for (const server of this.#known.keys()) if (!servers.has(server)) this.#known.delete(server);
  }
}

function blend(mean: Load, newest: Load, smoothing: number): Load {
  const blended: Record<string, number | undefined> = {};
  for (const name of loadNames) {
    const before = mean[name];
    const now = newest[name];
    blended[name] = before === undefined || now === undefined ? now : before + smoothing * (now - before);
  }
  return blended as unknown as Load;
}
