// Hands what an entry of the log means for this server to the server: accepted packets, and flows that begin or end.

import type { Egress } from './egress/egress.ts';
import type { HeldFlows } from './failover/heldFlows.ts';
import { type DecisionAudit, type Effects, endReasons, ItemKind, wordsPerItem } from './replica/effects.ts';

/**
 * Walks the items in order. `audit` sees the verdicts, for those who check them. `isAgain`: the server has had the packets before, and gets only
 * what has become of its flows. `held`: flows that it has heard of already.
 */
export function handOut(
  effects: Effects,
  egress: Egress,
  audit?: DecisionAudit,
  isAgain = false,
  held?: HeldFlows,
): void {
  if (effects.outcome === 'frame') handOutFrame(effects, egress, isAgain, held);
  else if (effects.items.count > 0) handOutMoves(effects, egress, held);
  if (audit === undefined) return;
  for (const { tier1Id, number, row, verdict } of effects.late) audit.onLate(tier1Id, number, row, verdict);
  if (effects.outcome === 'frame') audit.onFrame(effects.frame, effects.verdicts);
}

/** An applied frame opens a run also when no packet of it is accepted, so that the egress knows which tier 1s live. */
function handOutFrame(
  { frame, items, timestampMs }: Effects,
  egress: Egress,
  isAgain: boolean,
  held: HeldFlows | undefined,
): void {
  const { words, count, lateAccepts } = items;
  const { payload, tier1Id } = frame;
  egress.begin(payload, timestampMs, tier1Id);
  for (let item = 0, at = 0; item < count; item++, at += wordsPerItem) {
    const hi = words[at + 3];
    const lo = words[at + 4];
    switch (words[at]) {
      case ItemKind.accept:
        if (!isAgain) egress.add(words[at + 1], words[at + 2], hi, lo, words[at + 5]);
        break;
      case ItemKind.flowStarted:
        held?.begins(hi, lo, egress, timestampMs);
        egress.flowStarted(hi, lo, timestampMs);
        break;
      case ItemKind.flowPromoted:
        if (held?.goesOn(hi, lo) !== true) egress.flowStarted(hi, lo, timestampMs, 'promoted');
        break;
      case ItemKind.flowEnded:
        egress.flowEnded(hi, lo, endReasons[words[at + 1]], timestampMs);
        break;
      case ItemKind.acceptLate: {
        // Its bytes lie elsewhere, so it is a run of its own.
        const late = lateAccepts[words[at + 1]];
        if (isAgain) break;
        egress.end();
        egress.begin(late.bytes, late.timestampMs, late.tier1Id);
        egress.add(0, words[at + 2], hi, lo, words[at + 5]);
        egress.end();
        egress.begin(payload, timestampMs, tier1Id);
        break;
      }
    }
  }
  egress.end();
}

/** Without a frame flows end, because they were idle for too long, and go on here, because their server has gone. */
function handOutMoves({ items, timestampMs }: Effects, egress: Egress, held: HeldFlows | undefined): void {
  for (let item = 0, at = 0; item < items.count; item++, at += wordsPerItem) {
    const [kind, reason, , hi, lo] = items.words.subarray(at, at + wordsPerItem);
    if (kind === ItemKind.flowEnded) egress.flowEnded(hi, lo, endReasons[reason], timestampMs);
    else if (held?.goesOn(hi, lo) !== true) egress.flowStarted(hi, lo, timestampMs, 'promoted');
  }
}
