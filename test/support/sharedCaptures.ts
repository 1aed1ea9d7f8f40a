// Finds the collection of public captures that some tests compare against: other projects' captures, each with a table of
// what an independent dissector makes of every packet. The collection is not part of this repository. It is looked for where
// FLOWHERD_CAPTURES points, else in `shared/captures` beside the checkout. Without it those tests are skipped, and say so;
// in continuous integration (CI is set) its absence is a failure, so that they cannot be skipped for good unnoticed.

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';

/** One row of a table, by column name; an empty cell is ''. */
export type Row = Readonly<Record<string, string>>;

export interface SharedCapture {
  name: string;
  path: string;
  /** The capture's row of MANIFEST.tsv: packets, format, link_type, truncated_packets, … */
  manifest: Row;
  /** The oracle's rows, one a packet in file order: caplen, len, ts, ip_src, … */
  oracle(): Row[];
}

/** All captures of the collection; undefined, after telling the test to skip, where there is none. */
export function sharedCaptures(t: TestContext): SharedCapture[] | undefined {
  const folder = process.env.FLOWHERD_CAPTURES ?? resolve(import.meta.dirname, '../../../shared/captures');
  const manifest = join(folder, 'MANIFEST.tsv');
  if (!existsSync(manifest)) {
    const reason = 'the collection of public captures is not here: set FLOWHERD_CAPTURES to its folder';
    if (process.env.CI) throw new Error(reason);
    t.skip(reason);
    return undefined;
  }
  return readTable(manifest).map((row) => ({
    name: row.file,
    path: join(folder, row.file),
    manifest: row,
    oracle: () => readTable(join(folder, 'oracle', `${row.file}.tsv`)),
  }));
}

/**
 * The path of one of the small captures of packets that went wrong somewhere (`shared/cases`, or FLOWHERD_CASES); undefined,
 * after telling the test to skip, where they are not here.
 */
export function sharedCase(t: TestContext, name: string): string | undefined {
  const folder = process.env.FLOWHERD_CASES ?? resolve(import.meta.dirname, '../../../shared/cases');
  const path = join(folder, name);
  if (existsSync(path)) return path;
  const reason = `the capture ${name} is not here: set FLOWHERD_CASES to the folder of small captures`;
  if (process.env.CI) throw new Error(reason);
  t.skip(reason);
  return undefined;
}

/** Reads a tab-separated table with a header line, from `path` or `path.gz`. */
export function readTable(path: string): Row[] {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : gunzipSync(readFileSync(`${path}.gz`)).toString('utf8');
  const [header, ...lines] = text.split(/\r?\n/).filter((line) => line !== '');
  const columns = header.split('\t');
  return lines.map((line) => {
    const cells = line.split('\t');
    return Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? '']));
  });
}
