// A handler whose state is all that it has seen of a flow: the packets by their first four bytes, in order. So a packet that was counted twice, not at all, or too
// late shows. It writes a record of a flow when that ends.

import type {
  HandlerFactory,
  PacketBatch,
  ServerHandler,
  StateWay,
} from '../../services/dssl/egress/handlers/handler.ts';
import { LocalEgress } from '../../services/dssl/egress/local.ts';

export interface Remembered {
  readonly server: string;
  readonly lo: number;
  readonly ids: readonly number[];
  readonly end: string;
}

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Records go to `records`; those of a server that is stuck never get there. */
export function rememberingHandler(
  way: StateWay,
  records: Remembered[],
  isStuck: (server: string) => boolean = () => false,
): HandlerFactory {
  return ({ server, isShadow }): ServerHandler => {
    const flows = new Map<string, number[]>();
    const key = (hi: number, lo: number) => `${hi} ${lo}`;
    return {
      state: way,
      onPackets(batch: PacketBatch) {
        for (let i = 0; i < batch.count; i++) {
          const { buffer, byteOffset } = batch.data;
          const id = new DataView(buffer, byteOffset).getUint32(batch.offsets[i]);
          if (batch.isInState(i)) continue;
          const flow = key(batch.flowHi[i], batch.flowLo[i]);
          const ids = flows.get(flow);
          if (ids === undefined) flows.set(flow, [id]);
          else ids.push(id);
        }
      },
      onFlowEnd({ hi, lo }, end) {
        const ids = flows.get(key(hi, lo));
        flows.delete(key(hi, lo));
        if (ids === undefined) return undefined;
        if (isShadow) throw new Error('a shadow was told of an end');
        if (isStuck(server)) return new Promise(() => undefined);
        records.push({ server, lo, ids, end });
        return undefined;
      },
      saveFlow(hi, lo) {
        const ids = flows.get(key(hi, lo));
        return ids === undefined ? undefined : Buffer.from(JSON.stringify(ids));
      },
      loadFlow: (hi, lo, bytes) => void flows.set(key(hi, lo), JSON.parse(Buffer.from(bytes).toString()) as number[]),
      dropFlow: (hi, lo) => void flows.delete(key(hi, lo)),
      report: () => ({ flows: flows.size }),
    };
  };
}

/** A server with such a handler, started; its shadow is made at once. */
export function rememberingServer(factory: HandlerFactory, server: string): LocalEgress {
  const context = { server, group: 'g1', log, tunnels: false as const, options: {} };
  const egress = new LocalEgress({
    handler: factory(context) as ServerHandler,
    makeShadow: () => Promise.resolve(factory({ ...context, isShadow: true }) as ServerHandler),
    log,
    nowMs: () => 0,
  });
  void egress.start();
  return egress;
}
