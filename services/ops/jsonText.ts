// JSON that people wrote: where exactly it stops being JSON, in words, which the platform's parser tells only sometimes.
// A name that is there twice is a mistake too; the parser would take the last one and say nothing.

export interface JsonFault {
  /** Both count from 1; columns are characters. */
  readonly line: number;
  readonly column: number;
  readonly reason: string;
}

type Wanted = 'value' | 'value or ]' | 'name' | 'name or }' | 'colon' | 'comma' | 'nothing';

const inWords: Record<Wanted, string> = {
  value: 'a value is wanted',
  'value or ]': 'a value or ] is wanted',
  name: 'a name in double quotes is wanted',
  'name or }': 'a name in double quotes or } is wanted',
  colon: 'a colon is wanted',
  comma: 'a comma is wanted, or the closing bracket',
  nothing: 'nothing more is wanted',
};

const blank = /[ \t\r\n]*/y;
const token =
  /[{}[\]:,]|"(?:[^"\\\r\n]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)/y;

/** The first fault, or undefined when the text is JSON without repeated names. */
export function faultIn(text: string): JsonFault | undefined {
  /** The names so far of each open object; undefined for a list. */
  const open: (Set<string> | undefined)[] = [];
  let wanted: Wanted = 'value';
  for (let at = 0; ; ) {
    blank.lastIndex = at;
    blank.exec(text);
    at = blank.lastIndex;
    if (at >= text.length)
      return wanted === 'nothing' ? undefined : faultAt(text, at, `it ends, but ${inWords[wanted]}`);
    token.lastIndex = at;
    const found = token.exec(text)?.[0];
    if (found?.startsWith('"') && textOf(found) === undefined) {
      return faultAt(
        text,
        at,
        'this is no string: control characters are written as \\t or \\u0009, a backslash as \\\\',
      );
    }
    const names = open.at(-1);
    let next: Wanted | undefined;
    if (found === undefined) next = undefined;
    else if (found === '}' || found === ']') {
      const mayEnd = wanted === 'comma' || wanted === `${found === '}' ? 'name' : 'value'} or ${found}`;
      if (mayEnd && open.length > 0 && (names !== undefined) === (found === '}')) {
        open.pop();
        next = open.length === 0 ? 'nothing' : 'comma';
      }
    } else if (found === ',') {
      if (wanted === 'comma') next = names === undefined ? 'value' : 'name';
    } else if (found === ':') {
      if (wanted === 'colon') next = 'value';
    } else if (wanted === 'name' || wanted === 'name or }') {
      if (found.startsWith('"')) {
        const name = textOf(found) ?? '';
        if (names?.has(name)) return faultAt(text, at, `${found} is there twice`);
        names?.add(name);
        next = 'colon';
      }
    } else if (wanted === 'value' || wanted === 'value or ]') {
      if (found === '{' || found === '[') {
        open.push(found === '{' ? new Set() : undefined);
        next = found === '{' ? 'name or }' : 'value or ]';
      } else {
        next = open.length === 0 ? 'nothing' : 'comma';
      }
    }
    if (next === undefined) return faultAt(text, at, inWords[wanted]);
    wanted = next;
    at += found?.length ?? 0;
  }
}

/** What a string says; undefined when it is not one of JSON's. */
function textOf(token: string): string | undefined {
  try {
    return String(JSON.parse(token));
  } catch {
    return undefined;
  }
}

function faultAt(text: string, at: number, reason: string): JsonFault {
  const before = text.slice(0, at);
  return { line: before.split('\n').length, column: at - before.lastIndexOf('\n'), reason };
}
