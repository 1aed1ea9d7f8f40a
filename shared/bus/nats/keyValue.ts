// The key-value store over NATS JetStream. A bucket is a stream `KV_<bucket>` that keeps the last messages of each of
// its subjects `$KV.<bucket>.<key>`; a write names the sequence it expects to be the subject's last, and JetStream
// refuses it when somebody was first. That is the whole of compare-and-set, and what view numbers rest on. The layout is
// the common one (NATS ADR-8), so `nats kv` can look inside.
//
// This speaks JetStream's JSON requests itself. Three things need that: reads go through the leader
// (STREAM.MSG.GET; a direct get may be served by a follower that is behind), a store that was emptied is recognised by the
// stream's time of creation, and a watch that picks up where it was (natsWatch.ts).
//
// Permissions a reader needs, for B = KV_<bucket>: publish to $JS.API.STREAM.INFO.B, $JS.API.STREAM.MSG.GET.B,
// $JS.API.CONSUMER.CREATE.B and below it, and to subscribe under its inbox prefix. A writer also publishes to $KV.<bucket>.>;
// who creates the bucket also to $JS.API.STREAM.CREATE.B.

import type { Clock } from '../../base/clock.ts';
import { errorCodes, FlowherdError, isFlowherdError } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import type { BucketInfo, BusStatus, KeyValue, KeyValueEntry } from '../bus.ts';
import { assertRevision, assertValueSize } from '../memoryKeyValue.ts';
import { assertKey, assertPattern } from '../subjectMatch.ts';
import { NatsWatch } from './watch.ts';

/** One message at an inbox. `status` is 0, or the code of a message without content (100 is a heartbeat). */
export interface WireMessage {
  readonly subject: string;
  readonly reply: string;
  readonly data: Uint8Array;
  readonly status: number;
  header(name: string): string;
}

/** What the store needs of the connection. */
export interface JetStreamWire {
  readonly clock: Clock;
  readonly maxValueBytes: number;
  /** Set to false by the first refusal: asking again would only fill logs. */
  mayCreate: boolean;
  readonly storage: 'file' | 'memory';
  readonly replicas: number;
  /** Rejects with a FlowherdError in bounded time. */
  request(subject: string, payload: Uint8Array, header?: readonly [string, string]): Promise<Uint8Array>;
  inbox(handler: (message: WireMessage) => void): { subject: string; close(): void };
  report(status: BusStatus): void;
  handlerFailed(subject: string, error: unknown): void;
}

/** What a stream says of itself. */
export interface StreamState {
  /** When it was created: another time is another life of the store. */
  readonly created: string;
  readonly lastRevision: number;
}

export class NatsKeyValue implements KeyValue {
  readonly #wire: JetStreamWire;
  readonly #bucket: string;
  readonly #watches = new Set<NatsWatch>();
  #created: string | undefined;
  #info: BucketInfo | undefined;

  constructor(wire: JetStreamWire, bucket: string) {
    this.#wire = wire;
    this.#bucket = bucket;
  }

  get stream(): string {
    return `KV_${this.#bucket}`;
  }

  get bucket(): BucketInfo {
    if (this.#info === undefined) throw new FlowherdError(errorCodes.badState, `${this.#bucket} was not opened`);
    return this.#info;
  }

  /** Finds the bucket, or creates it where that is allowed. Reports a store that is not the one seen before. */
  async open(): Promise<StreamState> {
    let answer = await this.#api(`STREAM.INFO.${this.stream}`, {});
    let isMadeHere = false;
    if (errorOf(answer) === apiErrors.streamNotFound) {
      answer = await this.#make();
      isMadeHere = errorOf(answer) === 0;
      // Somebody else created it meanwhile, with other settings: theirs count.
      if (errorOf(answer) === apiErrors.streamNameInUse) answer = await this.#api(`STREAM.INFO.${this.stream}`, {});
    }
    this.#assertNoError(answer, 'opening the bucket');
    const { config, created, state } = answer as StreamInfo;
    if (config.max_msgs_per_subject > 0 && config.max_msgs_per_subject < limits.viewHistory) {
      const kept = config.max_msgs_per_subject;
      const text = `the key-value bucket ${this.#bucket} keeps ${kept} revisions of a key; create it with a history of ${limits.viewHistory}`;
      throw new FlowherdError(errorCodes.badConfig, text);
    }
    this.#seen(created, 'the bucket was made anew');
    this.#info = { created: isMadeHere, storage: config.storage, replicas: config.num_replicas };
    return { created, lastRevision: state.last_seq };
  }

  async get(key: string): Promise<KeyValueEntry | undefined> {
    const stored = await this.#last(key);
    return stored === undefined || stored.deleted ? undefined : stored.entry;
  }

  async history(key: string): Promise<KeyValueEntry[]> {
    assertKey(key);
    const entries: KeyValueEntry[] = [];
    for (let from = 1; entries.length < limits.viewHistory; ) {
      const stored = await this.#read({ seq: from, next_by_subj: this.#subject(key) });
      if (stored === undefined) break;
      if (!stored.deleted) entries.push(stored.entry);
      from = stored.entry.revision + 1;
    }
    return entries;
  }

  async create(key: string, value: Uint8Array): Promise<number | undefined> {
    const revision = await this.#write(key, value, 0);
    if (revision !== undefined) return revision;
    // A key that another tool deleted leaves a marker behind, which the store counts as the key's last revision.
    const stored = await this.#last(key);
    return stored?.deleted === true ? this.#write(key, value, stored.entry.revision) : undefined;
  }

  async update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    assertRevision(revision);
    return this.#write(key, value, revision);
  }

