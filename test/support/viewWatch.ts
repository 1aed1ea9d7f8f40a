// The views of one group as they come, seen from outside: what there was, and the first one yet to come of which something
// holds, with the moment at which it came.

import type { Bus } from '../../shared/bus/bus.ts';
import { type Subjects, viewKey } from '../../shared/bus/subjects.ts';
import { decodeMirror } from '../../shared/membership/mirror.ts';
import type { View } from '../../shared/membership/view.ts';

export interface SeenView {
  readonly view: View;
  /** On the clock of `performance.now()`. */
  readonly atMs: number;
}

interface Waiting {
  readonly holds: (view: View) => boolean;
  readonly resolve: (seen: SeenView) => void;
}

export class ViewWatch {
  newest: View | undefined;
  #waiting: Waiting[] = [];
  #stop: () => void = () => undefined;

  static async of(bus: Bus, subjects: Subjects, group: string): Promise<ViewWatch> {
    const watch = new ViewWatch();
    const store = await bus.openKeyValue(subjects.bucket);
    watch.#stop = await store.watch(viewKey(group), ({ value }) => watch.#take(value));
    return watch;
  }

  /** The first view from now on of which that holds; rejects after `withinMs`, naming what was waited for. */
  async when(holds: (view: View) => boolean, what: string, withinMs: number): Promise<SeenView> {
    let timer: NodeJS.Timeout | undefined;
    const seen = new Promise<SeenView>((resolve) => this.#waiting.push({ holds, resolve }));
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no view within ${withinMs} ms: ${what}`)), withinMs);
    });
    try {
      return await Promise.race([seen, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  stop(): void {
    this.#stop();
  }

  #take(value: Uint8Array): void {
    const view = decodeMirror(value)?.view;
    if (view === undefined) return;
    this.newest = view;
    const atMs = performance.now();
    this.#waiting = this.#waiting.filter(({ holds, resolve }) => {
      if (!holds(view)) return true;
      resolve({ view, atMs });
      return false;
    });
  }
}
