// The handler `pcap`: writes the packets it gets to a capture file, to be opened with the usual capture programs.
//
//   file   the file to write; an existing one is replaced
//   dir    a directory (made where missing); the file is <dir>/<server>.pcapng
//
// Without either it writes <server>.pcapng where the process was started.

import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CaptureWriter } from '../../../../shared/capture/writer.ts';
import { checkOptions } from '../options.ts';
import type { HandlerFactory } from './handler.ts';

const create: HandlerFactory = (context) => {
  checkOptions('pcap', context.options, ['file', 'dir']);
  const file = context.options.file ?? join(context.options.dir ?? '.', `${context.server}.pcapng`);
  let writer: CaptureWriter | undefined;
  return {
    async start() {
      await mkdir(dirname(file), { recursive: true });
      writer = new CaptureWriter(file);
      // A file that cannot be written shows here, before the server takes any flow.
      await writer.flush();
    },
    onPackets(batch) {
      if (writer === undefined) return;
      let keepsUp = true;
      for (let i = 0; i < batch.count; i++) {
        const length = batch.lengths[i]!;
        keepsUp = writer.write(batch.data, batch.offsets[i]!, length, length, batch.timestampMs, batch.linkType(i));
      }
      return keepsUp ? undefined : writer.drained();
    },
    async stop() {
      await writer?.close();
    },
    report: () => ({ file, ...writer?.totals }),
  };
};

export default create;
