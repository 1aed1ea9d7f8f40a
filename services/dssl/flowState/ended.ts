// Flows of others that have ended, with what this server had of them, until it is known that their owner was done with the end.
//
// The owner writes a record, or whatever it does at the end of a flow. When it dies a moment before, nobody else would: the flow is in no table any more. So
// whoever stood behind it keeps its state until the owner has said that it has handled the log up to there, and finishes it itself when the
// owner is removed without having said so.

import { limits } from '../../../shared/base/limits.ts';
import { FlowMap } from '../egress/handlers/flowMap.ts';

export interface EndedFlow {
  readonly hi: number;
  readonly lo: number;
  readonly owner: number;
  /** Where it ended, why, and when by its packets. */
  readonly position: number;
  readonly reason: number;
  readonly timestampMs: number;
}

interface Kept<T> extends EndedFlow {
  readonly kept: T;
  /** Its owner has been removed before it was done with it. */
  isDue: boolean;
  isTaken: boolean;
}

export class EndedFlows<T> {
  /** By owner, in the order they ended. */
  readonly #byOwner = new Map<number, Kept<T>[]>();
  /** The newest one of each hash. */
  readonly #newest = new FlowMap<Kept<T>>();
  #due: Kept<T>[] = [];
  #size = 0;
  /** Not kept because there were too many. */
  overflowed = 0;

  get isDue(): boolean {
    return this.#due.length > 0;
  }

  add(flow: EndedFlow, kept: T): void {
    if (this.#size >= limits.endedFlowStates) {
      this.overflowed++;
      return;
    }
    const added = { ...flow, kept, isDue: false, isTaken: false };
    const flows = this.#byOwner.get(flow.owner);
    if (flows === undefined) this.#byOwner.set(flow.owner, [added]);
    else flows.push(added);
    this.#newest.set(flow.hi, flow.lo, added);
    this.#size++;
  }

  /** The owner is done with everything up to there. */
  handled(owner: number, position: number): void {
    const flows = this.#byOwner.get(owner);
    if (flows === undefined) return;
    let done = 0;
    while (done < flows.length && flows[done].position <= position) this.#forget(flows[done++]);
    if (done === flows.length) this.#byOwner.delete(owner);
    else if (done > 0) this.#byOwner.set(owner, flows.slice(done));
  }

  /** The owner has been removed, and was done with everything up to there. */
  removed(owner: number, position: number): void {
    this.handled(owner, position);
    for (const flow of this.#byOwner.get(owner) ?? []) {
      flow.isDue = true;
      this.#due.push(flow);
    }
    this.#byOwner.delete(owner);
  }

  /** The newest one of this hash. */
  peek(hi: number, lo: number): T | undefined {
    return this.#newest.get(hi, lo)?.kept;
  }

  isDueFlow(hi: number, lo: number): boolean {
    return this.#due.length > 0 && this.#newest.get(hi, lo)?.isDue === true;
  }

  /** Takes out the newest one of this hash, if it is due. */
  take(hi: number, lo: number): T | undefined {
    const flow = this.#newest.get(hi, lo);
    if (flow?.isDue !== true) return undefined;
    flow.isTaken = true;
    this.#forget(flow);
    return flow.kept;
  }

  /** Takes out all that are due. */
  takeAll(): readonly (EndedFlow & { readonly kept: T })[] {
    const due = this.#due.filter(({ isTaken }) => !isTaken);
    this.#due = [];
    for (const flow of due) this.#forget(flow);
    return due;
  }

  clear(): void {
    this.#byOwner.clear();
    this.#newest.clear();
    this.#due = [];
    this.#size = 0;
  }

  #forget(flow: Kept<T>): void {
    this.#size--;
    if (this.#newest.get(flow.hi, flow.lo) === flow) this.#newest.delete(flow.hi, flow.lo);
  }
}
