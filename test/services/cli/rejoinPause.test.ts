// How long a server that was removed waits before it comes back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RejoinPause } from '../../../services/cli/run/dssl/rejoinPause.ts';

test('rejoin pause - it doubles up to half a minute, and begins anew after a minute of membership', () => {
  const pause = new RejoinPause();
  const pauses = [59_999, 0, 0, 500, 0, 0, 0].map((memberMs) => pause.after(memberMs));
  assert.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  assert.deepEqual([pause.after(60_000), pause.after(0)], [1_000, 2_000]);
});
