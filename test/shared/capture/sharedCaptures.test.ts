// Every packet of the public captures, compared with what an independent dissector read from the same file.

import assert from 'node:assert/strict';
import test from 'node:test';
import { eachBatch, readCapture } from '../../../shared/capture/reader.ts';
import { sharedCaptures } from '../../support/sharedCaptures.ts';

test('capture reader - every packet of the public captures has the length, original length and time of the oracle', async (t) => {
  const captures = sharedCaptures(t);
  if (captures === undefined) return;
  assert.ok(captures.length > 0);
  for (const capture of captures) {
    await t.test(capture.name, async () => {
      const oracle = capture.oracle();
      let packets = 0;
      let truncated = 0;
      let bytes = 0;
      const linkTypes = new Set<number>();
      const summary = await eachBatch(readCapture(capture.path), (batch) => {
        for (let i = 0; i < batch.count; i++) {
          const expected = oracle[packets++];
          const where = `packet ${packets}`;
          assert.ok(expected !== undefined, `${where} is not in the oracle`);
          assert.equal(batch.lengths[i], Number(expected.caplen), where);
          assert.equal(batch.originalLengths[i], Number(expected.len), where);
          assert.ok(batch.offsets[i] + batch.lengths[i] <= batch.buffer.length, where);
          // A double holds milliseconds of this century to a quarter of a microsecond.
          const [seconds, nanoseconds] = expected.ts.split('.').map(Number);
          const offMs = batch.timesMs[i] - (seconds * 1000 + nanoseconds / 1e6);
          assert.ok(Math.abs(offMs) < 0.0005, `${where}: time is off by ${offMs} ms`);
          linkTypes.add(batch.linkTypes[i]);
          bytes += batch.lengths[i];
          if (batch.originalLengths[i] > batch.lengths[i]) truncated++;
        }
      });
      assert.equal(packets, Number(capture.manifest.packets));
      assert.equal(packets, oracle.length);
      assert.equal(summary.packets, packets);
      assert.equal(summary.bytes, bytes);
      assert.equal(truncated, Number(capture.manifest.truncated_packets));
      const named = capture.manifest.link_type.split(',').map((text) => Number.parseInt(text, 10));
      for (const linkType of linkTypes) assert.ok(named.includes(linkType), `link type ${linkType}`);
      assert.equal(summary.format.split(' ')[0], capture.manifest.format.split(' ')[0]);
      if (capture.manifest.purpose.startsWith('corrupt file')) assert.match(summary.problem ?? '', /packet 19 at byte/);
      else assert.equal(summary.problem, undefined);
    });
  }
});
