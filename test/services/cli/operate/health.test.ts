// What a service says of itself over HTTP.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, describe, it } from 'node:test';
import { Health, type ListenAddress, parseListenAddress } from '../../../../services/cli/operate/health.ts';
import { LoopDelay } from '../../../../services/cli/process/loopDelay.ts';
import type { Clock } from '../../../../shared/base/clock.ts';
import { errorCodes } from '../../../../shared/base/errors.ts';
import { hasCode } from '../../../support/busInbox.ts';

const anyPort: ListenAddress = { host: '127.0.0.1', port: 0 };

describe('health', () => {
  const healths: Health[] = [];
  after(() => {
    for (const health of healths) health.stop();
  });

  /** A served health, and the address it says. */
  async function serve(conditions: readonly string[], clock?: Clock): Promise<{ health: Health; url: string }> {
    const health = new Health(conditions, clock && new LoopDelay(clock));
    healths.push(health);
    const said: string[] = [];
    await health.serve(anyPort, { info: (message: unknown) => void said.push(String(message)) });
    return { health, url: /http:\S+/.exec(said[0])?.[0] ?? '' };
  }

  it('health - ready when every condition holds, and it names the one that does not', async () => {
    const { health, url } = await serve(['connected', 'served']);
    const ask = async (): Promise<[number, unknown]> => {
      const response = await fetch(`${url}/readyz`);
      return [response.status, await response.json()];
    };
    const none = { connected: 'not yet', served: 'not yet' };
    assert.deepEqual(await ask(), [
      503,
      { ready: false, conditions: { connected: false, served: false }, failing: none },
    ]);
    health.check('connected', () => true);
    let missing: string | undefined = 'no server in g2';
    health.check('served', () => missing ?? true);
    const some = { served: 'no server in g2' };
    assert.deepEqual(await ask(), [
      503,
      { ready: false, conditions: { connected: true, served: false }, failing: some },
    ]);
    missing = undefined;
    assert.deepEqual(await ask(), [200, { ready: true, conditions: { connected: true, served: true }, failing: {} }]);
    assert.throws(() => health.check('another', () => true), /another/);
  });

  it('health - lives as long as its event loop turns; ill when that was held up, and well again some time later', async () => {
    let nowMs = 0;
    let due: { readonly atMs: number; readonly fn: () => void } | undefined;
    const clock: Clock = {
      nowMs: () => nowMs,
      monotonicMs: () => nowMs,
      setTimer(delayMs, fn) {
        due = { atMs: nowMs + delayMs, fn };
        return { cancel: () => undefined, unref: () => undefined };
      },
      defer: () => undefined,
    };
    const turn = (lateMs: number): void => {
      const timer = due;
      assert.ok(timer !== undefined);
      nowMs = timer.atMs + lateMs;
      timer.fn();
    };
    const { url } = await serve([], clock);
    const ask = async (): Promise<unknown[]> => {
      const response = await fetch(`${url}/healthz`);
      const { healthy, eventLoopDelayMs } = (await response.json()) as Record<string, unknown>;
      return [response.status, healthy, eventLoopDelayMs];
    };
    turn(3);
    assert.deepEqual(await ask(), [200, true, 3]);
    turn(6_000);
    assert.deepEqual(await ask(), [503, false, 6_000]);
    while (nowMs < 30_000) turn(1);
    assert.deepEqual(await ask(), [200, true, 1]);
  });

  it('health - answers nothing else, and to reading alone', async () => {
    const { url } = await serve([]);
    assert.equal((await fetch(`${url}/`)).status, 404);
    assert.equal((await fetch(`${url}/metrics`)).status, 404);
    assert.equal((await fetch(`${url}/healthz?full`)).status, 200);
    const head = await fetch(`${url}/readyz`, { method: 'HEAD' });
    assert.deepEqual([head.status, await head.text()], [200, '']);
    assert.equal((await fetch(`${url}/readyz`, { method: 'POST', body: 'x' })).status, 405);
  });

  it('health - an address in use, or of another machine, is said in one line', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const bound = other.address();
    assert.ok(bound !== null && typeof bound === 'object');
    const quiet = { info: () => undefined };
    const taken = new Health([]).serve({ host: '127.0.0.1', port: bound.port }, quiet);
    await assert.rejects(taken, (error: Error) => /in use/.test(error.message) && hasCode(errorCodes.ioFailed)(error));
    other.close();
    const foreign = new Health([]).serve({ host: '192.0.2.1', port: 0 }, quiet);
    await assert.rejects(foreign, hasCode(errorCodes.badConfig));
  });

  it('health - addresses are read as people write them; a port alone is one of this machine only', () => {
    assert.deepEqual(parseListenAddress('8080'), { host: '127.0.0.1', port: 8080 });
    assert.deepEqual(parseListenAddress('0.0.0.0:80'), { host: '0.0.0.0', port: 80 });
    assert.deepEqual(parseListenAddress('[::1]:0'), { host: '::1', port: 0 });
    assert.deepEqual(parseListenAddress('[fe80::1%25eth0]:80'), { host: 'fe80::1%eth0', port: 80 });
    assert.deepEqual(parseListenAddress('[fe80::1%eth0]:80'), { host: 'fe80::1%eth0', port: 80 });
    assert.deepEqual(parseListenAddress('node-7.example:65535'), { host: 'node-7.example', port: 65_535 });
    assert.equal(parseListenAddress(''), undefined);
    for (const text of ['x', ':80', '::1:80', '[::1]', '1.2.3.4', 'a:65536', 'a b:1', 'http://a:1', '-1']) {
      assert.throws(() => parseListenAddress(text), /is wanted/, text);
    }
  });
});
