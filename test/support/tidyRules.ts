// The house rules as functions: a file's path and text in, complaints out, each saying what to do. They know nothing of
// the disk, so that each can be shown a bad snippet and must object (test/tidy.test.ts).
//
// A rule about code must not stumble over comments and strings, so `scan` blanks them first and keeps every character's
// place. It is a reader for this project's style, not a parser: regular expressions are told from divisions by what
// stands before them.

/** The parts of the project, by where a file lies, and the parts that each may import from. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'shared/': ['shared/'],
  'services/tier1/': ['services/tier1/', 'shared/'],
  'services/dssl/': ['services/dssl/', 'shared/'],
  'services/loadgen/': ['services/loadgen/', 'services/ops/', 'shared/'],
  'services/local/': ['services/', 'shared/'],
  'services/ops/': ['services/ops/', 'services/local/', 'services/cli/run/', 'services/dssl/', 'shared/'],
  'services/cli/': ['services/', 'shared/'],
  'deploy/': ['deploy/', 'services/dssl/egress/', 'shared/'],
  'test/': ['test/', 'services/', 'shared/', 'deploy/'],
};

/** Packages and built-in modules that only some files may import; those without an entry are for the shell and tests. */
const packageUsers: Readonly<Record<string, RegExp>> = {
  nats: /^shared\/(?:bus|store|log)\/(?:nats|jetstream)\/\w+\.ts$|^test\/(?:bench|shared\/log\/jetstream)\/[\w.]+\.ts$/,
  commander: /^services\/cli\/|^test\/sim\/main\.ts$/,
  pino: /^services\/cli\//,
  msgpackr:
    /^shared\/(?:log\/records\/\w+|messages\/(?:answers|delivery|hello|receipt)|membership\/(?:gossip|rebalance\/summary))\.ts$|^services\/dssl\/(?:replica|recovery)\/[\w/]+\.ts$|^test\//,
  zod: /^shared\/config\/settings\.ts$/,
  'fast-check': /^test\//,
  testcontainers: /^test\/deploy\//,
  'node:test': /^test\//,
};

/** Product code that may do I/O and wait. Everything else in services/ and shared/ is the pure core. */
const shell: readonly RegExp[] = [
  /^services\/(?:cli|local|loadgen|ops)\//,
  /^services\/(tier1|dssl)\/actor\.ts$/,
  /^services\/dssl\/(?:logLine|wiring|member\/(?:place|beats|mirrorKeeper|phaseWaits))\.ts$/,
  /^services\/tier1\/ingress\/(?:capture|subject|udp|kernelDrops)\.ts$/,
  /^services\/dssl\/egress\//,
  /^shared\/(?:bus|log)\//,
  /^shared\/capture\//,
  /^shared\/config\/store\.ts$/,
  /^shared\/base\/(?:clock|udpAddress)\.ts$/,
];
/** Among the shell's files, those that are as pure as the core all the same, and stay so. */
const pureParts =
  /^services\/(ops\/(?:histogram|statusBoard|jsonText)|cli\/run\/dssl\/rejoinPause|dssl\/egress\/handlers\/flowMap|loadgen\/(?:accounts|flowBook|gaps|ledger|run|servers|tier1s|upstream|generator\/\w+))\.ts$|^shared\/(?:log\/(?:records\/\w+|log|mark|byteBlocks|appendWindow|jetstream\/wire)|bus\/subjects)\.ts$/;
