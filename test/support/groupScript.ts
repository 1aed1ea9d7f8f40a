// The commands of golden transcripts (test/transcripts/): a group of production cores, driven by hand, that says in words
// what each module makes of each packet, what modules ask and answer, and which views are written. No clock, no chance.
//
//   group a b ... [fig-7] [table-first] [adopt] [PLACEMENT]    a settled group of these servers
//   placed N-M                             who would get new flows of these numbers, by the newest view
//   send F KIND, ... [by T] [view V]       tier 1 T (t1) sends a frame stamped V (the newest); KIND: syn tcp fin udp
//   packet F KIND, ... [by T] [view V]     the same, and everything under way arrives everywhere
//   deliver [M ...] [from S ...] [first N] what is under way to modules M arrives; S: a tier 1, a module, store
//   lose M from S                          the oldest thing that is under way to M from S never arrives
//   start M [WEIGHT]                       a server starts and asks to join
//   crash M                                it is gone, with all it knew
//   drain M                                it is told to leave
//   weights M=W ...                        an operator writes the next view
//   pass SECONDS                           time passes at once, and nothing arrives meanwhile
//   settle SECONDS                         time passes in small steps, everything arrives, idle tier 1s are heard
//   views                                  the newest view, and how far each module has come
//   holds                                  what each module knows

import type { DsslCore } from '../../services/dssl/old/core.ts';
import { readEntropy } from '../../services/dssl/old/entropyMessages.ts';
import { controlFields, RowKind, readRows, readSync, type SyncAnswer } from '../../services/dssl/old/sync.ts';
import { ownerOf } from '../../services/dssl/replica/flows/entry.ts';
import { isOneOf } from '../../shared/base/validate.ts';
import { type Member, type PlacementName, placementNames, type View } from '../../shared/membership/view.ts';
import { fin, hiOf, type Module, type Row, syn, TestGroup, tcp, udp } from './group.ts';

const flagsOf: Readonly<Record<string, number>> = { syn, tcp, fin, udp };

export class GroupScript {
  #group = new TestGroup();
  #startMs = 0;
  #lines: string[] = [];
  /** Where in `#lines` the verdicts on a packet stand. */
  #verdictLines = new Map<string, number>();
  readonly #packetNames = new Map<string, string>();
  readonly #seen = new Map<Module, Record<string, number>>();

  /** Runs one command; returns what there is to say. */
  run(command: string): readonly string[] {
    this.#lines = [];
    this.#verdictLines = new Map();
    const [name, ...words] = command.split(' ');
    const handler = this.#commands[name];
    if (handler === undefined) throw new Error(`there is no command "${name}"`);
    handler(words);
    return this.#lines;
  }

