// The mark of an entry: fixed values, so that two versions of the program agree, and what it must notice.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { markOf } from '../../../shared/log/mark.ts';

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => (7 * at + 3) & 0xff);
const entry = { timeMs: 1_764_512_345_678, timeNs: 987_654, kind: 'frame', data: bytes(1_000) } as const;

describe('mark', () => {
  it('mark - golden values', () => {
    const marks = [
      markOf(entry),
      markOf({ ...entry, kind: 'command' }),
      markOf({ ...entry, data: bytes(0) }),
      markOf({ ...entry, data: bytes(5) }),
      markOf({ ...entry, data: bytes(100) }),
      markOf({ timeMs: 0, timeNs: 0, kind: 'frame', data: bytes(1) }),
    ];
    assert.deepEqual(marks, [983247879, 29455601, 3752385635, 3094224143, 4052077257, 4020420306]);
  });

  it('mark - the address of the data does not matter, nor what kind of array it is', () => {
    const shifted = new Uint8Array(1_003).subarray(3);
    shifted.set(entry.data);
    assert.equal(markOf({ ...entry, data: shifted }), markOf(entry));
    assert.equal(markOf({ ...entry, data: Buffer.from(entry.data) }), markOf(entry));
  });

  it('mark - stamp, kind, length and every byte near either end count, and none between them', () => {
    const mark = markOf(entry);
    assert.notEqual(markOf({ ...entry, timeMs: entry.timeMs + 1 }), mark);
    assert.notEqual(markOf({ ...entry, timeMs: entry.timeMs + 2 ** 32 }), mark);
    assert.notEqual(markOf({ ...entry, timeNs: entry.timeNs - 1 }), mark);
    assert.notEqual(markOf({ ...entry, kind: 'command' }), mark);
    for (const length of [1, 5, 63, 64, 65, 100, 127, 128, 129, 1_000]) {
      const known = markOf({ ...entry, data: bytes(length) });
      assert.notEqual(markOf({ ...entry, data: bytes(length + 1) }), known);
      for (let at = 0; at < length; at++) {
        const data = bytes(length);
        data[at] ^= 0x40;
        const isSeen = at < 64 || at >= length - 64;
        assert.equal(markOf({ ...entry, data }) !== known, isSeen, `byte ${at} of ${length}`);
      }
    }
  });
});
