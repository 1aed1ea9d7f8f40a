// How a server gets its name. The same image started many times must give every container a name of its own, without
// anybody handing out names: `%h` stands for the host name, and without a name the host name gets a random ending.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { InvalidArgumentError, Option } from 'commander';
import { isName } from '../../../shared/bus/subjects.ts';

const longestName = 64;

/** `--server`, also from FLOWHERD_SERVER. Its value is a name, or empty, which is to mean the same as no value. */
export function serverOption(): Option {
  return new Option(
    '--server <name>',
    'name of the server, %h in it is the host name (default: host name and a random ending)',
  )
    .env('FLOWHERD_SERVER')
    .argParser((text: string) => {
      if (text === '') return text;
      const name = expandName(text, hostname());
      if (!isName(name)) throw new InvalidArgumentError('a name is 1 to 64 of the characters A-Z a-z 0-9 _ -, and %h');
      return name;
    });
}

/** A name that no other server has. */
export function uniqueServerName(): string {
  return expandName(`%h-${randomBytes(3).toString('hex')}`, hostname());
}

/** Puts the host's name in place of every %h: what names may not have becomes -, and what is too long is cut off. */
export function expandName(text: string, host: string): string {
  const parts = text.split('%h');
  if (parts.length === 1) return text;
  const room = Math.floor((longestName - parts.join('').length) / (parts.length - 1));
  const name = host.replace(/[^A-Za-z0-9_-]/g, '-').slice(0, Math.max(0, room));
  return parts.join(name === '' ? '-' : name);
}