  async watch(pattern: string, handler: (entry: KeyValueEntry) => void): Promise<() => void> {
    assertPattern(pattern);
    const watch = new NatsWatch({
      clock: this.#wire.clock,
      stream: this.stream,
      prefix: this.#subject(''),
      pattern,
      open: () => this.open(),
      createConsumer: (config) => this.#createConsumer(config),
      inbox: (onMessage) => this.#wire.inbox(onMessage),
      onEntry: (entry) => {
        try {
          handler(entry);
        } catch (error) {
          this.#wire.handlerFailed(entry.key, error);
        }
      },
    });
    this.#watches.add(watch);
    const stop = (): void => {
      this.#watches.delete(watch);
      watch.stop();
    };
    try {
      await watch.start();
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  /** The connection is back: watches must not wait until they miss a heartbeat. */
  reconnected(): void {
    for (const watch of this.#watches) watch.restart();
  }

  async destroy(): Promise<void> {
    this.close();
    const answer = await this.#api(`STREAM.DELETE.${this.stream}`, {});
    // It is gone: by another, with its server, or by this request, when its answer was lost and it was sent again.
    if (errorOf(answer) === apiErrors.streamNotFound) return;
    this.#assertNoError(answer, 'removing the bucket');
  }

  /** Ends the watches. */
  close(): void {
    for (const watch of this.#watches) watch.stop();
    this.#watches.clear();
  }

  /** Makes the bucket. A login that may not is told apart from one that failed: whoever may has to come first. */
  async #make(): Promise<object> {
    let refusal: unknown;
    if (this.#wire.mayCreate) {
      try {
        return await this.#api(`STREAM.CREATE.${this.stream}`, this.#streamConfig());
      } catch (error) {
        if (!isFlowherdError(error, errorCodes.busRefused)) throw error;
        this.#wire.mayCreate = false;
        refusal = error;
      }
    }
    this.#seen('', 'the bucket does not exist');
    const text = `the key-value bucket ${this.#bucket} does not exist, and this login may not create it`;
    throw new FlowherdError(errorCodes.storeMissing, text, refusal);
  }

  #seen(created: string, reason: string): void {
    const before = this.#created;
    this.#created = created;
    if (before === undefined || before === created || before === '') return;
    this.#wire.report({ kind: 'storeReset', bucket: this.#bucket, reason });
  }

  #last(key: string): Promise<Stored | undefined> {
    assertKey(key);
    return this.#read({ last_by_subj: this.#subject(key) });
  }

  async #read(query: object): Promise<Stored | undefined> {
    const ask = () => this.#api(`STREAM.MSG.GET.${this.stream}`, query);
    let answer = await ask();
    if (errorOf(answer) === apiErrors.streamNotFound) {
      await this.open();
      answer = await ask();
    }
    if (errorOf(answer) === apiErrors.messageNotFound) return undefined;
    this.#assertNoError(answer, 'reading');
    const { message } = answer as { message: { subject: string; seq: number; data?: string; hdrs?: string } };
    const key = message.subject.slice(this.#subject('').length);
    const value = new Uint8Array(Buffer.from(message.data ?? '', 'base64'));
    return {
      entry: { key, value, revision: message.seq },
      deleted: isDeletion(Buffer.from(message.hdrs ?? '', 'base64').toString('latin1')),
    };
  }

  async #write(key: string, value: Uint8Array, expected: number): Promise<number | undefined> {
    assertKey(key);
    assertValueSize(key, value, this.#wire.maxValueBytes);
    const send = () => this.#wire.request(this.#subject(key), value, [expectedHeader, String(expected)]);
    let bytes: Uint8Array;
    try {
      bytes = await send();
    } catch (error) {
      // Nobody listens where the stream should: it is missing, or JetStream is. open() tells, and may help.
      if (!isFlowherdError(error, errorCodes.storeUnavailable)) throw error;
      await this.open();
      bytes = await send();
    }
    const answer = parseAnswer(bytes);
    const code = errorOf(answer);
    if (code === apiErrors.wrongLastSequence || code === apiErrors.wrongLastSequenceInFlight) return undefined;
    this.#assertNoError(answer, `writing ${key}`);
    return (answer as { seq: number }).seq;
  }

  async #createConsumer(config: object): Promise<number> {
    const answer = await this.#api(`CONSUMER.CREATE.${this.stream}`, { stream_name: this.stream, config });
    this.#assertNoError(answer, 'watching');
    const info = answer as { num_pending: number; delivered: { consumer_seq: number } };
    return info.num_pending + info.delivered.consumer_seq;
  }

