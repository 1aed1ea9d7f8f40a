// Golden transcripts: set pieces of the protocol that a person can read, each checked against the production cores. The
// commands are in test/support/groupScript.ts.
//
// When a change of behaviour is meant, TRANSCRIPTS=rewrite node --test test/transcripts.test.ts writes the files anew;
// read the difference as you would read the change itself.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GroupScript } from './support/groupScript.ts';
import { readTranscript, runTranscript } from './support/transcript.ts';

const folder = join(import.meta.dirname, 'transcripts');
const isRewriting = process.env.TRANSCRIPTS === 'rewrite';

for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt'))) {
  test(`transcripts - ${file.replace('.txt', '')}`, () => {
    const path = join(folder, file);
    const expected = readFileSync(path, 'utf8');
    assert.ok(expected.startsWith('# '), `${file} does not open with what it shows`);
    const script = new GroupScript();
    const actual = runTranscript(expected, (command) => script.run(command));
    if (isRewriting) writeFileSync(path, actual);
    else
      assert.equal(
        actual,
        expected,
        `test/transcripts/${file} reads otherwise now. Is that meant? TRANSCRIPTS=rewrite node --test test/transcripts.test.ts`,
      );
  });
}

test('transcripts - a transcript that says something else than happens is noticed', () => {
  const text = '# A group.\ngroup a b\n----\nview 3: a active, b active\n\npacket 1 syn\n----\n1 syn: nobody\n';
  const script = new GroupScript();
  const actual = runTranscript(text, (command) => script.run(command));
  const [about, packet] = readTranscript(actual);
  assert.deepEqual(about.output, ['view 3: a active, b active']);
  assert.match(packet.output[0], /^1 syn: a \w+, b \w+$/);
  assert.notEqual(actual, text);
});

test('transcripts - a command that does not exist is a mistake, not an empty answer', () => {
  assert.throws(() => new GroupScript().run('sned 1 syn'), /no command "sned"/);
});
