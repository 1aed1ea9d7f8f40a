// The handler `counting`: counts what it gets, and nothing else. The default, and the cheapest server there is.

import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import type { HandlerFactory } from './handlers/handler.ts';

const create: HandlerFactory = () => {
  const counts = { packets: 0, bytes: 0, flowsStarted: 0, flowsEnded: 0, starts: 0, ends: 0, openFlows: 0 };
  return {
    onFlowStart() {
      counts.flowsStarted++;
      counts.openFlows++;
    },
    onPackets(batch) {
      counts.packets += batch.count;
      for (let i = 0; i < batch.count; i++) {
        counts.bytes += batch.lengths[i]!;
        const flags = batch.flags[i]!;
        if ((flags & FrameFlags.START) !== 0) counts.starts++;
        if ((flags & FrameFlags.END) !== 0) counts.ends++;
      }
    },
    onFlowEnd() {
      counts.flowsEnded++;
      counts.openFlows--;
    },
    report: () => ({ ...counts }),
  };
};

export default create;
