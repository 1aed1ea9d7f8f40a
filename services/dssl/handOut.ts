// Hands what an entry of the log means for this server to the server: accepted packets, and flows that begin or end.

import type { Egress, LogPlace } from './egress/egress.ts';
import type { HeldFlows } from './failover/heldFlows.ts';
import type { FlowStates } from './flowState/flowStates.ts';
import {
  type DecisionAudit,
  type Effects,
  endReasons,
  ItemKind,
  type LateAccept,
  wordsPerItem,
} from './replica/effects.ts';

/** How an entry is handed out. */
export interface Handing {
  /** The server has had the packets before, and gets only what has become of its flows. */
  readonly isAgain: boolean;
  /** Flows that it has heard of already. */
  readonly held?: HeldFlows;
  /** Where it keeps state of flows that outlives it: hears of those that it stands behind. */
  readonly states?: FlowStates | undefined;
  readonly place: LogPlace;
}

const plainly: Handing = { isAgain: false, place: { epoch: 0, position: 0 } };

/** Walks the items in order. `audit` sees the verdicts, for those who check them. */
export function handOut(effects: Effects, egress: Egress, audit?: DecisionAudit, handing: Handing = plainly): void {
  if (effects.outcome === 'frame') handOutFrame(effects, egress, handing);
  else if (effects.items.count > 0) handOutEnds(effects, egress, handing);
  if (audit === undefined) return;
  for (const { tier1Id, number, row, verdict } of effects.late) audit.onLate(tier1Id, number, row, verdict);
  if (effects.outcome === 'frame') audit.onFrame(effects.frame, effects.verdicts);
}

/** An applied frame opens a run also when no packet of it is accepted, so that the egress knows which tier 1s live. */
function handOutFrame(
  { frame, items, timestampMs }: Effects,
  egress: Egress,
  { isAgain, held, states, place }: Handing,
): void {
  const { words, count, lateAccepts } = items;
  const { payload, tier1Id } = frame;
  const notesChanges = states?.notesChanges === true;
  egress.begin(payload, timestampMs, tier1Id, false, place);
  states?.begin(payload, timestampMs, tier1Id, place);
  for (let item = 0, at = 0; item < count; item++, at += wordsPerItem) {
    const hi = words[at + 3];
    const lo = words[at + 4];
    switch (words[at]) {
      case ItemKind.accept:
        if (!isAgain) egress.add(words[at + 1], words[at + 2], hi, lo, words[at + 5] & 0xffff, words[at + 5] >>> 16);
        if (notesChanges) states?.changed(hi, lo);
        break;
      case ItemKind.flowStarted:
        held?.begins(hi, lo, egress, timestampMs);
        egress.flowStarted(hi, lo, timestampMs);
        break;
      case ItemKind.flowPromoted:
        handOutPromoted(hi, lo, timestampMs, egress, held, states);
        break;
      case ItemKind.acceptLate:
      case ItemKind.behindLate:
        handOutLate(lateAccepts[words[at + 1]], words, at, egress, { isAgain, states, place });
        if (notesChanges && words[at] === ItemKind.acceptLate) states?.changed(hi, lo);
        egress.begin(payload, timestampMs, tier1Id, false, place);
        states?.begin(payload, timestampMs, tier1Id, place);
        break;
      case ItemKind.behind:
        states?.packet(words[at + 1], words[at + 2], hi, lo, words[at + 5] & 0xffff, words[at + 5] >>> 16);
        break;
      default:
        handOutOther(words, at, timestampMs, egress, states);
    }
  }
  states?.end();
  egress.end();
}

/** The bytes of a packet that had waited lie elsewhere, so it is a run of its own. */
function handOutLate(
  late: LateAccept,
  words: Int32Array,
  at: number,
  egress: Egress,
  { isAgain, states, place }: Handing,
): void {
  const { bytes, timestampMs, tier1Id, position, row } = late;
  const own = { epoch: place.epoch, position };
  const [kind, , length, hi, lo, flags] = words.subarray(at, at + wordsPerItem);
  egress.end();
  if (kind === ItemKind.behindLate) {
    states?.begin(bytes, timestampMs, tier1Id, own);
    states?.packet(0, length, hi, lo, flags, row);
  } else if (!isAgain) {
    egress.begin(bytes, timestampMs, tier1Id, false, own);
    egress.add(0, length, hi, lo, flags, row);
    egress.end();
  }
}

/** Flows that end, and what becomes of flows that the server stands behind. */
function handOutOther(
  words: Int32Array,
  at: number,
  timestampMs: number,
  egress: Egress,
  states: FlowStates | undefined,
): void {
  const kind = words[at];
  const first = words[at + 1];
  const hi = words[at + 3];
  const lo = words[at + 4];
  const owner = words[at + 5];
  if (kind === ItemKind.flowEnded) {
    egress.flowEnded(hi, lo, endReasons[first], timestampMs);
    states?.ended(hi, lo);
  } else if (kind === ItemKind.behindStarted) states?.started(hi, lo, timestampMs, owner);
  else if (kind === ItemKind.behindEnded) states?.endedBehind(hi, lo, first, timestampMs, owner, words[at + 2] === 1);
  else if (kind === ItemKind.behindLost) states?.lost(hi, lo);
  else if (kind === ItemKind.behindGiven) states?.given(hi, lo);
  else if (kind === ItemKind.backedAnew) states?.changed(hi, lo);
}

function handOutPromoted(
  hi: number,
  lo: number,
  timestampMs: number,
  egress: Egress,
  held: HeldFlows | undefined,
  states: FlowStates | undefined,
): void {
  if (held?.goesOn(hi, lo) === true) return;
  egress.flowStarted(hi, lo, timestampMs, 'promoted');
  states?.promote(hi, lo);
}

/** Without a frame flows can only end, because they were idle for too long, or go on at another server. */
function handOutEnds({ items, timestampMs }: Effects, egress: Egress, { held, states }: Handing): void {
  const { words, count } = items;
  for (let item = 0, at = 0; item < count; item++, at += wordsPerItem) {
    if (words[at] === ItemKind.flowPromoted) {
      handOutPromoted(words[at + 3], words[at + 4], timestampMs, egress, held, states);
    } else handOutOther(words, at, timestampMs, egress, states);
  }
}