  readonly #commands: Readonly<Record<string, (words: string[]) => void>> = {
    group: (words) => this.#begin(words),
    placed: ([range]) => this.#placed(range),
    send: (words) => this.#send(words),
    packet: (words) => {
      this.#send(words, false);
      this.#deliver([]);
    },
    deliver: (words) => this.#deliver(words),
    lose: ([module, , source]) => {
      const wasThere = this.#group.lose(this.#module(module), source);
      this.#say(wasThere ? `something from ${source} never reaches ${module}` : 'nothing is under way');
    },
    start: ([name, weight]) => void this.#group.add(name, weight === undefined ? 100 : Number(weight)),
    crash: ([name]) => {
      this.#group.crash(this.#module(name));
      this.#say(`${name} is gone, and all it knew`);
    },
    drain: ([name]) => this.#module(name).core.drain(this.#group.nowMs + 60_000),
    weights: (words) => {
      const weights = new Map(words.map((word) => word.split('=') as [string, string]));
      const weigh = (member: Member): Member => ({
        ...member,
        weight: Number(weights.get(member.server) ?? member.weight),
      });
      this.#group.propose((view) => ({ ...view, number: view.number + 1, members: view.members.map(weigh) }));
    },
    pass: ([seconds]) => {
      this.#group.tick(Math.round(Number(seconds) * 1_000));
      this.#notice();
      this.#say(`it is ${this.#at(this.#group.nowMs)}`);
    },
    settle: ([seconds]) => {
      for (let tick = 0; tick < Math.round(Number(seconds) * 10); tick++) {
        this.#group.settle(1);
        this.#notice();
      }
      this.#say(`it is ${this.#at(this.#group.nowMs)}`);
    },
    views: () => {
      this.#say(viewInWords(this.#group.view));
      for (const { name, core } of this.#living())
        this.#say(`${name}: ${core.phase}, has view ${core.views.newest?.view.number ?? 'none'}`);
    },
    holds: () => {
      for (const { name, core } of this.#living()) this.#say(`${name}: ${holdingsInWords(core)}`);
    },
  };

  #begin(words: string[]): void {
    const placement = words.find((word): word is PlacementName => isOneOf(placementNames, word));
    const rules = {
      typeOneMethod: words.includes('fig-7') ? ('fig-7' as const) : ('fig-6' as const),
      tableFirst: words.includes('table-first'),
      midFlow: words.includes('adopt') ? ('adopt' as const) : ('ignore' as const),
    };
    this.#group = new TestGroup(rules, placement);
    for (const name of words.filter((word) => word.length === 1)) {
      this.#group.add(name);
      this.#group.send([]);
      this.#group.settle(20);
    }
    this.#startMs = this.#group.nowMs;
    this.#group.trace = {
      verdict: (module, packet, verdict) => this.#verdict(module, packet, verdict),
      control: (from, message) => this.#control(from, message),
      view: (by, view) => this.#say(`${by === '' ? 'an operator' : by} writes ${viewInWords(view)}`),
      fetch: (by) => this.#say(`${by} reads the views again`),
    };
    this.#notice();
    this.#lines = [viewInWords(this.#group.view)];
  }

  #placed(range: string): void {
    const [from, to] = range.split('-').map(Number);
    const { core } = this.#living()[0];
    const { view } = this.#group;
    const compiled = core.views.get(view.number);
    if (compiled === undefined) throw new Error(`${this.#living()[0].name} does not have view ${view.number}`);
    for (const { server } of view.members) {
      const theirs: number[] = [];
      for (let flow = from; flow <= to; flow++)
        if (core.views.serverName(compiled.place(hiOf(flow), flow, 0)) === server) theirs.push(flow);
      this.#say(`view ${view.number} places at ${server}: ${theirs.join(' ') || 'none'}`);
    }
  }

  #send(words: string[], isSaid = true): void {
    const optionsAt = words.findIndex((word) => word === 'by' || word === 'view');
    const packets = (optionsAt === -1 ? words : words.slice(0, optionsAt)).join(' ').split(', ');
    const optionOf = (option: string): string | undefined =>
      words.includes(option) ? words[words.indexOf(option) + 1] : undefined;
    const tier1 = optionOf('by') ?? 't1';
    const viewNumber = Number(optionOf('view') ?? this.#group.view.number);
    const rows = packets.map((packet): Row => {
      const [flow, kind] = packet.split(' ');
      if (!(kind in flagsOf)) throw new Error(`there is no packet "${packet}"`);
      return { flow: Number(flow), flags: flagsOf[kind] };
    });
    const names = this.#group.send(rows, { tier1, viewNumber });
    names.forEach((name, index) => {
      this.#packetNames.set(name, packets[index]);
    });
    if (isSaid) this.#say(`${tier1} sends frame ${names[0].split('/')[1]}, view ${viewNumber}: ${packets.join(', ')}`);
  }

  #deliver(words: string[]): void {
    const optionsAt = words.findIndex((word) => word === 'from' || word === 'first');
    const names = optionsAt === -1 ? words : words.slice(0, optionsAt);
    const modules = names.length === 0 ? this.#living() : names.map((name) => this.#module(name));
    const firstAt = words.indexOf('first');
    let left = firstAt === -1 ? Number.POSITIVE_INFINITY : Number(words[firstAt + 1]);
    const fromAt = words.indexOf('from');
    const sources = fromAt === -1 ? undefined : words.slice(fromAt + 1, firstAt === -1 ? undefined : firstAt);
    for (let busy = true; busy; ) {
      busy = false;
      for (const module of modules) {
        for (const source of [...module.inbox.keys()].filter((each) => sources?.includes(each) ?? true)) {
          while (left > 0 && this.#group.deliver(module, source)) {
            left--;
            busy = true;
            this.#notice();
          }
        }
      }
    }
  }

  /** What modules count tells what they noticed. */
  #notice(): void {
    for (const module of this.#living()) {
      const { name, core, events } = module;
      const before = this.#seen.get(module) ?? {};
      const now = { ...countsOf(core), events: events.length };
      this.#seen.set(module, now);
      for (const [what, count] of Object.entries(now)) {
        if (what === 'events') continue;
        const more = count - (before[what] ?? 0);
        if (more > 0) this.#say(`${name} ${what}${more > 1 ? `: ${more}` : ''}`);
      }
      for (const event of events.slice(before.events ?? 0)) {
        const [flow, why] = event.slice(1).split(' ');
        this.#say(`${name}'s server: flow ${flow} ${event.startsWith('+') ? 'begins' : `ends (${why})`}`);
      }
    }
  }

  #verdict(module: string, packet: string, verdict: string): void {
    const name = this.#packetNames.get(packet) ?? packet;
    const at = this.#verdictLines.get(packet);
    if (at !== undefined) this.#lines[at] += `, ${module} ${verdict}`;
    else this.#verdictLines.set(packet, this.#lines.push(`${name}: ${module} ${verdict}`) - 1);
  }

  #control(from: string, message: Uint8Array): void {
    const fields = controlFields(message) ?? [];
    const sync = readSync(fields);
    if (sync?.kind === 'request') {
      const what = sync.since === undefined ? 'everything' : `what happened since ${this.#at(sync.since * 100)}`;
      this.#say(`${from} asks ${sync.to} for ${what}`);
    } else if (sync?.kind === 'answer') this.#say(answerInWords(sync));
    const said = readEntropy(fields);
    if (said?.kind === 'ask') this.#say(`${from} asks ${said.to ?? 'everybody'} for bucket ${said.bucket}`);
    else if (said?.kind === 'bucket') this.#say(`${from} tells everybody that it holds ${flowsIn(said.rows)}`);
    else if (said?.kind === 'claim') this.#say(`${from} says that it has ${flowsIn(said.rows)}`);
  }

  #module(name: string): Module {
    const module = this.#living().find((each) => each.name === name);
    if (module === undefined) throw new Error(`there is no module "${name}"`);
    return module;
  }

  #living(): Module[] {
    return this.#group.modules.filter(({ listening }) => listening);
  }

  #at(ms: number): string {
    return `${((ms - this.#startMs) / 1_000).toFixed(1)} s`;
  }

  #say(line: string): void {
    this.#lines.push(line);
  }
}

