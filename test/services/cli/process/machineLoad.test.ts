// What the machine says of a process: how late its event loop is, processor time and memory, and how warm it is, by sensors
// or files made for the purpose.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LoopDelay } from '../../../../services/cli/process/loopDelay.ts';
import { Machine } from '../../../../services/cli/process/machineLoad.ts';
import { Thermometer } from '../../../../services/cli/process/thermometer.ts';
import { type Clock, systemClock, VirtualClock } from '../../../../shared/base/clock.ts';

describe('machine load', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flowherd-heat-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const put = (path: string, text: string): string => {
    const whole = join(folder, path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, text);
    return whole;
  };

  /** A thermometer, and a way to look at it when enough time has passed. */
  function thermometer(options: { file?: string; sensors?: string }) {
    const clock = new VirtualClock();
    const warnings: object[] = [];
    const log = { warn: (fields: object) => void warnings.push(fields) };
    const meter = new Thermometer({ ...options, log, clock });
    const look = async (afterMs = 5_000) => {
      clock.advance(afterMs);
      await meter.refresh();
      return meter.celsius;
    };
    return { look, warnings };
  }

  it('machine load - the hottest of the sensors that make sense is the temperature', async () => {
    const sensors = join(folder, 'class');
    put('class/thermal/thermal_zone0/temp', '41000\n');
    put('class/thermal/thermal_zone1/temp', '-273200\n');
    put('class/thermal/cooling_device0/temp', '99000\n');
    put('class/hwmon/hwmon3/temp1_input', '47500\n');
    put('class/hwmon/hwmon3/temp2_input', '255000\n');
    put('class/hwmon/hwmon3/temp1_crit', '100000\n');
    put('class/hwmon/hwmon4/temp1_input', 'asleep');
    mkdirSync(join(sensors, 'hwmon/hwmon5/temp1_input'), { recursive: true });
    const { look, warnings } = thermometer({ sensors });
    assert.equal(await look(), 47.5);
    put('class/hwmon/hwmon3/temp1_input', '0\n');
    assert.equal(await look(4_999), 47.5, 'read at most every five seconds');
    assert.equal(await look(1), 41);
    assert.deepEqual(warnings, []);
  });

  it('machine load - a machine without sensors has no temperature', async () => {
    const { look, warnings } = thermometer({ sensors: join(folder, 'none') });
    assert.equal(await look(), undefined);
    assert.deepEqual(warnings, []);
  });

  it('machine load - a temperature file is read in degrees or thousandths; nonsense is warned of once', async () => {
    const file = put('temperature', '61.5\n');
    const { look, warnings } = thermometer({ file, sensors: join(folder, 'class') });
    assert.equal(await look(), 61.5);
    put('temperature', '-12000');
    assert.equal(await look(), -12);
    assert.deepEqual(warnings, []);
    for (const text of ['', 'warm', '20 21', '500', '-300', 'NaN', '1e1', '9'.repeat(500)]) {
      put('temperature', text);
      assert.equal(await look(), undefined, text);
    }
    assert.equal(warnings.length, 1);
    put('temperature', '20');
    assert.equal(await look(), 20);
    rmSync(file);
    assert.equal(await look(), undefined);
    assert.equal(await look(), undefined);
    assert.equal(warnings.length, 2, 'it was well again meanwhile');
  });

  it('machine load - a temperature file that is a pipe, a folder or endless is not waited for', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const file of [pipe, folder, '/dev/zero', '/dev/null']) {
      const { look, warnings } = thermometer({ file });
      assert.equal(await look(), undefined);
      assert.equal(warnings.length, 1, file);
    }
  });

  it('machine load - processor time and the delay of the event loop are those since the last look', () => {
    let nowMs = 0;
    let due: { readonly atMs: number; readonly fn: () => void } | undefined;
    const clock: Clock = {
      ...systemClock,
      monotonicMs: () => nowMs,
      setTimer(delayMs, fn) {
        due = { atMs: nowMs + delayMs, fn };
        return { cancel: () => undefined, unref: () => undefined };
      },
    };
    const turn = (lateMs: number): void => {
      const timer = due;
      assert.ok(timer !== undefined);
      nowMs = timer.atMs + lateMs;
      timer.fn();
    };
    const loop = new LoopDelay(clock);
    const machine = new Machine({ loop, thermometer: new Thermometer({ log: { warn: () => undefined } }), clock });
    assert.equal(machine.read().loopDelayMs, 0, 'not measured yet');
    loop.start();
    loop.start();
    turn(2);
    turn(4);
    const busy = machine.read();
    assert.equal(busy.loopDelayMs, 3);
    assert.ok(busy.cpu >= 0 && busy.memoryBytes > 1_000_000);
    turn(30);
    assert.equal(machine.read().loopDelayMs, 30);
    nowMs += 50 + 800;
    assert.equal(machine.read().loopDelayMs, 800, 'held up this very moment');
    assert.equal(loop.worstMs, 30);
    const began = process.cpuUsage().user;
    while (process.cpuUsage().user - began < 100_000);
    nowMs += 200;
    assert.ok(machine.read().cpu >= 0.5, 'a tenth of a second of work in a fifth of one');
    loop.stop();
  });
});
