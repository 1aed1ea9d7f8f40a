// What `apply` has to say about an entry, as data. Nothing is called out of the replica: the actor reads the effects and hands
// them on (services/dssl/handOut.ts). One object is used again and again, so everything in it holds until the next entry.

import { limits } from '../../../shared/base/limits.ts';
import type { Command } from '../../../shared/log/records/command.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import type { Epoch } from './global/epochLine.ts';
import type { DueFrame } from './global/recentRows.ts';

/**
 * What an entry was. `frame`: applied. `repeated`: a frame that was applied before. `gap`: one that follows a frame that is
 * missing. `bad`: no frame, or no command. `command`: carried out; ticks and asks, which move time, too. `ignored`: a command without
 * effect, an entry before the first epoch, or one that came after the replica was superseded.
 */
export type Outcome = 'frame' | 'repeated' | 'gap' | 'bad' | 'command' | 'ignored';

/** Kinds of items, in the first word of each. */
export const ItemKind = {
  /** A packet of the frame, accepted. Words: offset in the payload, length, hi, lo, flags with the row above them. */
  accept: 0,
  /** A fragment that had waited, accepted. Words: index in `lateAccepts`, length, hi, lo, flags. */
  acceptLate: 1,
  /** A flow is this server's from the next packet on. Words: -, -, hi, lo, -. */
  flowStarted: 2,
  /** A flow is this server's from the next packet on, whose server has gone. Words: -, -, hi, lo, -. */
  flowPromoted: 4,
  /** A flow is this server's no longer. Words: index in `endReasons`, -, hi, lo, -. */
  flowEnded: 3,
  /** As `accept` and `acceptLate`: a packet of another server's flow that this one stands behind. */
  behind: 5,
  behindLate: 6,
  /** A flow begins at another server, and this one stands behind it. Words: -, -, hi, lo, the owner's number. */
  behindStarted: 7,
  /** Such a flow has ended. Words: index in `endReasons`, 1 where its owner has gone, hi, lo, the owner's number. */
  behindEnded: 8,
  /** Somebody else stands behind the flow from now on. Words: -, -, hi, lo, -. */
  behindLost: 9,
  /** This server stands behind a flow of another one from now on, and no packet of it is here. Words: -, -, hi, lo, -. */
  behindGiven: 10,
  /** Somebody else stands behind a flow of this server from now on, and no packet of it is here. Words: -, -, hi, lo, -. */
  backedAnew: 11,
} as const;

/** Why a flow ended, in the words of the handler (egress/handlers/handler.ts). */
export const endReasons = ['closed', 'idle', 'evicted', 'moved'] as const;
export const End = { closed: 0, idle: 1, evicted: 2, moved: 3 } as const;

/** What is for this replica's own server, in order. */
export interface Items {
  readonly count: number;
  /** `wordsPerItem` words each; see `ItemKind`. */
  readonly words: Int32Array;
  readonly lateAccepts: readonly LateAccept[];
}
export const wordsPerItem = 6;

/** The bytes of an accepted fragment that had waited. */
export interface LateAccept {
  readonly bytes: Uint8Array;
  readonly timestampMs: number;
  readonly tier1Id: string;
  /** Where it lies in the log: the position of its frame, 0 where that is not remembered, and its row. */
  readonly position: number;
  readonly row: number;
}

/**
 * Asked of a replica whose server keeps state for the flows that it stands behind (services/dssl/flowState/): items about them come out as well.
 * Nothing that is shared depends on it.
 */
export interface Behind {
  /** Their packets, too, and not only starts and ends. */
  readonly packets: boolean;
  /** Position up to which the server has the state of such a flow; what is due behind that it is to be given when the owner dies. Undefined: nothing is. */
  stateAt(hi: number, lo: number): number | undefined;
}

/** The verdict on a row that had waited. */
export interface LateVerdict {
  readonly tier1Id: string;
  readonly number: number;
  readonly row: number;
  readonly verdict: number;
  readonly owner: number;
}

/** The sum over a slice as it was before the entry at `position`. */
export interface SliceDigest {
  readonly slice: number;
  readonly position: number;
  readonly digest: number;
}

/** An epoch has begun, with the state of this life (undefined: with an empty one). */
export interface BegunEpoch extends Epoch {
  readonly donor: Life | undefined;
}

/** A server has been removed, and this replica's server is to hand out what that one had not handled. */
export interface Heritage {
  readonly life: Life;
  readonly number: number;
  /** How far it had handled the log, as far as it is known; 0 when it is not. */
  readonly handled: number;
  /** Of its removal. */
  readonly position: number;
  readonly mark: number;
  readonly frames: readonly DueFrame[];
  readonly packets: number;
  /** Everything behind `handled` is remembered here. */
  readonly isWhole: boolean;
  /** All rows behind this position are. */
  readonly since: number;
  /** It is this server's own, which was kept from it (failover/lease.ts): nobody else has had it. */
  readonly isOwn?: boolean;
}

