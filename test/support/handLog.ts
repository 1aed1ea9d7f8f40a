// The log of a group in the hands of a test: it appends commands and frames as members, operators and tier 1s would, and keeps the
// mirror of the view in the store as a member would. What the commands come to, a replica says that follows the log.

import { Replica } from '../../services/dssl/replica/replica.ts';
import type { Bus, KeyValue } from '../../shared/bus/bus.ts';
import type { Subjects } from '../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import { writeMirror } from '../../shared/config/store.ts';
import type { AppendOutcome, EntryKind, GroupLog, LogReader } from '../../shared/log/log.ts';
import { type Command, encodeCommand, operatorAuthor } from '../../shared/log/records/command.ts';
import type { View } from '../../shared/membership/view.ts';

/** A command without its epoch, which is the one in force. */
type Spoken<C> = C extends Command ? Omit<C, 'epoch'> : never;

export class HandLog {
  readonly #log: GroupLog;
  readonly #store: KeyValue;
  readonly #replica: Replica;
  #reader: LogReader | undefined;
  #waiting: { readonly position: number; readonly resolve: () => void }[] = [];
  #written: Promise<unknown> = Promise.resolve();

  private constructor(log: GroupLog, store: KeyValue) {
    this.#log = log;
    this.#store = store;
    this.#replica = new Replica({ group: log.group, self: { server: 'test', incarnation: 1 } });
  }

  /** Makes the log, with an epoch that begins empty. */
  static async begin(bus: Bus, subjects: Subjects, map: ClusterMap, group: string): Promise<HandLog> {
    const log = await bus.openLog(subjects.cluster, group, map.log);
    await log.make();
    const made = new HandLog(log, await bus.openKeyValue(subjects.bucket));
    made.#follow();
    const { placement, seed, rules } = map;
    const birth = { group, placement, seed, rules };
    const epoch = { id: 'by-hand', number: 1, previous: '', since: 0, donor: undefined, birth };
    await made.#append('command', encodeCommand({ kind: 'epoch', author: operatorAuthor, epoch: '', ...epoch }));
    return made;
  }

  /** The log of a group whose members do the rest: only for appending. */
  static async of(bus: Bus, subjects: Subjects, group: string): Promise<HandLog> {
    const log = await bus.openLog(subjects.cluster, group);
    return new HandLog(log, await bus.openKeyValue(subjects.bucket));
  }

  get view(): View {
    return this.#replica.view;
  }

  /** Resolves when it is in the log; where the log is followed here, when the store has the mirror. */
  command(command: Spoken<Command>): Promise<void> {
    return this.#append('command', encodeCommand({ ...command, epoch: this.#replica.epoch?.id ?? '' } as Command));
  }

  frame(bytes: Uint8Array): Promise<void> {
    return this.#append('frame', bytes);
  }

  stop(): void {
    this.#reader?.stop();
  }

  async #append(kind: EntryKind, bytes: Uint8Array): Promise<void> {
    const outcome = await new Promise<AppendOutcome>((resolve) => this.#log.append(kind, bytes, resolve));
    if (outcome.kind !== 'stored') throw new Error(`the log did not take a ${kind}: ${outcome.reason}`);
    const { position } = outcome;
    if (this.#reader === undefined) return;
    if (this.#replica.position < position) {
      await new Promise<void>((resolve) => this.#waiting.push({ position, resolve }));
    }
    await this.#written;
  }

  #follow(): void {
    this.#reader = this.#log.read(
      { after: 0 },
      {
        onEntry: (entry) => {
          const { viewChanged } = this.#replica.apply(entry);
          if (viewChanged) this.#mirror(entry.position);
          this.#waiting = this.#waiting.filter(({ position, resolve }) => {
            if (position > entry.position) return true;
            resolve();
            return false;
          });
        },
        onBroken: (reason) => {
          throw new Error(`the log of ${this.#log.group} is ${reason}`);
        },
      },
    );
  }

  #mirror(position: number): void {
    const { epoch, view } = this.#replica;
    if (epoch === undefined) return;
    const { number, id } = epoch;
    this.#written = this.#written.then(() => writeMirror(this.#store, { epoch: { number, id }, position, view }));
  }
}
