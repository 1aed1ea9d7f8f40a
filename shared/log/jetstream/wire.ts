// What JetStream writes on the line, read without garbage: where an entry stands is told in the subject to which an
// acknowledgement of it would go, and what became of an append in a small JSON text. Both come with every frame, so they are read by hand.
//
//   $JS.ACK.<stream>.<consumer>.<deliveries>.<position>.<consumer sequence>.<time ns>.<pending>
//   $JS.ACK.<domain>.<account>.<stream>.<consumer>.<deliveries>.<position>...<pending>[.<token>]      (NATS ADR-15)
//
//   {"stream":"fh_c_g","seq":42}     {"error":{"code":503,"err_code":10077,"description":"..."},"stream":"fh_c_g","seq":0}
//
// Nothing here throws: what cannot be read is undefined.

const dot = 46;
const zero = 48;

/** Reads the reply subjects of one consumer; make another one for the next. The fields are those of the last `read` that returned true. */
export class ReplyReader {
  position = 0;
  sequence = 0;
  timeMs = 0;
  timeNs = 0;
  pending = 0;
  #at = 0;
  /** Where the position begins: names do not change in the life of a consumer, and each entry is delivered once. */
  #start = 0;

  /** False when this is no such subject. */
  read(reply: string): boolean {
    if (this.#start === 0) this.#start = startOf(reply);
    if (this.#start === 0 || reply.charCodeAt(this.#start - 1) !== dot) return false;
    this.#at = this.#start;
    this.position = this.#number(reply);
    this.sequence = this.#number(reply);
    const end = reply.indexOf('.', this.#at);
    // Nanoseconds since 1970 have 19 digits, more than a number holds.
    if (end - this.#at < 7) return false;
    this.timeMs = digits(reply, this.#at, end - 6);
    this.timeNs = digits(reply, end - 6, end);
    this.#at = end + 1;
    this.pending = this.#number(reply);
    return this.position > 0 && this.sequence > 0 && this.timeMs >= 0 && this.timeNs >= 0 && this.pending >= 0;
  }

  /** The number up to the next dot or the end; -1 when it is none. */
  #number(reply: string): number {
    const next = reply.indexOf('.', this.#at);
    const end = next < 0 ? reply.length : next;
    const value = digits(reply, this.#at, end);
    this.#at = end + 1;
    return value;
  }
}

function digits(text: string, from: number, to: number): number {
  if (to <= from || to - from > 15) return -1;
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = text.charCodeAt(at) - zero;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** The index of the position in a reply subject, 0 when it is none. */
function startOf(reply: string): number {
  if (!reply.startsWith('$JS.ACK.')) return 0;
  const tokens = reply.split('.');
  const first = tokens.length === 9 ? 5 : tokens.length >= 11 ? 7 : 0;
  return first === 0 ? 0 : tokens.slice(0, first).join('.').length + 1;
}

/** The number at the end of an acknowledgement's subject, behind `prefixLength` characters; -1 when there is none. */
export function tokenOf(subject: string, prefixLength: number): number {
  return digits(subject, prefixLength, subject.length);
}

const seqName = Buffer.from('"seq":');
const errorStart = Buffer.from('{"error"');

/** Where an append was stored; 0 when the answer says something else. */
export function storedPosition(answer: Uint8Array): number {
  if (startsWith(answer, errorStart, 0)) return 0;
  for (let at = 1; at + seqName.length < answer.length; at++) {
    if (answer[at] !== seqName[0] || !startsWith(answer, seqName, at)) continue;
    let position = 0;
    for (let next = at + seqName.length; answer[next] >= zero && answer[next] <= zero + 9; next++)
      position = position * 10 + (answer[next] - zero);
    return Number.isSafeInteger(position) ? position : 0;
  }
  return 0;
}

function startsWith(bytes: Uint8Array, what: Uint8Array, from: number): boolean {
  for (let at = 0; at < what.length; at++) if (bytes[from + at] !== what[at]) return false;
  return true;
}

/** What an answer of the server gives as the reason; '' when it is no error. */
export function errorReason(answer: Uint8Array): string {
  const error = errorOf(parseJson(answer));
  return error === undefined ? '' : `${error.description} (JetStream ${error.code})`;
}

export interface ApiError {
  /** JetStream's own number where there is one, else that of the kind of HTTP. */
  readonly code: number;
  readonly description: string;
}

/** The error in an answer, undefined when it is none. */
export function errorOf(answer: unknown): ApiError | undefined {
  if (!isObject(answer) || !isObject(answer.error)) return undefined;
  const { code, err_code: own, description } = answer.error;
  return { code: Number(own ?? code), description: String(description ?? 'no description') };
}

/** The JSON in an answer; undefined when there is none. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

/** A time as JetStream's JSON has it, `2026-11-30T16:05:11.123456789Z`, in the two parts of an entry's stamp. */
export function stampOf(text: string): { timeMs: number; timeNs: number } | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  const seconds = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`);
  if (match === null || Number.isNaN(seconds)) return undefined;
  const fraction = (match[2] ?? '').padEnd(9, '0');
  return { timeMs: seconds + Number(fraction.slice(0, 3)), timeNs: Number(fraction.slice(3)) };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
