// Where a capture's bytes come from: a file, standard input, or any stream of chunks, unpacked on the way if it is
// packed with gzip or zstd. The reader asks for bytes into its own window, so a file is read straight to where it is parsed and
// a stream is copied once; neither holds more than one chunk, however large the capture is.

import { open } from 'node:fs/promises';
import { pipeline, Readable, type Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
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

/** How a file may be packed, by its first four bytes in big-endian order. */
const packings: readonly {
  readonly name: string;
  readonly isStart: (magic: number) => boolean;
  readonly unpack?: () => Transform;
}[] = [
  {
    name: 'gzip',
    isStart: (magic) => magic >>> 16 === 0x1f8b,
    unpack: () => createGunzip({ chunkSize: 65_536 }),
  },
  {
    name: 'zstd',
    // A frame, or one to be skipped (RFC 8878 section 3.1).
    isStart: (magic) => magic === 0x28b52ffd || (magic & 0xf0ffffff) >>> 0 === 0x502a4d18,
    unpack: () => createZstdDecompress({ chunkSize: 65_536 }),
  },
  { name: 'xz', isStart: (magic) => magic === 0xfd377a58 },
  { name: 'bzip2', isStart: (magic) => magic >>> 8 === 0x425a68 },
  { name: 'lz4', isStart: (magic) => magic === 0x04224d18 },
  { name: 'zip', isStart: (magic) => magic === 0x504b0304 },
];

/**
 * The source of what `packed` unpacks to, if its first four bytes (`magic`) say that it is packed; else undefined. `head` holds
 * the bytes already taken from it. Throws CaptureError for a packing that is not read.
 */
export function unpackedSource(
  magic: number,
  head: Uint8Array,
  packed: ByteSource,
  name: string,
): ByteSource | undefined {
  const packing = packings.find(({ isStart }) => isStart(magic));
  if (packing === undefined) return undefined;
  if (packing.unpack === undefined) {
    const text = `${name}: it is packed with ${packing.name}; gzip and zstd are read, so unpack it first`;
    throw new CaptureError(CaptureFault.unsupported, text);
  }
  const unpacked = packing.unpack();
  // A fault reaches the reader through the iteration of `unpacked`, which pipeline destroys with it.
  pipeline(Readable.from(chunksOf(head, packed), { objectMode: false }), unpacked, () => {});
  const source = new ChunkSource(unpacked);
  return {
    fill: (target) => source.fill(target),
    close: async () => {
      unpacked.destroy();
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
