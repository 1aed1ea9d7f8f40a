// What `flowherd traffic` says in the end, for the benchmarks that run it.

import type { TrafficReport } from '../../../services/loadgen/report.ts';
import type { Service } from '../../support/processes.ts';

/** The generator's report. Throws when it shows what must never be, whatever the machine was doing. */
export function checkedReport(traffic: Pick<Service, 'stdout' | 'messages'>, exitCode: number): TrafficReport {
  const said = `${traffic.stdout}\n${traffic.messages.join('\n')}`;
  if (traffic.stdout.trim() === '') throw new Error(`flowherd traffic ended with ${exitCode} and no report:\n${said}`);
  const report = JSON.parse(traffic.stdout) as TrafficReport;
  const { double, movedFlows, problems } = report;
  if (double !== 0 || movedFlows !== 0)
    throw new Error(`${double} packets were accepted by two servers and ${movedFlows} flows moved:\n${said}`);
  if (problems.length > 0 || exitCode !== 0)
    throw new Error(`flowherd traffic ended with ${exitCode}: ${problems.join('; ')}:\n${said}`);
  return report;
}
