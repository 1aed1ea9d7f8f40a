// How warm the machine is, in degrees Celsius: by a file that somebody else keeps (`--temperature-file`), or by the hottest of
// the sensors that Linux shows under /sys/class. Containers and virtual machines often have none; then nothing is told.
//
// Sensors are read off the event loop, at most every few seconds, one after the other. Many boards have some that say
// what cannot be; those are left out.

import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../../shared/base/clock.ts';
import { reasonOf } from '../../../shared/base/errors.ts';
import type { ActorLog } from '../../dssl/actor.ts';

export interface ThermometerOptions {
  /** A file with one number, in degrees or thousandths of them; instead of the sensors. */
  readonly file?: string | undefined;
  readonly log: Pick<ActorLog, 'warn'>;
  readonly clock?: Clock;
  /** Where the sensors are; default /sys/class. */
  readonly sensors?: string;
}

const everyMs = 5_000;
const bytesMost = 64;
/** What a sensor may say; 0 is what many without a probe say. */
const sensorBounds = [0.001, 125] as const;
const fileBounds = [-100, 200] as const;

export class Thermometer {
  /** What was read last; undefined when there is nothing to read, or nothing that makes sense. */
  celsius: number | undefined;
  readonly #options: ThermometerOptions;
  readonly #clock: Clock;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #isReading = false;
  #hasWarned = false;

  constructor(options: ThermometerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Reads anew, unless it did a moment ago or is still at it. Resolves when `celsius` says what was read. */
  async refresh(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#isReading || nowMs - this.#readAtMs < everyMs) return;
    this.#readAtMs = nowMs;
    this.#isReading = true;
    const { file, sensors = '/sys/class' } = this.#options;
    this.celsius = file === undefined ? await hottest(sensors) : await this.#fromFile(file);
    this.#isReading = false;
  }

  async #fromFile(file: string): Promise<number | undefined> {
    try {
      const value = await readNumber(file);
      const celsius = Math.abs(value) >= 1_000 ? value / 1_000 : value;
      if (!isWithin(celsius, fileBounds)) throw new Error(`${value} is no temperature`);
      this.#hasWarned = false;
      return celsius;
    } catch (error) {
      const text = 'no temperature: the file must hold one number, in degrees Celsius or thousandths of them';
      if (!this.#hasWarned) this.#options.log.warn({ file, reason: reasonOf(error) }, text);
      this.#hasWarned = true;
      return undefined;
    }
  }
}

async function hottest(root: string): Promise<number | undefined> {
  let highest: number | undefined;
  for (const path of [
    ...(await filesIn(join(root, 'thermal'), /^thermal_zone\d+$/, /^temp$/)),
    ...(await filesIn(join(root, 'hwmon'), /^hwmon\d+$/, /^temp\d+_input$/)),
  ]) {
    // A sensor may be asleep, or of hardware that has gone.
    const celsius = await readNumber(path).then(
      (value) => value / 1_000,
      () => Number.NaN,
    );
    if (isWithin(celsius, sensorBounds)) highest = Math.max(highest ?? celsius, celsius);
  }
  return highest;
}

async function filesIn(folder: string, device: RegExp, sensor: RegExp): Promise<string[]> {
  const list = (path: string) => readdir(path).catch(() => [] as string[]);
  const found: string[] = [];
  for (const name of (await list(folder)).filter((each) => device.test(each))) {
    for (const file of (await list(join(folder, name))).filter((each) => sensor.test(each))) {
      found.push(join(folder, name, file));
    }
  }
  return found;
}

/** The number in a small file. Whatever the path leads to, it neither waits nor reads much. */
async function readNumber(path: string): Promise<number> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytesMost), 0, bytesMost);
    const text = buffer.toString('latin1', 0, bytesRead).trim();
    if (!/^[+-]?\d+(\.\d+)?$/.test(text)) throw new Error('it holds no number, or more than one');
    return Number(text);
  } finally {
    await handle.close();
  }
}

function isWithin(celsius: number, [least, most]: readonly [number, number]): boolean {
  return celsius >= least && celsius <= most;
}
