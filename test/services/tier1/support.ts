// What the tests of tier 1 share: mirrors of views as members write them, and what came into a group's log.

import assert from 'node:assert/strict';
import type { Bus, KeyValue } from '../../../shared/bus/bus.ts';
import { viewKey } from '../../../shared/bus/subjects.ts';
import type { LogRetention, LogSettings } from '../../../shared/log/log.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import { encodeMirror, type Mirror } from '../../../shared/membership/mirror.ts';
import { defaultRules, emptyView, type Member, type MemberState } from '../../../shared/membership/view.ts';

export const retention: LogRetention = { ageMs: 10_000, bytes: 64 * 1024 * 1024 };

export const member = (server: string, state: MemberState = 'active', incarnation = 1): Member => ({
  server,
  incarnation,
  number: 0,
  state,
  weight: 100,
  base: 100,
  flows: 0,
});

/** A mirror of a group with these members. */
export function mirrorOf(group: string, position: number, members: readonly Member[], epoch = 1): Mirror {
  const birth = { group, placement: 'rendezvous', seed: 1, rules: defaultRules } as const;
  const view = { ...emptyView(birth), number: position, members };
  return { epoch: { number: epoch, id: `epoch-${epoch}` }, position, view };
}

/** Writes mirrors, each over the one before. */
export class MirrorWriter {
  readonly #store: KeyValue;
  readonly #revisions = new Map<string, number>();

  constructor(store: KeyValue) {
    this.#store = store;
  }

  write(mirror: Mirror): Promise<void> {
    return this.writeBytes(mirror.view.group, encodeMirror(mirror));
  }

  async writeBytes(group: string, bytes: Uint8Array): Promise<void> {
    const key = viewKey(group);
    const known = this.#revisions.get(group);
    const revision =
      known === undefined ? await this.#store.create(key, bytes) : await this.#store.update(key, bytes, known);
    assert.ok(revision !== undefined);
    this.#revisions.set(group, revision);
  }
}

export interface SeenFrame {
  readonly life: string;
  readonly number: number;
  readonly follows: number;
  readonly position: number;
  readonly timestampMs: number;
  readonly packets: readonly Uint8Array[];
}

/** Makes a group's log and reads it. `seen` grows with what comes. */
export async function tapLog(
  bus: Bus,
  cluster: string,
  group: string,
  settings: Partial<LogSettings> = {},
): Promise<SeenFrame[]> {
  const log = await bus.openLog(cluster, group, { retention, storage: 'memory', replicas: 1, ...settings });
  await log.make();
  const seen: SeenFrame[] = [];
  const frame = new Frame();
  const onEntry = ({ position, kind, data }: { position: number; kind: string; data: Uint8Array }) => {
    if (kind !== 'frame') return;
    assert.equal(frame.decode(data), 'none');
    const packets: Uint8Array[] = [];
    for (let row = 0, at = 0; row < frame.count; at += frame.length(row++))
      packets.push(Uint8Array.from(frame.payload.subarray(at, at + frame.length(row))));
    const { tier1Id: life, number, follows, timestampMs } = frame;
    seen.push({ life, number, follows, position, timestampMs, packets });
  };
  log.read({ after: 0 }, { onEntry, onBroken: (reason) => assert.fail(reason) });
  return seen;
}

/** What a replica would apply of these frames: each number of a life once, in order. */
export function applied(seen: readonly SeenFrame[]): readonly SeenFrame[] {
  const lasts = new Map<string, number>();
  return seen.filter(({ life, number, follows }) => {
    const last = lasts.get(life) ?? 0;
    if (follows > last || last >= number) return false;
    lasts.set(life, number);
    return true;
  });
}
