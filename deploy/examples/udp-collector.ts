// A stateful server in a few lines: it collects the readings that devices send in UDP, and keeps a sum for each flow.
//
//   npx flowherd replay capture.pcap --handler ./deploy/examples/udp-collector.ts
//   FLOWHERD_SECRET=... npx flowherd dssl --handler ./deploy/examples/udp-collector.ts
//
// All packets of a flow come here for as long as it lives, so the state is a plain map in memory.

import { FlowMap } from '../../services/dssl/egress/handlers/flowMap.ts';
import type { HandlerFactory } from '../../services/dssl/egress/handlers/handler.ts';
import { Headers } from '../../shared/packet/decode/headers.ts';
import { parse } from '../../shared/packet/decode/parse.ts';

const create: HandlerFactory = (context) => {
  const devices = new FlowMap<{ readings: number; bytes: number }>();
  const headers = new Headers(); // filled again for every packet
  let readings = 0;

  return {
    onFlowStart(flow, origin) {
      // A promoted flow was somebody else's before: what that server had summed up is gone with it.
      if (origin === 'promoted') context.log.info('a device continues here', { flow: flow.flowId });
      devices.set(flow.hi, flow.lo, { readings: 0, bytes: 0 });
    },

    onPackets(batch) {
      for (let i = 0; i < batch.count; i++) {
        const start = batch.offsets[i]!;
        if (parse(batch.data, start, start + batch.lengths[i]!, batch.linkType(i), headers, false) !== 0) continue;
        const device = devices.get(batch.flowHi[i]!, batch.flowLo[i]!);
        if (device === undefined || headers.outer.protocol !== 17) continue;
        // The payload lies behind 8 bytes of UDP header, in batch.data: read it here, or copy it to keep it.
        device.readings++;
        device.bytes += headers.outer.end - (headers.outer.payload + 8);
        readings++;
      }
    },

    onFlowEnd(flow, reason) {
      const device = devices.delete(flow.hi, flow.lo);
      if (device !== undefined) context.log.info('a device has left', { flow: flow.flowId, reason, ...device });
    },

    report: () => ({ devices: devices.size, readings }),
  };
};

export default create;
