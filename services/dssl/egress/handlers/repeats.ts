// For handlers whose effects must not happen twice: which repeats have had theirs.
//
// After a server was lost its heir gets the last packets again, marked: the lost one may have dealt with them, and only what it has left behind can tell. So
// an author writes the place of a packet (PacketBatch.place) beside each effect, wherever effects go: a database, a file, a message. The heir looks the flow's
// last place up there, or takes it from the state that it loads, and drops repeats up to it. A flow's packets come in the order of their places,
// so one place a flow is enough. (Later fragments that had waited for their first one are the exception: they count as done with what came after them.)
//
//   const repeats = new RepeatFilter();
//   onFlowStart(flow, origin) { if (origin === 'promoted') repeats.know(flow.hi, flow.lo, lastPlaceInMyDatabase(flow.flowId)); }
//   onPackets(batch) { for (...) { if (repeats.isDone(batch, i)) continue; effect(batch, i, batch.place(i)); } }
//   onFlowEnd(flow) { repeats.forget(flow.hi, flow.lo); }

import { FlowMap } from './flowMap.ts';
import type { PacketBatch } from './handler.ts';

export class RepeatFilter {
  readonly #last = new FlowMap<string>();

  /** The effects of the flow's packets up to this place have happened; '' and undefined say nothing. */
  know(hi: number, lo: number, place: string | undefined): void {
    if (place === undefined || place === '') return;
    const known = this.#last.get(hi, lo);
    if (known === undefined || place > known) this.#last.set(hi, lo, place);
  }

  /** Packet i is a repeat whose effect has happened. */
  isDone(batch: PacketBatch, i: number): boolean {
    if (!batch.isRepeat) return false;
    const last = this.#last.get(batch.flowHi[i]!, batch.flowLo[i]!);
    const place = batch.place(i);
    return last !== undefined && place !== '' && place <= last;
  }

  forget(hi: number, lo: number): void {
    this.#last.delete(hi, lo);
  }
}
