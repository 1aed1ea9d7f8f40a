// Captures put in order of time: every packet once, those of one time in the order in which they were read, and a bound on memory.

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { CaptureError } from '../../../shared/capture/reader.ts';
import { readSorted } from '../../../shared/capture/sorted.ts';
import { writeTiny } from '../../support/tinyCapture.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorted-'));
test.after(() => rmSync(folder, { recursive: true }));

/** Files of packets with these times; a packet's bytes are its number among all. */
async function filesOf(times: readonly (readonly number[])[], length = 4): Promise<string[]> {
  let number = 0;
  return Promise.all(
    times.map(async (timesMs, index) => {
      const packets = timesMs.map((timeMs) => {
        const bytes = new Uint8Array(length);
        new DataView(bytes.buffer).setUint32(0, number++);
        return { bytes, originalLength: length, timeMs, linkType: 1 };
      });
      const path = join(folder, `${index}.pcap`);
      writeFileSync(path, await writeTiny(packets));
      return path;
    }),
  );
}

async function sorted(files: readonly string[], mostBytes?: number): Promise<[time: number, number: number][]> {
  const found: [number, number][] = [];
  for await (const { buffer, count, offsets, lengths, timesMs } of readSorted(files, mostBytes)) {
    for (let row = 0; row < count; row++) {
      assert.ok(offsets[row] + lengths[row] <= buffer.length);
      found.push([timesMs[row], new DataView(buffer.buffer).getUint32(offsets[row])]);
    }
  }
  return found;
}

/** Of the captures here, those that this process has open (proc(5)). */
function filesOpen(): string[] {
  const open = readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      return [readlinkSync(`/proc/self/fd/${descriptor}`)];
    } catch {
      // The one that this list itself was read by is gone.
      return [];
    }
  });
  return open.filter((path) => path.startsWith(folder));
}

test('sorted captures - every packet comes once, in order of time, and of reading where times are alike', async () => {
  const time = fc.integer({ min: 1_700_000_000_000, max: 1_700_000_000_020 });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(time, { maxLength: 20 }), { minLength: 1, maxLength: 3 }), async (times) => {
      const all = times.flat().map((timeMs, number) => [timeMs, number]);
      const expected = all.sort(([one, first], [other, second]) => one - other || first - second);
      assert.deepEqual(await sorted(await filesOf(times)), expected);
    }),
    { numRuns: 40 },
  );
});

test('sorted captures - packets that fill more than a window and more than a block are all there', async () => {
  const times = Array.from({ length: 300 }, (_, index) => 1_700_000_000_000 - index);
  const found = await sorted(await filesOf([times], 60_000));
  assert.deepEqual(
    found.map(([, number]) => number),
    times.map((_, index) => 299 - index),
  );
});

test('sorted captures - more than may be held is refused, and so is what is no capture', async () => {
  const files = await filesOf([[1_700_000_000_000, 1_700_000_000_000]]);
  await assert.rejects(
    sorted(files, 100),
    (error) => error instanceof CaptureError && /at most 100 bytes/.test(error.message),
  );
  assert.deepEqual(filesOpen(), [], 'a file that is left open ends the process at some later time');
  await assert.rejects(sorted([join(folder, 'none.pcap')]), CaptureError);
});
