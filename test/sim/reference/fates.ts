// Where the packets of one group ended up, written down in the ledger as the reference applies the group's log: in which entry, whose they are
// and why. What a log loses, nobody will read any more.

import type { Effects } from '../../../services/dssl/replica/effects.ts';
import { noServer } from '../../../services/dssl/replica/flows/entry.ts';
import { noPacket, waiting } from '../../../services/dssl/replica/verdict.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import type { View } from '../../../shared/membership/view.ts';
import { readStamp } from '../../../shared/packet/stamp.ts';
import type { Fate, Ledger } from '../ledger.ts';
import type { SimEntry } from '../log.ts';
import type { Readers } from './judgement.ts';

/** The line that an entry is on: its epoch, its number among the group's lines, and the view in force. */
export interface LinePlace {
  readonly epoch: string;
  readonly line: number;
  readonly view: View;
}

export class Fates {
  readonly #group: string;
  readonly #ledger: Ledger;
  readonly #frame = new Frame();
  readonly #stamp = { run: 0, id: 0, flow: 0 };
  /** Rows whose packets wait for their first fragment. */
  readonly #waiting = new Map<string, Fate>();
  /** Numbers of members, as lives of the ledger, for one view. */
  #owners: number[] = [];
  #ownersOf: View | undefined;

  constructor(group: string, ledger: Ledger) {
    this.#group = group;
    this.#ledger = ledger;
  }

  /** A line begins: nothing of it waits. */
  clear(): void {
    this.#waiting.clear();
  }

  /** What the log held behind this position, on this line and later ones, is gone. */
  lose(last: number, sinceLine: number): void {
    for (const { fate } of this.#ledger.packets) {
      if (fate !== undefined && fate.group === this.#group && fate.line >= sinceLine && fate.position > last)
        fate.isLost = true;
    }
  }

  /** Notes where each packet of a frame is, and whose; those that are nobody's are returned by their rows. */
  note({ position, atMs }: SimEntry, effects: Effects, readers: Readers, place: LinePlace): (Fate | undefined)[] {
    const { frame, verdicts, owners } = effects;
    const { appliedBy, passedOverBy } = readers;
    const nobodys: (Fate | undefined)[] = [];
    const group = this.#group;
    const { epoch, line } = place;
    const { payload } = frame;
    let offset = 0;
    for (let row = 0; row < frame.count; row++) {
      const end = offset + frame.length(row);
      const hasPacket = verdicts[row] !== noPacket && readStamp(payload, offset, end, this.#stamp);
      offset = end;
      if (!hasPacket) continue;
      const { id } = this.#stamp;
      let { fate } = this.#ledger.packets[id];
      if (fate === undefined || fate.isLost || fate.position !== position || fate.group !== group) {
        const owner = this.#lifeOf(owners[row], place.view);
        const verdict = verdicts[row];
        const where = { group, epoch, position, dueAt: position, atMs, line };
        fate = { ...where, verdict, owner, appliedBy, passedOverBy, isLost: false };
        this.#ledger.decide(id, fate);
      }
      if (owners[row] === noServer) nobodys[row] = fate;
      if (verdicts[row] === waiting) this.#waiting.set(`${frame.tier1Id} ${frame.number} ${row}`, fate);
    }
    return nobodys;
  }

  /** Time has come for rows of earlier frames, whatever the entry is: they are decided with it. */
  noteLate({ late }: Effects, dueAt: number, readers: Readers, { view }: LinePlace): (Fate | undefined)[] {
    return late.map(({ tier1Id, number, row, verdict, owner }) => {
      const fate = this.#waiting.get(`${tier1Id} ${number} ${row}`);
      if (fate === undefined) return undefined;
      this.#waiting.delete(`${tier1Id} ${number} ${row}`);
      Object.assign(fate, { verdict, owner: this.#lifeOf(owner, view), dueAt, ...readers });
      return owner === noServer ? fate : undefined;
    });
  }

  /** There is no line at this entry, or it follows what the line does not have. */
  notePassedOver({ data, atMs }: SimEntry): void {
    const frame = this.#frame;
    if (frame.decode(data) !== 'none') return;
    for (let row = 0, offset = 0; row < frame.count; row++) {
      const end = offset + frame.length(row);
      if (readStamp(frame.payload, offset, end, this.#stamp)) this.#ledger.packets[this.#stamp.id].passedOverMs = atMs;
      offset = end;
    }
  }

  #lifeOf(number: number, view: View): number {
    if (this.#ownersOf !== view) {
      this.#ownersOf = view;
      this.#owners = [];
      for (const { number: each, server, incarnation } of view.members)
        this.#owners[each] = this.#ledger.lifeOf(server, incarnation);
    }
    return this.#owners[number] ?? -1;
  }
}