export interface Effects {
  readonly outcome: Outcome;
  /** The frame, where the outcome is `frame`, `repeated` or `gap`. */
  readonly frame: Frame;
  /** By row of an applied frame: the verdict (verdict.ts), `noPacket` or `waiting`. */
  readonly verdicts: Uint8Array;
  /**
   * By row of an applied frame: server number of the flow's owner, `noServer` where nobody has it. The same on every replica. So a packet
   * that only its owner can know (Fig. 6, no start) has none, and neither has one of a slice that is missing here.
   */
  readonly owners: Uint16Array;
  readonly items: Items;
  readonly late: readonly LateVerdict[];
  /** The newest frame's packet time: when flows start and end. */
  readonly timestampMs: number;
  readonly command: Command | undefined;
  readonly viewChanged: boolean;
  /** Where rows are remembered (recentRows.ts). */
  readonly heritage: Heritage | undefined;
  readonly epochBegun: BegunEpoch | undefined;
  readonly digests: readonly SliceDigest[];
}

/** Sees every verdict, for those who check that exactly one replica accepts. Costs time; absent in production. */
export interface DecisionAudit {
  /** Verdicts of all rows of a frame; valid during the call. `waiting` and `noPacket` are not final. */
  onFrame(frame: Frame, verdicts: Uint8Array): void;
  /** The verdict on a packet that had to wait. */
  onLate(tier1Id: string, number: number, row: number, verdict: number): void;
}

export class EffectsBuffer implements Effects {
  outcome: Outcome = 'ignored';
  readonly frame = new Frame();
  readonly verdicts = new Uint8Array(limits.frameRows);
  readonly owners = new Uint16Array(limits.frameRows);
  readonly items = new ItemBuffer();
  late: LateVerdict[] = [];
  timestampMs = 0;
  command: Command | undefined;
  viewChanged = false;
  heritage: Heritage | undefined;
  epochBegun: BegunEpoch | undefined;
  digests: SliceDigest[] = [];

  /** Nothing has happened. */
  clear(): void {
    this.outcome = 'ignored';
    this.items.clear();
    if (this.late.length > 0) this.late = [];
    this.command = undefined;
    this.viewChanged = false;
    this.heritage = undefined;
    this.epochBegun = undefined;
    if (this.digests.length > 0) this.digests = [];
  }
}

export class ItemBuffer implements Items {
  count = 0;
  words = new Int32Array(16 * wordsPerItem);
  lateAccepts: LateAccept[] = [];
  /** Undefined where nothing is wanted about flows of others. */
  behind: Behind | undefined;

  clear(): void {
    this.count = 0;
    if (this.lateAccepts.length > 0) this.lateAccepts = [];
  }

  accept(offset: number, length: number, hi: number, lo: number, flags: number, row: number): void {
    this.#add(ItemKind.accept, offset, length, hi, lo, flags | (row << 16));
  }

  acceptLate(late: LateAccept, hi: number, lo: number, flags: number): void {
    this.#add(ItemKind.acceptLate, this.lateAccepts.length, late.bytes.length, hi, lo, flags);
    this.lateAccepts.push(late);
  }

  behindPacket(offset: number, length: number, hi: number, lo: number, flags: number, row: number): void {
    this.#add(ItemKind.behind, offset, length, hi, lo, flags | (row << 16));
  }

  behindLate(late: LateAccept, hi: number, lo: number, flags: number): void {
    this.#add(ItemKind.behindLate, this.lateAccepts.length, late.bytes.length, hi, lo, flags);
    this.lateAccepts.push(late);
  }

  behindStarted(hi: number, lo: number, owner: number): void {
    this.#add(ItemKind.behindStarted, 0, 0, hi, lo, owner);
  }

  behindEnded(hi: number, lo: number, reason: number, owner: number, isOwnerGone: boolean): void {
    this.#add(ItemKind.behindEnded, reason, isOwnerGone ? 1 : 0, hi, lo, owner);
  }

  /** `kind`: behindLost, behindGiven or backedAnew. */
  changed(kind: number, hi: number, lo: number): void {
    this.#add(kind, 0, 0, hi, lo, 0);
  }

  flowStarted(hi: number, lo: number): void {
    this.#add(ItemKind.flowStarted, 0, 0, hi, lo, 0);
  }

  flowPromoted(hi: number, lo: number): void {
    this.#add(ItemKind.flowPromoted, 0, 0, hi, lo, 0);
  }

  /** `reason`: see `End`. */
  flowEnded(hi: number, lo: number, reason: number): void {
    this.#add(ItemKind.flowEnded, reason, 0, hi, lo, 0);
  }

  #add(kind: number, first: number, length: number, hi: number, lo: number, flags: number): void {
    let at = this.count * wordsPerItem;
    if (at === this.words.length) this.#grow();
    const { words } = this;
    words[at++] = kind;
    words[at++] = first;
    words[at++] = length;
    words[at++] = hi;
    words[at++] = lo;
    words[at] = flags;
    this.count++;
  }

  #grow(): void {
    const words = new Int32Array(2 * this.words.length);
    words.set(this.words);
    this.words = words;
  }
}
