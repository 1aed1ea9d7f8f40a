// Waiting for a cluster that somebody else makes, under a clock that the test moves.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { whenMade } from '../../../../services/cli/process/whenMade.ts';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import { type ErrorCode, errorCodes, FlowherdError } from '../../../../shared/base/errors.ts';
import { hasCode } from '../../../support/busInbox.ts';

describe('whenMade', () => {
  /** Fails so many times with `code`; tells how often it was asked, and what the waiting said. */
  function attempts(failures: number, code: ErrorCode) {
    const clock = new VirtualClock();
    const said: number[] = [];
    let asked = 0;
    const attempt = async (): Promise<string> => {
      if (++asked > failures) return 'made';
      throw new FlowherdError(code, 'it is missing');
    };
    return {
      clock,
      said,
      attempt,
      asked: () => asked,
      onWait: (_: string, waitedMs: number) => void said.push(waitedMs),
    };
  }

  it('whenMade - what is there at once is not waited for', async () => {
    const { clock, said, attempt, onWait } = attempts(0, errorCodes.storeMissing);
    assert.equal(await whenMade(attempt, { clock, onWait }), 'made');
    assert.deepEqual(said, []);
  });

  it('whenMade - goes on as soon as somebody has made it, and says now and then that it waits', async () => {
    const { clock, said, attempt, asked, onWait } = attempts(25, errorCodes.storeMissing);
    const made = whenMade(attempt, { clock, onWait });
    await clock.advanceAsync(30_000);
    assert.equal(await made, 'made');
    assert.equal(asked(), 26);
    assert.deepEqual(said, [0, 10_000, 20_000]);
  });

  it('whenMade - gives up after a minute with a line that says what to do', async () => {
    const { clock, attempt, onWait } = attempts(1_000, errorCodes.storeMissing);
    const made = whenMade(attempt, { clock, onWait });
    const rejected = assert.rejects(made, (error: Error) => {
      assert.match(error.message, /^it is missing: run "flowherd init" with a login that may \(waited 60 s\)$/);
      return hasCode(errorCodes.storeMissing)(error);
    });
    await clock.advanceAsync(61_000);
    await rejected;
  });

  it('whenMade - a server without a key-value store gets ten seconds; what waiting cannot mend gets none', async () => {
    const off = attempts(1_000, errorCodes.storeUnavailable);
    const rejected = assert.rejects(
      whenMade(off.attempt, { clock: off.clock, onWait: off.onWait }),
      hasCode(errorCodes.storeUnavailable),
    );
    await off.clock.advanceAsync(10_000);
    await rejected;
    assert.equal(off.asked(), 11);
    const denied = attempts(1_000, errorCodes.busRefused);
    await assert.rejects(
      whenMade(denied.attempt, { clock: denied.clock, onWait: denied.onWait }),
      hasCode(errorCodes.busRefused),
    );
  });

  it('whenMade - who has to make it and may not is told at once', async () => {
    const { clock, attempt, onWait } = attempts(1_000, errorCodes.storeMissing);
    await assert.rejects(whenMade(attempt, { clock, onWait, isMaker: true }), hasCode(errorCodes.storeMissing));
  });
});
