// A server that writes down which generated packets it got, at once and into a file: a process that is killed leaves its part behind. It knows of
// no receipt, so it can tell packets that were lost from receipts that were. The option `dir` names the folder; what is in it is read by witness.ts.

import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { HandlerFactory } from '../../services/dssl/egress/handlers/handler.ts';
import { readStamp } from '../../shared/packet/stamp.ts';
import { noteBytes, repeatBit } from './witness.ts';

const create: HandlerFactory = ({ server, options }) => {
  const stamp = { run: 0, id: 0, flow: 0 };
  let file = -1;
  return {
    start: () => {
      file = openSync(join(options.dir, `${server}-${process.pid}-${process.hrtime.bigint()}`), 'a');
    },
    onPackets: ({ count, data, offsets, lengths, isRepeat }) => {
      const notes = new DataView(new ArrayBuffer(count * noteBytes));
      for (let i = 0; i < count; i++) {
        if (!readStamp(data, offsets[i], offsets[i] + lengths[i], stamp)) throw new Error('a packet without a stamp');
        notes.setUint32(i * noteBytes, (stamp.id | (isRepeat ? repeatBit : 0)) >>> 0);
        notes.setUint32(i * noteBytes + 4, stamp.flow);
      }
      writeSync(file, notes);
    },
    stop: () => closeSync(file),
  };
};

export default create;