function viewInWords({ number, members }: View): string {
  const each = ({ server, state, weight, incarnation }: Member): string =>
    `${server} ${state}${incarnation > 1 ? ` (life ${incarnation})` : ''}${weight === 100 ? '' : ` of weight ${weight}`}`;
  return `view ${number}: ${members.map(each).join(', ') || 'nobody'}`;
}

function answerInWords({ from, to, positions, owners, rows, isLast }: SyncAnswer): string {
  const flows: string[] = [];
  const starts: string[] = [];
  readRows(rows, ({ kind, lo, owner }) => {
    (kind === RowKind.flow ? flows : starts).push(`${lo}→${owners[owner].server}`);
  });
  const cut = [...positions].map(([id, sequence]) => `${id} frame ${sequence}`).join(', ') || 'no frame';
  const lists = [
    flows.length > 0 ? `flows ${inOrder(flows)}` : '',
    starts.length > 0 ? `starts ${inOrder(starts)}` : '',
  ].filter((list) => list !== '');
  return `${from} tells ${to}, as of ${cut}: ${lists.join('; ') || 'nothing'}${isLast ? '' : ' ...'}`;
}

/** Flows of a claim, with the view that each is held by; of a bucket, where that is not known any more. */
function flowsIn(rows: Uint8Array): string {
  const flows: string[] = [];
  readRows(rows, ({ kind, lo, view }) => {
    flows.push(`${lo} ${kind === RowKind.flow ? 'since' : 'begun by'} view ${view}`);
  });
  return inOrder(flows).replace(/(view \d+) /g, '$1, ') || 'nothing';
}

/** Own flows, flows of others, starts that are remembered, frames that wait. What a joiner only guesses has a `?`. */
function holdingsInWords(core: DsslCore): string {
  const { decider, views } = core;
  const nameOf = (owner: number): string => `${views.serverName(owner)}${views.newest?.isGone(owner) ? ' (gone)' : ''}`;
  const own: string[] = [];
  const elsewhere: string[] = [];
  const starts: string[] = [];
  decider.table.scan(0, Number.POSITIVE_INFINITY, (hi, lo, _lastSeen, info) => {
    if (decider.table.find(hi, lo, decider.tick) === -1) return;
    const guess = core.phase === 'joining' && decider.guesses?.get(hi, lo) !== undefined ? '?' : '';
    if (ownerOf(info) === views.self) own.push(`${lo}${guess}`);
    else elsewhere.push(`${lo}→${nameOf(ownerOf(info))}${guess}`);
  });
  decider.recentStarts.scan(0, Number.POSITIVE_INFINITY, (hi, lo, _tick, position) => {
    if (decider.recentStarts.find(hi, lo, decider.tick) === -1) return;
    starts.push(`${lo}→${nameOf(decider.recentStarts.ownerAt(position))}`);
  });
  const waiting = [...core.streams.all()].reduce((sum, stream) => sum + stream.waiting.length, 0);
  return [
    `own ${inOrder(own) || 'none'}`,
    elsewhere.length > 0 ? `elsewhere ${inOrder(elsewhere)}` : '',
    starts.length > 0 ? `lately begun ${inOrder(starts)}` : '',
    waiting > 0 ? `frames that wait ${waiting}` : '',
  ]
    .filter((part) => part !== '')
    .join('; ');
}

function inOrder(flows: string[]): string {
  return flows.sort((one, other) => Number.parseInt(one, 10) - Number.parseInt(other, 10)).join(' ');
}

/** Counters that tell of something a reader wants to know, in words. */
function countsOf({ counters, streams, learner, hearsay, antiEntropy }: DsslCore): Record<string, number> {
  return {
    'notices that frames are missing': streams.lostFrames,
    'has had this frame before': streams.repeatedFrames,
    'lets a frame wait for its view': counters.viewWaits,
    'lets a frame wait, since it missed some': counters.unsureWaits,
    'gives up on a frame whose view does not come': counters.viewDrops,
    'gives up on a frame, since nobody tells what was missed': counters.unsureDrops,
    'sees a gap before its own first frame, and asks again': learner.gaps,
    'keeps to what it knows itself': hearsay.atOdds,
    'hears that a flow of its own has another owner': antiEntropy.counters.twoOwners,
    'takes flows in that its table lacked': antiEntropy.counters.rowsRepaired,
    'forgets flows that nobody has': antiEntropy.counters.entriesForgotten,
  };
}
