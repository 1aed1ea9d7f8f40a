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
  test(`transcripts - ${file.replace('.txt', '')}`, async () => {
    const path = join(folder, file);
    const expected = readFileSync(path, 'utf8');
    assert.ok(expected.startsWith('# '), `${file} does not open with what it shows`);
    const actual = await playTranscript(expected);
    if (isRewriting) writeFileSync(path, actual);
    else
      assert.equal(
        actual,
        expected,
        `test/transcripts/${file} reads otherwise now. Is that meant? TRANSCRIPTS=rewrite node --test test/transcripts.test.ts`,
      );
  });
}

test('transcripts - a transcript that says something else than happens is noticed', async () => {
  const text = '# A group.\ngroup a b\n----\nview 4: a active, b draining\n\nsend syn 1\n----\nnobody gets 1\n';
  const actual = await playTranscript(text);
  const [about, packet] = readTranscript(actual);
  assert.deepEqual(about.output, ['view 4: a active, b active']);
  assert.match(packet.output[0], /^[ab] gets 1$/);
  assert.notEqual(actual, text);
});

test('transcripts - a command that does not exist is a mistake, not an empty answer', async () => {
  await assert.rejects(playTranscript('sned syn 1\n'), /no command "sned"/);
});

async function playTranscript(text: string): Promise<string> {
  const script = new GroupScript();
  try {
    return await runTranscript(text, (command) => script.run(command));
  } finally {
    script.stop();
  }
}
