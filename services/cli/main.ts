// The command line. One file a command; this one puts them together and turns what went wrong into one line and an exit
// code: 2 for arguments that cannot be, 1 for failures.

import { Command, CommanderError } from 'commander';
import { errorCodes, FlowherdError } from '../../shared/base/errors.ts';
import { dissectCommand } from './inspect/dissect.ts';
import { drainCommand } from './operate/drain.ts';
import { groupsCommand } from './operate/groups.ts';
import { initCommand } from './operate/init.ts';
import { keysCommand } from './operate/keys.ts';
import { moveCommand } from './operate/move.ts';
import { rebalanceCommand } from './operate/rebalance.ts';
import { settingsCommand } from './operate/settings.ts';
import { statusCommand } from './operate/status.ts';
import { weightCommand } from './operate/weight.ts';
import { readEnvironment } from './process/environment.ts';
import { demoCommand } from './run/demo.ts';
import { dsslCommand } from './run/dssl.ts';
import { replayCommand } from './run/replay.ts';
import { serverCommand } from './run/server.ts';
import { tier1Command } from './run/tier1.ts';
import { trafficCommand } from './run/traffic.ts';

const program = new Command('flowherd')
  .description('Distributes packets to stateful servers so that every flow sticks to one server.')
  .showSuggestionAfterError()
  .exitOverride()
  .configureHelp({ showGlobalOptions: true });

const environment = () => readEnvironment(process.env);

for (const command of [
  demoCommand(process.env),
  dissectCommand(environment),
  replayCommand(environment),
  tier1Command(environment),
  dsslCommand(environment),
  initCommand(environment),
  keysCommand(environment),
  serverCommand(environment),
  trafficCommand(environment, process.env.TERM),
  statusCommand(environment),
  groupsCommand(environment),
  drainCommand(environment),
  moveCommand(environment),
  rebalanceCommand(environment),
  weightCommand(environment),
  settingsCommand(environment),
]) {
  program.addCommand(command.exitOverride().showHelpAfterError('(see --help)'));
}

// The reader of a pipe may go away, as `head` does; nothing is left to be told to anybody then.
process.stdout.on('error', () => process.exit(0));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
  // What is still open, such as a connection to a server that never greeted, must not keep a failed process alive.
  setTimeout(() => process.exit(), 1_000).unref();
}

function exitCodeOf(error: unknown): number {
  // Commander has printed its own line already; asking for help is no mistake.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof FlowherdError) {
    process.stderr.write(`flowherd: ${error.message}\n`);
    return error.code === errorCodes.badConfig || error.code === errorCodes.badName ? 2 : 1;
  }
  process.stderr.write(
    `flowherd: a fault of its own, please report it: ${error instanceof Error ? error.stack : error}\n`,
  );
  return 1;
}
