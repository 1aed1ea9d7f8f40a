// A server that fails on every other batch, for the tests of what that costs.

import type { HandlerFactory } from '../../services/dssl/egress/handlers/handler.ts';

const create: HandlerFactory = () => {
  let batches = 0;
  return {
    onPackets: () => {
      if (batches++ % 2 === 0) throw new Error('this server has had enough');
    },
  };
};

export default create;
