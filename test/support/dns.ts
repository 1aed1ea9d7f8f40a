// The smallest DNS server there is: it answers every question for a TXT record with its own name and where the question
// came from, and knows nothing else (RFC 1035 section 4). And `dig`, where it is installed.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Received, UdpPeer } from './udp.ts';

const txt = 16;

export function serveDns(name: string): Promise<UdpPeer> {
  return UdpPeer.serve((received) => answerOf(name, received));
}

function answerOf(name: string, { data, port }: Received): Uint8Array | undefined {
  // Behind the header stands one question: labels, each with its length, up to an empty one; type; class.
  let end = 12;
  while (end < data.length && data[end] !== 0) end += data[end] + 1;
  end += 5;
  if (end > data.length) return undefined;
  const question = Buffer.from(data.subarray(12, end));
  const text = Buffer.from(`${name} ${port}`);
  const isKnown = question.readUInt16BE(question.length - 4) === txt;
  const header = Buffer.alloc(12);
  header.set(data.subarray(0, 2));
  // An answer, with authority, to one question; no such record otherwise.
  header.writeUInt16BE(isKnown ? 0x8400 : 0x8403, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(isKnown ? 1 : 0, 6);
  if (!isKnown) return Buffer.concat([header, question]);
  const record = Buffer.alloc(13);
  // The name of the question, by a pointer to it; type, class, time to live, length.
  record.writeUInt16BE(0xc00c, 0);
  record.writeUInt16BE(txt, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt16BE(text.length + 1, 10);
  record[12] = text.length;
  return Buffer.concat([header, question, record, text]);
}

/** For the `skip` option of a test: false where there is `dig` (or CI, so that its lack fails), else the reason. */
export function skipWithoutDig(): string | false {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const isThere = folders.some((folder) => existsSync(join(folder, 'dig')));
  return isThere || process.env.CI !== undefined ? false : 'no dig: install dnsutils (Debian) or bind-utils';
}

/** What `dig +short` prints for a TXT record; one try of a few seconds. */
export function dig(server: string, port: number, name: string): Promise<string> {
  const args = [`@${server}`, '-p', String(port), name, 'TXT', '+short', '+tries=1', '+time=5'];
  return new Promise((resolve, reject) => {
    execFile('dig', args, (error, stdout) => (error === null ? resolve(stdout.trim()) : reject(error)));
  });
}
