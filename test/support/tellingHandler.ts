// A server that says in the log when it is started and stopped, for the tests of who gets to run. With the option
// `fail=yes` it refuses to start.

import type { HandlerFactory } from '../../services/dssl/egress/handler.ts';

const create: HandlerFactory = ({ log, group, options }) => ({
  start: () => {
    if (options.fail === 'yes') throw new Error('not today');
    log.info(`handler started for ${group}`);
  },
  onPackets: () => undefined,
  stop: () => log.info('handler stopped'),
});

export default create;
