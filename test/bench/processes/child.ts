// A process of a benchmark: plays the part that its argument names, and answers calls from its parent (remote.ts).

import { openPublisher, openReader } from '../plainNats.ts';
import { openActor } from './actor.ts';
import type { Answer, Call } from './remote.ts';
import type { RoleName, RoleOptions, Roles } from './roles.ts';
import { openTier1 } from './tier1.ts';

const open: { readonly [Name in RoleName]: (options: RoleOptions) => Promise<Roles[Name]> } = {
  tier1: openTier1,
  actor: openActor,
  publisher: openPublisher,
  reader: openReader,
};

const [name, options] = process.argv.slice(2);
const send = (answer: Answer): void => void process.send?.(answer);
// The parent is gone: so is the reason to be here.
process.on('disconnect', () => process.exit(0));
try {
  const role = (await open[name as RoleName](JSON.parse(options))) as unknown as Record<
    string,
    (...args: readonly unknown[]) => Promise<unknown>
  >;
  process.on('message', ({ id, method, args }: Call) => {
    role[method](...args).then(
      (value) => send({ id, value }),
      (error: unknown) => send({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  send({ id: 0, value: 'ready' });
} catch (error) {
  send({ id: 0, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
