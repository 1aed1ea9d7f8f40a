// Records of `flow-stats` where what is counted of a flow outlives its server.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FlowRecord } from '../../../../../services/dssl/egress/handlers/flowStats.ts';
import { loadHandler } from '../../../../../services/dssl/egress/handlers/load.ts';
import { LocalEgress } from '../../../../../services/dssl/egress/local.ts';
import { buildPacket } from '../../../../../shared/packet/encode/build.ts';

const log = { info() {}, warn() {}, error() {} };
const packet = buildPacket({ source: '10.0.0.1', target: '192.0.2.1', udp: { sourcePort: 7, targetPort: 8 } });

async function serve(server: string, out: string): Promise<LocalEgress> {
  const context = { server, group: 'g', log, tunnels: false as const, options: { out } };
  const egress = new LocalEgress({
    handler: await loadHandler('flow-stats', '.', context),
    makeShadow: () => loadHandler('flow-stats', '.', { ...context, isShadow: true }),
    log,
    nowMs: () => 0,
  });
  await egress.start();
  return egress;
}

test('flow-stats - a record goes from server to server, with what has been counted, and is written where the flow ends', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const out = join(folder, 'flows.jsonl');
  const one = await serve('s1', out);
  const other = await serve('s2', out);
  const give = (
    egress: Pick<LocalEgress, 'begin' | 'add' | 'end'>,
    position: number,
    lo: number,
    isRepeat = false,
    isInState = false,
  ) => {
    egress.begin(packet, 1_000 + position, 't1', isRepeat, { epoch: 1, position });
    egress.add(0, packet.length, 1, lo, 0, 2, isInState);
    egress.end();
  };
  const { kept } = other;
  assert.ok(kept !== undefined && kept.way === 'shadow');
  for (const position of [1, 2, 3]) {
    give(one, position, 5);
    give(kept.shadow as LocalEgress, position, 5);
  }
  const bytes = kept.shadow.saveFlow(1, 5);
  assert.deepEqual(bytes === undefined ? undefined : { ...JSON.parse(Buffer.from(bytes).toString()), server: 's1' }, {
    ...JSON.parse(Buffer.from(one.saveFlow(1, 5) ?? []).toString()),
  });
  kept.shadow.dropFlow(1, 5);
  assert.equal(kept.shadow.saveFlow(1, 5), undefined);
  other.flowStarted(1, 5, 1_004, 'promoted');
  other.loadFlow(1, 5, bytes ?? new Uint8Array(0));
  give(other, 3, 5, true, true);
  give(other, 4, 5, true);
  give(other, 5, 5);
  other.flowEnded(1, 5, 'idle', 2_000);
  // One of which nobody had anything.
  other.flowStarted(1, 6, 1_004, 'promoted');
  give(other, 6, 6);
  const before = other.handled(7);
  other.flowEnded(1, 6, 'idle', 2_000);
  assert.ok(other.handled(8) < 8 && before <= 7, 'an end is done when its record is written');
  one.dropFlow(1, 5);
  await one.stop();
  await other.stop();
  other.handled(9);
  assert.equal(other.handled(10), 10);
  const records = readFileSync(out, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as FlowRecord);
  assert.deepEqual(
    records.map((record) => [record.server, record.packets, record.firstMs, record.lastMs, record.isPartial]),
    [
      ['s2', 5, 1_001, 1_005, undefined],
      ['s2', 1, 1_006, 1_006, true],
    ],
  );
  assert.match(records[0].began ?? '', /^00000001-0+1-0002$/);
  assert.deepEqual([other.report().packets, other.report().packetsRepeated], [3, 1]);
});

test('flow-stats - without protected flows there is no shadow', async () => {
  const context = { server: 's1', group: 'g', log, tunnels: false as const, options: {} };
  const egress = new LocalEgress({ handler: await loadHandler('flow-stats', '.', context), log, nowMs: () => 0 });
  await egress.start();
  assert.equal(egress.kept, undefined);
});
