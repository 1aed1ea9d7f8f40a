// A folder with secrets in it. Files appear whole or not at all, so that a run that is killed leaves nothing half written
// for its successor: they are written beside their place, brought to the disk, and then given their name. Nobody but the
// owner can read them, and a group where one is named; the group can only read.

import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';

export class KeyFolder {
  readonly #path: string;
  readonly #gid: number | undefined;
  readonly #onMade: (file: string) => void;

  /** Makes the folder where it is missing. `onMade` is told of each file that was written. Throws a FlowherdError. */
  constructor(path: string, gid: number | undefined, onMade: (file: string) => void) {
    this.#path = path;
    this.#gid = gid;
    this.#onMade = onMade;
    guarded(path, () => {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      this.#restrict(path, 0o700);
    });
  }

  /** What is in the file, or undefined when there is no such file, or nothing in it. */
  read(file: string): string | undefined {
    const path = join(this.#path, file);
    return existsSync(path) ? readKeyFile(path).trim() || undefined : undefined;
  }

  /** What is in the file; where there is none, what `make` makes, which then is in it. The first of two writers wins. */
  keep(file: string, make: () => string): string {
    const path = join(this.#path, file);
    const present = this.read(file);
    if (present !== undefined) {
      guarded(path, () => this.#restrict(path, 0o400));
      return present;
    }
    return guarded(path, () => {
      const draft = this.#draft(path, `${make()}\n`);
      if (existsSync(path) && statSync(path).size === 0) rmSync(path);
      try {
        linkSync(draft, path);
        this.#onMade(file);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      } finally {
        rmSync(draft);
      }
      return readKeyFile(path).trim();
    });
  }

  /** Puts `content` into the file, whatever was in it. */
  write(file: string, content: string): void {
    const path = join(this.#path, file);
    guarded(path, () => {
      if (existsSync(path) && readFileSync(path, 'utf8') === content) {
        this.#restrict(path, 0o400);
        return;
      }
      renameSync(this.#draft(path, content), path);
      this.#onMade(file);
    });
  }

  #draft(path: string, content: string): string {
    const draft = `${path}.${process.pid}.new`;
    rmSync(draft, { force: true });
    const file = openSync(draft, 'wx', 0o600);
    try {
      writeSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    this.#restrict(draft, 0o400);
    return draft;
  }

  /** The group gets from the owner's rights what is not writing. */
  #restrict(path: string, mode: number): void {
    if (this.#gid === undefined) {
      chmodSync(path, mode);
      return;
    }
    // Only the group is changed: it may be the one thing that this process is permitted to change.
    chownSync(path, statSync(path).uid, this.#gid);
    chmodSync(path, mode | ((mode & 0o500) >> 3));
  }
}

/** The text of a file. Throws a FlowherdError `bad-file` that names it. */
export function readKeyFile(path: string): string {
  return guarded(path, () => readFileSync(path, 'utf8'));
}

function guarded<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof FlowherdError) throw error;
    throw new FlowherdError(errorCodes.badFile, `${path} cannot be made or read (${reasonOf(error)})`, error);
  }
}
