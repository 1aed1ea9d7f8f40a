// Where a capture's bytes come from: a file, standard input, or any stream of chunks, unpacked on the way if it is
// gzip-compressed. The reader asks for bytes into its own window, so a file is read straight to where it is parsed and
// a stream is copied once; neither holds more than one chunk, however large the capture is.

import { open } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { CaptureError, CaptureFault, plainReason } from './captureError.ts';

export interface ByteSource {
  /** Fills some of the target and returns how much; 0 at the end. Delivers what there is, without waiting for more. */
  fill(target: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** Opens a path, standard input for '-', or a stream. Throws CaptureError. */
export async function openSource(source: string | AsyncIterable<Uint8Array>, name: string): Promise<ByteSource> {
  if (typeof source !== 'string') return new ChunkSource(source);
  if (source === '-') return new ChunkSource(process.stdin);
  try {
    const file = await open(source, 'r');
    return {
      fill: async (target) => (await file.read(target, 0, target.length, null)).bytesRead,
      close: () => file.close(),
    };
  } catch (error) {
    throw openError(error, name);
  }
}

/** The error for a capture that could not be opened or whose first bytes could not be read. */
export function openError(error: unknown, name: string): CaptureError {
  if (error instanceof CaptureError) return error;
  const missing = (error as { code?: unknown }).code === 'ENOENT';
  const fault = missing ? CaptureFault.missing : CaptureFault.unreadable;
  return new CaptureError(fault, `${name}: cannot be read: ${plainReason(error)}`, error);
}

/** Unpacks gzip. `head` holds the bytes already taken from the packed source. */
export function gunzipSource(head: Uint8Array, packed: ByteSource): ByteSource {
  const gunzip = createGunzip({ chunkSize: 65_536 });
  // A fault reaches the reader through the iteration of `gunzip`, which pipeline destroys with it.
  pipeline(Readable.from(chunksOf(head, packed), { objectMode: false }), gunzip, () => {});
  const source = new ChunkSource(gunzip);
  return {
    fill: (target) => source.fill(target),
    close: async () => {
      gunzip.destroy();
      await packed.close();
    },
  };
}

class ChunkSource implements ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #used = 0;
  #ended = false;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async fill(target: Uint8Array): Promise<number> {
    while (this.#used === this.#chunk.length) {
      if (this.#ended) return 0;
      const next = await this.#chunks.next();
      if (next.done) {
        this.#ended = true;
        return 0;
      }
      this.#chunk = next.value;
      this.#used = 0;
    }
    const part = this.#chunk.subarray(this.#used, this.#used + target.length);
    target.set(part);
    this.#used += part.length;
    return part.length;
  }

  async close(): Promise<void> {
    if (!this.#ended) await this.#chunks.return?.();
    this.#ended = true;
  }
}

async function* chunksOf(head: Uint8Array, packed: ByteSource): AsyncGenerator<Uint8Array> {
  yield head;
  for (;;) {
    const chunk = new Uint8Array(65_536);
    const length = await packed.fill(chunk);
    if (length === 0) return;
    yield chunk.subarray(0, length);
  }
}
