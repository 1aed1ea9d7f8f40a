// The format of golden transcripts: comments, then commands with their expected output behind `----`, an empty line, and
// so on.
//
//   # What the next commands show.
//   crash b
//   pass 1
//   ----
//   0.7 s  a removes b → view 7: a active
//
// Reading and writing lose nothing, so a transcript can be made anew and compared as a whole.

export interface Block {
  /** Comments above the commands, as they stand. */
  readonly comments: readonly string[];
  readonly commands: readonly string[];
  readonly output: readonly string[];
}

export function readTranscript(text: string): Block[] {
  return text
    .split(/\n{2,}/)
    .map((part) => part.split('\n').filter((line) => line !== ''))
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      const at = lines.indexOf('----');
      const above = at === -1 ? lines : lines.slice(0, at);
      return {
        comments: above.filter((line) => line.startsWith('#')),
        commands: above.filter((line) => !line.startsWith('#')),
        output: at === -1 ? [] : lines.slice(at + 1),
      };
    });
}

export function writeTranscript(blocks: readonly Block[]): string {
  const written = blocks.map(({ comments, commands, output }) =>
    [...comments, ...commands, ...(commands.length === 0 ? [] : ['----']), ...output].join('\n'),
  );
  return `${written.join('\n\n')}\n`;
}

/** The transcript as it comes out now: the same comments and commands, with what `run` answers to each command. */
export async function runTranscript(
  text: string,
  run: (command: string) => Promise<readonly string[]>,
): Promise<string> {
  const blocks: Block[] = [];
  for (const block of readTranscript(text)) {
    const output: string[] = [];
    for (const command of block.commands) output.push(...(await run(command)));
    const isQuiet = block.commands.length > 0 && output.length === 0;
    blocks.push({ ...block, output: isQuiet ? ['nothing to be seen'] : output });
  }
  return writeTranscript(blocks);
}
