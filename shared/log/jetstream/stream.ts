// The stream behind a group's log: making it, what it holds, single entries. These are JetStream's own JSON requests; entries and
// appends do not go this way.
//
// Permissions, for S = fh_<cluster>_<group>. To read: publish to $JS.API.STREAM.INFO.S, $JS.API.STREAM.MSG.GET.S,
// $JS.API.CONSUMER.CREATE.S and $JS.FC.S.>, subscribe under the inbox prefix. To append: publish to
// fh.<cluster>.log.<group>.frame and .command, subscribe under the inbox prefix. To make it: publish to
// $JS.API.STREAM.INFO.S, $JS.API.STREAM.CREATE.S, $JS.API.STREAM.UPDATE.S; to remove it: $JS.API.STREAM.DELETE.S.

import { errorCodes, FlowherdError } from '../../base/errors.ts';
import { type EntryKind, entryKinds, type LogBounds, type LogEntry, type LogSettings } from '../log.ts';
import type { LogConnection } from './connection.ts';
import { type ApiError, errorOf, isObject, parseJson, stampOf } from './wire.ts';

/** JetStream's error numbers that mean something to us (server/errors.json of nats-server). */
const apiErrors = {
  noLeader: 10008,
  messageNotFound: 10037,
  notEnabledForAccount: 10039,
  streamNameInUse: 10058,
  streamNotFound: 10059,
  notEnabled: 10076,
} as const;

/** What is used of a stream's configuration; the rest is handed back to the server as it came. */
interface StreamConfig {
  readonly subjects: readonly string[];
  readonly max_age: number;
  readonly max_bytes: number;
  readonly num_replicas: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * In the stream's metadata: a name of its own for each life. It also makes the configurations of two who make the stream at once
 * differ, so that the server tells one of them that he was late.
 */
const lifeKey = 'flowherd_life';

export interface StreamBounds extends LogBounds {
  readonly replicas: number;
}

const nanosecondsPerMs = 1_000_000;

export class LogStream {
  readonly name: string;
  readonly #connection: LogConnection;
  /** `fh.<cluster>.log.<group>`. */
  readonly #subject: string;

  constructor(connection: LogConnection, name: string, subject: string) {
    this.#connection = connection;
    this.name = name;
    this.#subject = subject;
  }

  /** True when this call made it. Where it was there, what it keeps is set to the settings, if that is permitted. */
  async make(settings: LogSettings, maxEntryBytes: number): Promise<boolean> {
    const answer = await this.#api('STREAM.INFO');
    if (errorOf(answer)?.code !== apiErrors.streamNotFound) {
      await this.#adapt(this.#configOf(answer), settings);
      return false;
    }
    const made = await this.#api('STREAM.CREATE', this.#newConfig(settings, maxEntryBytes));
    // Somebody else made it meanwhile, with other settings: theirs count.
    if (errorOf(made)?.code === apiErrors.streamNameInUse) return false;
    this.#assertNoError(made, 'making it');
    return true;
  }

  /** Undefined when there is no such stream. */
  async bounds(): Promise<StreamBounds | undefined> {
    const answer = await this.#api('STREAM.INFO');
    if (errorOf(answer)?.code === apiErrors.streamNotFound) return undefined;
    const { num_replicas: replicas, metadata } = this.#configOf(answer);
    const state = isObject(answer.state) ? answer.state : {};
    const last = Number(state.last_seq);
    const first = Number(state.messages) === 0 ? last + 1 : Number(state.first_seq);
    const identity = `${answer.created} ${metadata?.[lifeKey] ?? ''}`;
    if (!Number.isSafeInteger(last) || !Number.isSafeInteger(first)) throw this.#strange('its state');
    return { identity, first, last, replicas };
  }

  /** Read through the leader, never from a follower that may be behind. */
  async get(position: number): Promise<LogEntry | undefined> {
    if (position < 1) {
      if ((await this.bounds()) === undefined) throw this.missing();
      return undefined;
    }
    const answer = await this.#api('STREAM.MSG.GET', { seq: position });
    const code = errorOf(answer)?.code;
    if (code === apiErrors.messageNotFound) return undefined;
    if (code === apiErrors.streamNotFound) throw this.missing();
    this.#assertNoError(answer, `reading entry ${position}`);
    const message = isObject(answer.message) ? answer.message : {};
    const kind = kindOf(String(message.subject));
    const stamp = stampOf(String(message.time));
    if (kind === undefined || stamp === undefined) throw this.#strange(`entry ${position}`);
    const data = new Uint8Array(Buffer.from(typeof message.data === 'string' ? message.data : '', 'base64'));
    return { position, ...stamp, kind, data };
  }

