// Why nobody got the packets of which no receipt came. Pure: counts in, counts out; to be asked when all is settled.
//
// Who knows exactly is asked first, who only gives evidence last:
//
//   1. actors:     refused, with a cause; packets in mid-flow of a flow that no server has (both from the ledger)
//   2. tier 1:     dropped there, by cause; sent to it and never taken out of a frame, or sent to one that is gone: lost
//   3. servers:    gone, or left with flows that had not ended, or forgot flows for want of room or their silence
//   4. evidence:   entries of the log that actors passed over: skipped; receipts missing here, a connection that broke: lost
//   5. nothing:    unexplained, which is a defect of the cluster or of whoever drives it
//
// Evidence explains no more packets than it can stand for: an entry has at most `limits.frameRows` of them.

import { limits } from '../../shared/base/limits.ts';
import { receiptVerdicts } from '../../shared/messages/receipt.ts';
import type { Ledger } from './ledger.ts';
import type { Servers } from './servers.ts';
import type { Tier1s } from './tier1s.ts';

export interface Accounts {
  /** Packets that nobody got, by cause. */
  readonly nobody: Record<string, number>;
  readonly lost: number;
}

export interface Evidence {
  readonly ledger: Ledger;
  readonly servers: Servers;
  readonly tier1s: Tier1s;
  /** This process's own connection broke during the run, so that packets or receipts may be missing. */
  readonly disconnected: boolean;
  readonly nowMs: number;
}

export function accountFor({ ledger, servers, tier1s, disconnected, nowMs }: Evidence): Accounts {
  const nobody: Record<string, number> = {};
  let lost = 0;
  const add = (cause: string, packets: number) => {
    if (packets > 0) nobody[cause] = (nobody[cause] ?? 0) + packets;
  };
  for (const [verdict, packets] of ledger.refused.entries()) add(receiptVerdicts[verdict], packets);
  add('midFlow', ledger.midFlow);
  add('expired', ledger.expired);

  const pool = new Pool(ledger.unknown);
  for (const { number, state, sent, mine, shared } of tier1s.all) {
    for (const [cause, packets] of Object.entries(mine?.dropped ?? {})) add(camelCase(cause), pool.of(number, packets));
    for (const [cause, packets] of Object.entries(shared)) add(camelCase(cause), pool.of(number, packets));
    lost += pool.of(number, state === 'silent' ? Number.POSITIVE_INFINITY : sent - (mine?.received ?? 0));
  }

  let someoneIsGone = false;
  for (let server = 1; server < servers.all.length; server++) {
    const record = servers.all[server];
    const flows = ledger.missingFlows.get(server) ?? 0;
    if (record === undefined) continue;
    if (servers.isGone(server, nowMs)) {
      someoneIsGone = true;
      add('serverGone', pool.takeAt(server, Number.POSITIVE_INFINITY));
      continue;
    }
    if (flows === 0) continue;
    // Of the flows with packets missing, those that the server says it gave up explain their share.
    const packets = pool.at(server);
    const shareOf = (gaveUp: number) => Math.floor(packets * Math.min(1, gaveUp / flows));
    if (record.hasLeft) add('serverLeft', pool.takeAt(server, shareOf(record.flowsNow)));
    else {
      add('evicted', pool.takeAt(server, shareOf(record.evicted)));
      add('expired', pool.takeAt(server, shareOf(record.expired)));
    }
  }
  // New flows are placed at a server that died as long as the group takes it for a member.
  if (someoneIsGone) add('serverGone', pool.takeAt(0, Number.POSITIVE_INFINITY));

  let capacity = disconnected ? Number.POSITIVE_INFINITY : ledger.late;
  for (const record of servers.all) {
    if (record === undefined) continue;
    capacity += record.lostReceipts * limits.receiptRows;
    // New flows would have been placed at it too.
    const skipped = record.skippedEntries * limits.frameRows;
    const own = pool.takeAt(record.number, skipped);
    add('skipped', own + pool.takeAt(0, skipped - own));
  }
  lost += pool.any(capacity);
  add('unexplained', pool.left);
  return { nobody, lost };
}

/** Packets without a verdict, by tier 1 and server; each is taken out once. */
class Pool {
  left = 0;
  readonly #counts: { readonly tier1: number; readonly server: number; packets: number }[] = [];

  constructor(unknown: ReadonlyMap<number, ReadonlyMap<number, number>>) {
    for (const [tier1, servers] of unknown) {
      for (const [server, packets] of servers) {
        this.#counts.push({ tier1, server, packets });
        this.left += packets;
      }
    }
    // Flows that nobody has come first: their packets are the likeliest to have got lost on the way.
    this.#counts.sort((a, b) => a.server - b.server);
  }

  /** Takes at most so many of those that went through a tier 1. */
  of(tier1: number, most: number): number {
    return this.#take((count) => count.tier1 === tier1, most);
  }

  /** Packets of a server's flows. */
  at(server: number): number {
    return this.#counts.reduce((sum, count) => (count.server === server ? sum + count.packets : sum), 0);
  }

  takeAt(server: number, most: number): number {
    return this.#take((count) => count.server === server, most);
  }

  any(most: number): number {
    return this.#take(() => true, most);
  }

  #take(fits: (count: { readonly tier1: number; readonly server: number }) => boolean, most: number): number {
    let taken = 0;
    for (const count of this.#counts) {
      if (!fits(count)) continue;
      const packets = Math.min(count.packets, most - taken);
      if (packets <= 0) continue;
      count.packets -= packets;
      taken += packets;
    }
    this.left -= taken;
    return taken;
  }
}

function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
