// How tests replay captures: a small cluster in this process, as fast as it goes.

import { type ReplayOptions, replayedCluster } from '../../services/cli/run/replay.ts';

export const replayEnvironment = { secret: 'test', auth: undefined, logLevel: 'silent' };

/** One group of nine servers on the embedded bus. */
export const usualReplay: ReplayOptions = {
  ...replayedCluster,
  groups: 1,
  servers: 9,
  bus: 'embedded',
  speed: 'max',
  handler: 'counting',
  handlerOption: [],
};