/** Where the platform's clock and timers may be asked; the rest of the shell has a Clock. */
const knowsTime = /^shared\/base\/clock\.ts$|^services\/(?:cli|local|loadgen|ops)\//;
const coreModules = ['node:crypto', 'msgpackr', 'zod'];
const usesAmbient =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\b|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bnextTick\b/;
const usesCore =
  /\basync\b|\bawait\b|\bnew Promise\b|\.then\(|\bprocess\b|\bconsole\b|\brandom(?:Bytes|Int|UUID|FillSync)\b|\bgetRandomValues\b/;

export function isCore(file: string): boolean {
  return /^(services|shared)\//.test(file) && (pureParts.test(file) || !shell.some((rule) => rule.test(file)));
}

/** Blanks comments (and in `code` also what stands in strings) with spaces, so that places and lines stay. */
export function scan(source: string): { readonly code: string; readonly withStrings: string } {
  const code = [...source];
  const withStrings = [...source];
  const blank = (list: string[], from: number, to: number) => {
    for (let i = from; i < to; i++) if (list[i] !== '\n') list[i] = ' ';
  };
  /** Depths of braces at which a template goes on. */
  const templates: number[] = [];
  let depth = 0;
  let before = '';
  const skipTemplate = (from: number): number => {
    let i = from;
    while (i < source.length && source[i] !== '`' && !source.startsWith('${', i)) i += source[i] === '\\' ? 2 : 1;
    blank(code, from, i);
    if (source[i] !== '$') return i + 1;
    templates.push(depth++);
    return i + 2;
  };
  for (let i = 0; i < source.length; ) {
    const at = source[i];
    if (source.startsWith('//', i) || source.startsWith('/*', i) || source.startsWith('#!', i)) {
      const end = source[i + 1] === '*' ? source.indexOf('*/', i) + 2 : source.indexOf('\n', i);
      const to = end < 2 ? source.length : end;
      blank(code, i, to);
      blank(withStrings, i, to);
      i = to;
    } else if (at === "'" || at === '"' || (at === '/' && /^$|[(,=:[!&|?{};>]$|\b(?:return|case)$/.test(before))) {
      const from = ++i;
      for (let inClass = false; i < source.length && source[i] !== '\n' && (source[i] !== at || inClass); i++) {
        if (at === '/' && source[i] === '[') inClass = true;
        else if (source[i] === ']') inClass = false;
        else if (source[i] === '\\') i++;
      }
      blank(code, from, i++);
      before = 'x';
    } else if (at === '`') {
      i = skipTemplate(i + 1);
      before = 'x';
    } else {
      if (at === '{') depth++;
      if (at === '}' && --depth === templates.at(-1)) {
        templates.pop();
        i = skipTemplate(i + 1);
        before = 'x';
        continue;
      }
      if (/\S/.test(at)) before = (/\w/.test(at) && /\w$/.test(source.slice(Math.max(0, i - 1), i)) ? before : '') + at;
      i++;
    }
  }
  return { code: code.join(''), withStrings: withStrings.join('') };
}

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** What a source imports, statically, dynamically, or to export it again. */
export function importsOf(source: string): Import[] {
  const { code, withStrings } = scan(source);
  const found: Import[] = [];
  for (const match of withStrings.matchAll(/\b(from|import)(\s+|\s*\(\s*)(['"])([^'"\n]+)\3/g)) {
    const isCall = match[2].includes('(');
    if (code.slice(match.index, match.index + match[1].length) !== match[1] || (isCall && match[1] === 'from'))
      continue;
    const statement = code.slice(Math.max(0, code.lastIndexOf(';', match.index)), match.index);
    const named = /\{([^}]*)\}\s*$/
      .exec(statement)?.[1]
      .split(',')
      .filter((name) => name.trim() !== '');
    const typeOnly =
      /\b(?:import|export)\s+type\b/.test(statement) || (named?.every((name) => /^\s*type\s/.test(name)) ?? false);
    found.push({ specifier: match[4], typeOnly: typeOnly && match[1] === 'from' });
  }
  return found;
}

/** Who may import whom. */
export function importProblems(file: string, source: string): string[] {
  const problems: string[] = [];
  const part = Object.keys(mayImport).find((prefix) => file.startsWith(prefix)) ?? '';
  for (const { specifier, typeOnly } of importsOf(source)) {
    if (!specifier.startsWith('.')) {
      const users = packageUsers[specifier] ?? (specifier.startsWith('node:') ? /./ : undefined);
      if (users === undefined)
        problems.push(`imports ${specifier}: enter it in packageUsers (test/support/tidyRules.ts)`);
      else if (!users.test(file)) problems.push(`imports ${specifier}, which only ${users.source} may`);
      if (isCore(file) && !typeOnly && !coreModules.includes(specifier))
        problems.push(`imports ${specifier}, but is core: let the shell do it and pass in what comes of it`);
      continue;
    }
    const target = resolvePath(file, specifier);
    if (!/\.[cm]?ts$/.test(specifier)) problems.push(`imports ${specifier}: write the suffix .ts`);
    if (!mayImport[part]?.some((prefix) => target.startsWith(prefix)))
      problems.push(`imports ${target}: ${part} may import from ${mayImport[part]?.join(', ')} only`);
    if (isCore(file) && !typeOnly && /^(services|shared)\//.test(target) && !isCore(target))
      problems.push(`imports ${target}, which is shell, but is core: import its types only`);
  }
  return problems;
}

/** No clock, chance, waiting or environment where they must be passed in. */
export function purityProblems(file: string, source: string): string[] {
  if (!/^(services|shared)\//.test(file)) return [];
  const { code } = scan(source);
  const problems: string[] = [];
  const environment = ['process', 'env'].join('.');
  if (file !== 'services/cli/main.ts' && code.includes(environment))
    problems.push(`reads ${environment}: only services/cli/main.ts does, and passes on what is in it`);
  const ambient = knowsTime.test(file) ? undefined : usesAmbient.exec(code);
  if (ambient) problems.push(`uses ${ambient[0]}: take the time, a Clock or a Prng as an argument`);
  const waits = isCore(file) ? usesCore.exec(code) : undefined;
  if (waits) problems.push(`uses ${waits[0]}, but is core: events and time in, effects out; waiting is the shell's`);
  return problems;
}

const importsTimers = /from 'node:timers\/promises'/;

/** Words that promise what is not there, tests that do not run, and syntax that Node cannot strip. */
export function wordProblems(file: string, source: string): string[] {
  const problems: string[] = [];
  const words = [
    ['TO', 'DO'],
    ['FIX', 'ME'],
    ['X', 'XX'],
    ['for', ' now'],
    ['simpli', 'fied'],
    ['not ', 'implemented'],
  ];
  for (const parts of words) {
    const word = parts.join('');
    const pattern = new RegExp(`\\b${word}\\b`, /[a-z]/.test(word) ? 'i' : '');
    if (pattern.test(source))
      problems.push(`says "${word}": do it, or say under "What it does not do yet" that it is missing`);
  }
  if (!/\.[cm]?[jt]s$/.test(file)) return problems;
  const { code } = scan(source);
  const only = /\.(?:only|skip|todo)\s*\(|\b(?:only|skip|todo)\s*:\s*true\b/.exec(code);
  if (only && file !== 'test/support/sharedCaptures.ts')
    problems.push(`has "${only[0]}": a test runs; where something is missing use the skip helpers in test/support`);
  const sleeps = /\.test\.ts$/.test(file) ? /=> setTimeout\b/.exec(code) || importsTimers.exec(source) : null;
  if (sleeps) problems.push(`has "${sleeps[0]}": a test waits for what has to happen, or has a clock of its own`);
  const syntax = /^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?(enum|namespace)\s+\w/m.exec(code);
  if (syntax) problems.push(`has an ${syntax[1]}: use an "as const" object, or a module`);
  return problems;
}

/** Longer files, with why. None may be added for convenience. */
const longFiles: Readonly<Record<string, number>> = { 'test/shared/bus/bus.contract.ts': 480 };

/** A file opens with what it is for, and is short enough to see whole. */
export function shapeProblems(file: string, source: string): string[] {
  const problems: string[] = [];
  const body = source.replace(/^#!.*\n/, '');
  const opening = /^(?:\/\/.*\n)+|^\/\*[\s\S]*?\*\//.exec(body)?.[0].replace(/^\s*(?:\/\/|\/?\*+\/?) ?/gm, '') ?? '';
  if (!/(?:[^\s]+\s+){3,}[^\s]*[.:!?)](?:\s|$)/.test(opening))
    problems.push('does not open with a comment of a full sentence: say what the file is for');
  const lines = source.split('\n').length - 1;
  const most = longFiles[file] ?? 400;
  if (lines > most) problems.push(`has ${lines} lines, ${most} are the most: split it by what it is about`);
  return problems;
}

/** Nothing of the machine it was written on, or of how it came to be. */
export function originProblems(text: string): string[] {
  const folders = ['wo' + 'rk', 'ro' + 'ot', 'ho' + 'me', 'Us' + 'ers'].map((name) => `/${name}/`);
  const trial = `/${'tm' + 'p'}/${'(?:sid|bri' + 'ef|docs)'}`;
  const words = [
    'cla' + 'ude',
    'anth' + 'ropic',
    'chat' + 'gpt',
    'language ' + 'model',
    'the bri' + 'ef',
    'coding ' + 'agent',
  ];
  const path = new RegExp(`(?:^|[\\s'"\`(=:,])((?:${folders.join('|')}|${trial})[\\w./-]*)`, 'm').exec(text);
  const word = new RegExp(`\\b(?:${words.join('|')})\\b`, 'i').exec(text);
  const problems: string[] = [];
  if (path)
    problems.push(`names ${path[1]}, a path of one machine: make it relative, or an example such as capture.pcap`);
  if (word) problems.push(`says "${word[0]}": the product speaks of itself alone`);
  return problems;
}

/** Paths of the project that a document names. A `*` stands for any part of a name. */
export function pathsIn(markdown: string): string[] {
  const found = markdown.matchAll(/(?<![\w./-])\.?\/?((?:services|shared|test|deploy)\/[\w./*-]*)/g);
  return [...new Set([...found].map((match) => match[1].replace(/[./]+$/, '')))];
}

export interface CommandLine {
  readonly command: string;
  readonly options: readonly string[];
}

/** Every `npx flowherd COMMAND ...` in a document, also in a container, with the options it is given. */
export function commandLinesIn(markdown: string): CommandLine[] {
  const lines = markdown.replace(/\\\n\s*/g, ' ').matchAll(/(?:npx flowherd|run --rm cli)\s+([a-z]\w*)?([^\n`|&]*)/g);
  return [...lines].map(([, command = '', rest]) => ({ command, options: optionsIn(rest.replace(/\s#.*/, '')) }));
}

/** Long options named in a text. */
export function optionsIn(text: string): string[] {
  return [...new Set([...text.matchAll(/(?<![\w-])--[a-z][a-z-]*[a-z]/g)].map(([option]) => option))];
}

/** Versions that leave open what is installed. */
export function versionProblems(manifest: Readonly<Record<string, unknown>>): string[] {
  const problems: string[] = [];
  for (const list of ['dependencies', 'devDependencies', 'overrides']) {
    for (const [name, version] of Object.entries((manifest[list] ?? {}) as Record<string, unknown>)) {
      if (typeof version === 'string' && /^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version)) continue;
      problems.push(`${list}.${name} is ${JSON.stringify(version)}: pin it to one version`);
    }
  }
  return problems;
}

/** A relative import's target, from the project's root. */
function resolvePath(file: string, specifier: string): string {
  const parts = file.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}