  async #api(what: string, body: object): Promise<object> {
    return parseAnswer(await this.#wire.request(`$JS.API.${what}`, Buffer.from(JSON.stringify(body))));
  }

  #subject(key: string): string {
    return `$KV.${this.#bucket}.${key}`;
  }

  #streamConfig(): object {
    return {
      name: this.stream,
      subjects: [this.#subject('>')],
      retention: 'limits',
      max_msgs_per_subject: limits.viewHistory,
      max_consumers: -1,
      max_msgs: -1,
      max_bytes: -1,
      discard: 'new',
      storage: this.#wire.storage,
      num_replicas: this.#wire.replicas,
      // With roll-ups, whoever may write one key could wipe out all others.
      allow_rollup_hdrs: false,
      deny_delete: true,
      allow_direct: false,
    };
  }

  #assertNoError(answer: object, doing: string): void {
    const code = errorOf(answer);
    if (code === 0) return;
    const { description } = (answer as ApiError).error;
    const codeOfOurs =
      code === apiErrors.notEnabled || code === apiErrors.notEnabledForAccount || code === apiErrors.noLeader
        ? errorCodes.storeUnavailable
        : errorCodes.storeFailed;
    throw new FlowherdError(
      codeOfOurs,
      `key-value bucket ${this.#bucket}, ${doing}: ${description} (JetStream ${code})`,
    );
  }
}

interface Stored {
  readonly entry: KeyValueEntry;
  /** Another tool deleted the key; this is the marker it left. */
  readonly deleted: boolean;
}

interface ApiError {
  error: { code: number; err_code?: number; description: string };
}

interface StreamInfo {
  config: { max_msgs_per_subject: number; storage: 'file' | 'memory'; num_replicas: number };
  created: string;
  state: { last_seq: number };
}

const expectedHeader = 'Nats-Expected-Last-Subject-Sequence';

/** JetStream's error numbers that mean something to us (server/errors.json of nats-server). */
const apiErrors = {
  noLeader: 10008,
  messageNotFound: 10037,
  notEnabledForAccount: 10039,
  streamNameInUse: 10058,
  streamNotFound: 10059,
  wrongLastSequence: 10071,
  notEnabled: 10076,
  /** The same, in a replicated stream, while the write that was first is still on its way. */
  wrongLastSequenceInFlight: 10164,
} as const;

/** True when a message's headers (or one header's value) mark a key as deleted. */
export function isDeletion(headers: string): boolean {
  return /KV-Operation: *(DEL|PURGE)/i.test(headers);
}

/** The error number of an answer, 0 when it is not an error. */
function errorOf(answer: object): number {
  if (!('error' in answer)) return 0;
  const { error } = answer as ApiError;
  return error.err_code ?? error.code;
}

function parseAnswer(bytes: Uint8Array): object {
  try {
    const answer: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof answer === 'object' && answer !== null) return answer;
  } catch {
    // said below
  }
  throw new FlowherdError(errorCodes.storeFailed, 'the key-value store answered with something that is not JSON');
}
