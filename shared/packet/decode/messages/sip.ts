// SIP (RFC 3261): finds the Call-ID of the message that a datagram or a TCP segment begins with.
//
// A message is known by its first line and not by a port: `INVITE sip:bob@example.org SIP/2.0` or `SIP/2.0 200 OK`. Header
// fields follow, a line each, in any order and any case; white space may stand before the colon, and a value may go on in lines
// that begin with white space (section 7.3.1). `i` is short for Call-ID. Its value is compared byte by byte (section 20.8).
//
// How far is looked is bounded in bytes and lines. What is cut before the Call-ID ends has none: another copy of the message
// may have been cut elsewhere.

const limits = { bytes: 4096, lines: 128, blankBytes: 8, methodBytes: 32 } as const;

const LF = 10;
const CR = 13;
const TAB = 9;
const SPACE = 32;
const COLON = 58;

const version = textBytes('sip/2.0');
const callId = textBytes('call-id');
const compactCallId = textBytes('i');

/** One message at a time. */
export class SipCallId {
  /** The value, without white space around it. */
  offset = 0;
  length = 0;

  /** Finds the Call-ID of the message at `start`. False where there is no message, or none in it. */
  find(buffer: Uint8Array, start: number, end: number): boolean {
    const stop = Math.min(end, start + limits.bytes);
    // Empty lines may come before it (section 7.5).
    let at = start;
    while (at < stop && at - start < limits.blankBytes && (buffer[at] === CR || buffer[at] === LF)) at++;
    if (!beginsMessage(buffer, at, stop)) return false;
    at = nextLine(buffer, at, stop);
    for (let line = 0; line < limits.lines && at < stop; line++) {
      if (buffer[at] === CR || buffer[at] === LF) return false;
      const value = callIdAt(buffer, at, stop);
      if (value >= 0) return this.#take(buffer, value, stop);
      at = nextLine(buffer, at, stop);
    }
    return false;
  }

  #take(buffer: Uint8Array, from: number, stop: number): boolean {
    let at = skipWhiteSpace(buffer, from, stop);
    this.offset = at;
    while (at < stop && buffer[at] > SPACE) at++;
    this.length = at - this.offset;
    return at < stop && this.length > 0;
  }
}

/** Whether the line at `at` is a status line, or a request line with that version at its end. */
function beginsMessage(buffer: Uint8Array, at: number, stop: number): boolean {
  if (matches(buffer, at, stop, version)) return buffer[at + version.length] === SPACE && at + version.length < stop;
  let method = at;
  while (method < stop && method - at <= limits.methodBytes && isToken(buffer[method])) method++;
  if (method === at || method === stop || buffer[method] !== SPACE) return false;
  let end = method;
  while (end < stop && buffer[end] !== LF) end++;
  if (end === stop) return false;
  if (buffer[end - 1] === CR) end--;
  const from = end - version.length;
  return from - 1 > method && buffer[from - 1] === SPACE && matches(buffer, from, end, version);
}

/** Behind the colon, if the line at `at` is a Call-ID, else -1. */
function callIdAt(buffer: Uint8Array, at: number, stop: number): number {
  const isLong = matches(buffer, at, stop, callId);
  if (!isLong && !matches(buffer, at, stop, compactCallId)) return -1;
  let colon = at + (isLong ? callId : compactCallId).length;
  while (colon < stop && (buffer[colon] === SPACE || buffer[colon] === TAB)) colon++;
  return colon < stop && buffer[colon] === COLON ? colon + 1 : -1;
}

/** Steps over blanks, and over line ends with a blank behind them. */
function skipWhiteSpace(buffer: Uint8Array, from: number, stop: number): number {
  let at = from;
  while (at < stop) {
    if (buffer[at] === SPACE || buffer[at] === TAB) {
      at++;
      continue;
    }
    const lineEnd = buffer[at] === CR ? at + 1 : at;
    const isFolded = lineEnd + 1 < stop && buffer[lineEnd] === LF && isBlank(buffer[lineEnd + 1]);
    if (!isFolded) return at;
    at = lineEnd + 2;
  }
  return at;
}

function nextLine(buffer: Uint8Array, from: number, stop: number): number {
  let at = from;
  while (at < stop && buffer[at] !== LF) at++;
  return at + 1;
}

/** Whether these lower-case letters and signs stand at `at`, in any case. */
function matches(buffer: Uint8Array, at: number, stop: number, text: Uint8Array): boolean {
  if (stop - at < text.length) return false;
  for (let index = 0; index < text.length; index++) {
    const byte = buffer[at + index];
    if ((byte >= 65 && byte <= 90 ? byte | 32 : byte) !== text[index]) return false;
  }
  return true;
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

/** Letters, digits, and the signs of RFC 3261 section 25.1. */
function isToken(byte: number): boolean {
  if ((byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122)) return true;
  return signs.includes(byte);
}

const signs = textBytes("-.!%*_+`'~");

function textBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
