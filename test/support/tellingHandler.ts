// A server that says in the log when it is started and stopped, for the tests of who gets to run. With the option
// `fail=yes` it refuses to start, with `flows=yes` it says when flows come and go.

import type { HandlerFactory } from '../../services/dssl/egress/handlers/handler.ts';

const create: HandlerFactory = ({ log, group, options }) => ({
  start: () => {
    if (options.fail === 'yes') throw new Error('not today');
    log.info(`handler started for ${group}`);
  },
  onFlowStart: () => {
    if (options.flows === 'yes') log.info('flow begins');
  },
  onPackets: () => undefined,
  onFlowEnd: (_flow, reason) => {
    if (options.flows === 'yes') log.info(`flow ends: ${reason}`);
  },
  stop: () => log.info('handler stopped'),
});

export default create;
