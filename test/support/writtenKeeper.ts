// A server that writes down what it is told, and whose state of a flow is a text: what was loaded, else 1.

import type { FlowKeeper } from '../../services/dssl/egress/egress.ts';

export interface WrittenKeeper extends FlowKeeper {
  /** `+1 new`, `1: 20` a packet that is filled with 20, `save 1`, `load 1 text`, `drop 1`, `-1 idle`; flows by the lower halves of their hashes. */
  readonly calls: string[];
}

export function writtenKeeper(): WrittenKeeper {
  const calls: string[] = [];
  const loaded = new Map<number, string>();
  let data: Uint8Array = new Uint8Array(0);
  return {
    calls,
    begin: (bytes) => {
      data = bytes;
    },
    add: (offset, _length, _hi, lo, _flags, _row, isInState) => {
      calls.push(`${lo}: ${data[offset]}${isInState === true ? ' again' : ''}`);
    },
    end: () => undefined,
    flowStarted: (_hi, lo, _timestampMs, origin = 'new') => void calls.push(`+${lo} ${origin}`),
    flowEnded: (_hi, lo, reason) => void calls.push(`-${lo} ${reason}`),
    saveFlow: (_hi, lo) => {
      calls.push(`save ${lo}`);
      return Buffer.from(loaded.get(lo) ?? '1');
    },
    loadFlow: (_hi, lo, bytes) => {
      loaded.set(lo, Buffer.from(bytes).toString());
      calls.push(`load ${lo} ${loaded.get(lo)}`);
    },
    dropFlow: (_hi, lo) => {
      loaded.delete(lo);
      calls.push(`drop ${lo}`);
    },
  };
}