  /**
   * An ephemeral consumer that pushes what lies behind `after`, of these kinds or all. Resolves to how many entries that are; undefined: no
   * stream.
   */
  async consume(
    inbox: string,
    after: number,
    heartbeatMs: number,
    kinds?: readonly EntryKind[],
  ): Promise<number | undefined> {
    const config = {
      deliver_subject: inbox,
      deliver_policy: 'by_start_sequence',
      opt_start_seq: after + 1,
      ack_policy: 'none',
      replay_policy: 'instant',
      mem_storage: true,
      num_replicas: 1,
      flow_control: true,
      idle_heartbeat: heartbeatMs * nanosecondsPerMs,
      ...(kinds === undefined ? {} : { filter_subjects: kinds.map((kind) => `${this.#subject}.${kind}`) }),
    };
    const answer = await this.#api('CONSUMER.CREATE', { stream_name: this.name, config });
    if (errorOf(answer)?.code === apiErrors.streamNotFound) return undefined;
    this.#assertNoError(answer, 'reading');
    return Number(answer.num_pending ?? 0);
  }

  async destroy(): Promise<void> {
    const answer = await this.#api('STREAM.DELETE');
    // It is gone: by another, with its server, or by this request, when its answer was lost and it was sent again.
    if (errorOf(answer)?.code === apiErrors.streamNotFound) return;
    this.#assertNoError(answer, 'removing it');
  }

  missing(): FlowherdError {
    return new FlowherdError(errorCodes.logMissing, `there is no log ${this.name}, or not any more`);
  }

  async #adapt(config: StreamConfig, { retention, replicas }: LogSettings): Promise<void> {
    const wanted = { max_age: retention.ageMs * nanosecondsPerMs, max_bytes: retention.bytes, num_replicas: replicas };
    const { max_age, max_bytes, num_replicas } = config;
    if (wanted.max_age === max_age && wanted.max_bytes === max_bytes && wanted.num_replicas === num_replicas) return;
    try {
      await this.#api('STREAM.UPDATE', { ...config, ...wanted, duplicate_window: 0 });
    } catch {
      // It works with other settings as well; whoever may change them will.
    }
  }

  #newConfig({ retention, storage, replicas }: LogSettings, maxEntryBytes: number): object {
    return {
      name: this.name,
      subjects: [`${this.#subject}.>`],
      retention: 'limits',
      discard: 'old',
      max_age: retention.ageMs * nanosecondsPerMs,
      max_bytes: retention.bytes,
      max_msgs: -1,
      max_msgs_per_subject: -1,
      max_consumers: -1,
      max_msg_size: maxEntryBytes,
      storage,
      num_replicas: replicas,
      duplicate_window: 0,
      allow_direct: true,
      allow_rollup_hdrs: false,
      // A hole in the middle would stop every reader.
      deny_delete: true,
      metadata: { [lifeKey]: this.#connection.newInbox() },
    };
  }

  /** Throws when the stream is for other subjects: names of streams of different clusters may be the same (subjects.ts). */
  #configOf(answer: Record<string, unknown>): StreamConfig {
    this.#assertNoError(answer, 'asking what it holds');
    const config = answer.config as StreamConfig;
    if (config.subjects?.includes(`${this.#subject}.>`)) return config;
    const text = `the stream ${this.name} is for ${config.subjects?.join(', ')}, not for ${this.#subject}.>: name the cluster or the group otherwise`;
    throw new FlowherdError(errorCodes.badConfig, text);
  }

  async #api(what: string, body?: object): Promise<Record<string, unknown>> {
    const payload = Buffer.from(body === undefined ? '' : JSON.stringify(body));
    const answer = parseJson(await this.#connection.request(`$JS.API.${what}.${this.name}`, payload));
    if (isObject(answer)) return answer;
    throw this.#strange('its answer');
  }

  #assertNoError(answer: object, doing: string): void {
    const error = errorOf(answer);
    if (error === undefined) return;
    const { code, description } = error;
    if (code === apiErrors.streamNotFound) throw this.missing();
    const text = `the log ${this.name}, ${doing}: ${description} (JetStream ${code})`;
    throw new FlowherdError(isUnavailable(error) ? errorCodes.storeUnavailable : errorCodes.storeFailed, text);
  }

  #strange(what: string): FlowherdError {
    return new FlowherdError(errorCodes.storeFailed, `the log ${this.name}: ${what} is not what it should be`);
  }
}

function isUnavailable({ code }: ApiError): boolean {
  return code === apiErrors.notEnabled || code === apiErrors.notEnabledForAccount || code === apiErrors.noLeader;
}

/** The kind of an entry, by the subject that it was appended on. */
export function kindOf(subject: string): EntryKind | undefined {
  for (const kind of entryKinds) if (subject.endsWith(kind) && subject.at(-kind.length - 1) === '.') return kind;
  return undefined;
}
