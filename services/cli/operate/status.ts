// `flowherd status`: what a running cluster looks like. The map and the mirrors of the views come from the store; how members are,
// they say themselves, so it listens for a moment. It changes nothing, and reads the store in turns rather than watch it, which the
// login of tools may not.

import { Command } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { type ErrorCode, errorCodes, isFlowherdError } from '../../../shared/base/errors.ts';
import { LiveScreen } from '../../local/demo/terminal.ts';
import { statusInWords } from '../../ops/statusWords.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { pause } from '../process/patience.ts';
import { onSignals } from '../process/signals.ts';
import { Listener } from './listener.ts';
import { type Access, addOperatorOptions, type OperatorOptions, withCluster } from './operator.ts';

interface StatusOptions extends OperatorOptions {
  readonly watch?: boolean;
}

const example = `
Examples:
  $ npx flowherd status
  $ npx flowherd status --bus nats://nats:4222 --json
  $ NATS_NKEY_FILE=keys/cli/nats.nk npx flowherd status --watch

It listens until every member has reported, for one to three times the pause between reports. A weight is shown as "50 of
100" where a policy has changed the configured one. The second table says how far each server has come with its group's log:
"position" is the entry that it applied last, "lag" are those that wait behind it, and how old the one applied last is. Tier
1s are listed when they take packets from the bus (--input bus).
--watch goes on, once a second, until Ctrl-C; with --json it prints one line of JSON each time.
${environmentHelp}`;

export function statusCommand(environment: () => Environment): Command {
  const command = new Command('status')
    .summary('groups, servers, their states, loads and weights, how far they are with the log, and who is silent')
    .description(
      'Shows a running cluster: groups, servers, their states, loads and weights, and who is silent or suspected.',
    )
    .option('--watch', 'again every second, until Ctrl-C');
  return addOperatorOptions(command)
    .addHelpText('after', example)
    .action((options: StatusOptions) =>
      withCluster(options, environment(), (access) => (options.watch ? watch : once)(access, options)),
    );
}

const watchEveryMs = 1_000;

async function once(access: Access, options: StatusOptions): Promise<void> {
  const listener = await Listener.open(access, options.cluster);
  await listener.look();
  await listener.listen();
  // Members may have changed while it listened.
  await listener.look();
  const report = listener.report();
  const words = () => `${statusInWords(report, systemClock.nowMs()).join('\n')}\n`;
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : words());
}

async function watch(access: Access, options: StatusOptions): Promise<void> {
  const ended = new AbortController();
  const release = onSignals(() => ended.abort());
  const screen = !options.json && process.stdout.isTTY ? new LiveScreen(process.stdout) : undefined;
  const listener = await Listener.open(access, options.cluster);
  try {
    await listener.look();
    for (let isFirst = true; !ended.signal.aborted; isFirst = false) {
      const problem = isFirst ? undefined : await lookAgain(listener);
      const report = listener.report();
      if (options.json) {
        process.stdout.write(`${JSON.stringify(report)}\n`);
        if (problem !== undefined) process.stderr.write(`flowherd: ${problem}\n`);
      } else {
        const lines = statusInWords(report, systemClock.nowMs());
        if (problem !== undefined) lines.push('', `As it was: ${problem}`);
        if (screen === undefined) process.stdout.write(`${isFirst ? '' : '\n'}${lines.join('\n')}\n`);
        else screen.draw(inWindow(lines, screen));
      }
      await pause(watchEveryMs, ended.signal);
    }
  } finally {
    screen?.end();
    release();
  }
}

/** What does not end a watch: the server is away for a while. The line says so. */
async function lookAgain(listener: Listener): Promise<string | undefined> {
  const passing: readonly ErrorCode[] = [
    errorCodes.busDisconnected,
    errorCodes.busTimeout,
    errorCodes.storeUnavailable,
  ];
  try {
    await listener.look();
  } catch (error) {
    if (isFlowherdError(error) && passing.includes(error.code)) return error.message;
    throw error;
  }
}

/** What the terminal has room for. */
function inWindow(lines: readonly string[], { rows, columns }: LiveScreen): string[] {
  const cut = lines.map((line) => line.slice(0, columns - 1));
  const room = rows - 1;
  return cut.length <= room ? cut : [...cut.slice(0, room - 1), `... and ${cut.length - room + 1} lines more`];
}
