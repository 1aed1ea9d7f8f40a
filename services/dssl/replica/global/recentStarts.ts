// Fig. 6: the flows that began in the last few seconds, and who got them.
//
// A start may be sent twice: the client heard nothing and repeats its SYN. If the view changed in between, the second copy may
// be placed at another member than the first, and two servers would hold one connection, since by Fig. 6 only its owner knows a
// flow. So every replica remembers for a moment where each start went and who stands behind that one, and a repeated one goes there again. The time runs from
// the first start: a tuple that is used again later is a new flow, however often its start is repeated. Once the flow has ended, its tuple
// may be used again at once, so a start is forgotten with the end of its flow, which every replica sees.
//
// This is global state: it depends on rows and views and on no slice of the flow table.

import { limits } from '../../../../shared/base/limits.ts';
import { hasEnded, isRestart, nextState } from '../flowLife.ts';
import { backupOf, FlowState, isInfo, noBackup, ownerOf, packInfo, stateOf } from '../flows/entry.ts';
import { msPerTick } from '../ticks.ts';
import { FifoTable } from './fifoTable.ts';

export class RecentStarts {
  readonly table: FifoTable;
  /** Who stands behind the owner of the start that `find` found last. */
  foundBackup = noBackup;

  /** Remembers `capacity` starts, the oldest forgotten first, for `windowMs` of the line's time. */
  constructor(capacity: number = limits.recentStarts, windowMs: number = limits.recentStartMs) {
    this.table = new FifoTable(capacity, Math.floor(windowMs / msPerTick), 1);
  }

  /** Server number that got this start (int32 hash halves) before, or -1 when none is remembered, or when it is that of another flow. */
  find(hi: number, lo: number, flags: number): number {
    const position = this.table.find(hi, lo);
    if (position < 0) return -1;
    const value = this.table.value(position, 0);
    this.foundBackup = backupOf(value);
    return isRestart(stateOf(value), flags) ? -1 : ownerOf(value);
  }

  /** See FifoTable. */
  restore(next: number, records: Int32Array, tick: number): boolean {
    for (let at = 4; at < records.length; at += 5) if (!isValue(records[at])) return false;
    return this.table.restore(next, records, tick);
  }

  record(hi: number, lo: number, tick: number, owner: number, backup: number): void {
    this.table.add(hi, lo, tick, recordOf(owner, backup, FlowState.established));
  }

  /** A packet of this flow that ends it, on one side or on both. */
  end(hi: number, lo: number, flags: number): void {
    const position = this.table.find(hi, lo);
    if (position < 0) return;
    const value = this.table.value(position, 0);
    const state = nextState(stateOf(value), flags);
    if (hasEnded(state)) this.table.remove(hi, lo);
    else this.table.setValue(position, 0, recordOf(ownerOf(value), backupOf(value), state));
  }
}

/** Owner, backup, state and nothing else of an entry of a flow table (flows/entry.ts). */
function recordOf(owner: number, backup: number, state: FlowState): number {
  return packInfo(owner, backup, state, 0);
}

function isValue(value: number): boolean {
  return (
    isInfo(value) && value === recordOf(ownerOf(value), backupOf(value), stateOf(value)) && !hasEnded(stateOf(value))
  );
}
