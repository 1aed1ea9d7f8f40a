// What the machine says about this process, for the load that an actor tells its group: how late the event loop is, processor
// time, memory, and how warm it is.

import { type Clock, systemClock } from '../../../shared/base/clock.ts';
import type { MachineLoad } from '../../dssl/member/loadMeter.ts';
import type { LoopDelay } from './loopDelay.ts';
import type { Thermometer } from './thermometer.ts';

export interface MachineOptions {
  /** Running. */
  readonly loop: LoopDelay;
  readonly thermometer: Thermometer;
  readonly clock?: Clock;
}

export class Machine {
  readonly #loop: LoopDelay;
  readonly #thermometer: Thermometer;
  readonly #clock: Clock;
  #cpu = process.cpuUsage();
  #readAtMs: number;

  constructor({ loop, thermometer, clock = systemClock }: MachineOptions) {
    this.#loop = loop;
    this.#thermometer = thermometer;
    this.#clock = clock;
    this.#readAtMs = clock.monotonicMs();
  }

  /** Since it was read last; about once a second. The temperature is the one that was read last: sensors take their time. */
  read(): MachineLoad {
    void this.#thermometer.refresh();
    const cpu = process.cpuUsage();
    const nowMs = this.#clock.monotonicMs();
    const busyMs = (cpu.user - this.#cpu.user + cpu.system - this.#cpu.system) / 1_000;
    const spanMs = nowMs - this.#readAtMs;
    this.#cpu = cpu;
    this.#readAtMs = nowMs;
    return {
      loopDelayMs: this.#loop.takeMeanMs(),
      cpu: spanMs > 0 ? busyMs / spanMs : 0,
      memoryBytes: process.memoryUsage.rss(),
      temperature: this.#thermometer.celsius,
    };
  }
}
