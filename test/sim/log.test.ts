// The simulated log: the contract that every log keeps, and what the simulation does to it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualClock } from '../../shared/base/clock.ts';
import { Prng } from '../../shared/base/prng.ts';
import type { AppendOutcome, GroupLog, LogSettings } from '../../shared/log/log.ts';
import { logContract } from '../shared/log/log.contract.ts';
import { EntryBox, testSettings, virtualTime } from '../support/logReaders.ts';
import type { SimLog } from './log.ts';
import { type SimBus, SimNetwork } from './network.ts';
import { SimProcess } from './process.ts';
import { SimStore } from './store.ts';
import { Weather } from './weather.ts';

class Place {
  readonly clock = new VirtualClock(1_764_000_000_000);
  readonly weather: Weather;
  readonly network: SimNetwork;
  #processes = 0;

  constructor(nodes = 1) {
    this.weather = new Weather(this.clock, new Prng(1), nodes);
    const plan = { delayMs: 1, watchDelayMs: 0 };
    this.network = new SimNetwork(this.clock, new Prng(2), new SimStore(this.weather), this.weather, plan);
  }

  connect(node = 0): SimBus {
    const process = new SimProcess(`p${++this.#processes}`, this.clock, 0);
    return this.network.connect(process, 'data', node);
  }

  async open(bus: SimBus, settings: LogSettings = testSettings): Promise<GroupLog> {
    return virtualTime(this.clock).wait(bus.openLog('c', 'g', settings));
  }

  get log(): SimLog {
    return this.network.logOf('g');
  }
}

logContract('the simulation', async () => {
  const { network, clock } = new Place();
  network.onHandlerError = () => undefined;
  const connect = async () => network.connect(new SimProcess('p', clock, 0), 'data', 0);
  return { connect, time: virtualTime(clock), close: async () => undefined };
});

/** Appends texts; the outcomes come into the list that is returned, in the order of the texts. */
function append(log: GroupLog, ...texts: string[]): AppendOutcome[] {
  const outcomes: AppendOutcome[] = [];
  for (const [at, text] of texts.entries())
    log.append('frame', Buffer.from(text), (outcome) => {
      outcomes[at] = outcome;
    });
  return outcomes;
}

function kinds(outcomes: readonly AppendOutcome[]): string[] {
  return outcomes.map(({ kind }) => kind);
}

test('sim log - an answer that is lost, and an entry that is stored when its outcome was unknown', async () => {
  const place = new Place();
  const bus = place.connect();
  const log = await place.open(bus);
  place.weather.loseAnswers(bus.process, 100, 1_000);
  const lost = append(log, 'a');
  place.clock.advance(1_500);
  assert.deepEqual([place.log.last, lost.length], [1, 0]);
  place.weather.slowAppends(bus.process, 3_000, 500);
  const late = append(log, 'b');
  place.clock.advance(2_500);
  assert.deepEqual([...kinds(lost), ...kinds(late), place.log.last], ['unknown', 'unknown', 1]);
  place.clock.advance(1_000);
  assert.equal(place.log.last, 2);
  assert.deepEqual(kinds(late), ['unknown']);
});

test('sim log - without a leader appends are refused or unknown, readers stand still, and go on', async () => {
  const place = new Place();
  const log = await place.open(place.connect());
  const box = new EntryBox(await place.open(place.connect()), { after: 0 });
  append(log, 'a');
  place.clock.advance(100);
  place.log.loseLeader(5_000);
  const outcomes = append(log, 'b', 'c', 'd', 'e');
  place.clock.advance(2_500);
  assert.ok(kinds(outcomes).every((kind) => kind === 'refused' || kind === 'unknown'));
  assert.deepEqual(kinds(append(log, 'f')), []);
  assert.equal(box.reader.isLive, false);
  place.clock.advance(3_000);
  assert.equal(box.reader.isLive, true);
  append(log, 'g');
  place.clock.advance(100);
  assert.deepEqual([box.texts, box.broken], [['frame a', 'frame g'], []]);
});

test('sim log - a broken connection: what is under way is unknown, the reader goes on without gap or repeat', async () => {
  const place = new Place();
  const [writing, reading] = [place.connect(), place.connect()];
  const log = await place.open(writing);
  const box = new EntryBox(await place.open(reading), { after: 0 });
  append(log, 'a', 'b');
  place.clock.advance(50);
  const outcomes = append(log, 'c');
  writing.disconnect();
  assert.equal(log.writable, false);
  const refused = append(log, 'd');
  place.clock.advance(50);
  assert.deepEqual([...kinds(outcomes), ...kinds(refused)], ['unknown', 'refused']);
  writing.reconnect();
  reading.disconnect();
  append(log, 'e', 'f');
  place.clock.advance(500);
  assert.equal(box.entries.length, 2);
  reading.reconnect();
  place.clock.advance(500);
  assert.deepEqual(box.texts, ['frame a', 'frame b', 'frame e', 'frame f']);
  box.check();
});

test('sim log - a reader that is paused goes on, or has fallen out of the log', async () => {
  const place = new Place();
  const [quick, slow] = [place.connect(), place.connect()];
  const settings = { ...testSettings, retention: { ageMs: 1_000, bytes: 1_000_000 } };
  const log = await place.open(place.connect(), settings);
  const boxes: EntryBox[] = [];
  for (const bus of [quick, slow]) boxes.push(new EntryBox(await place.open(bus, settings), { after: 0 }));
  append(log, 'a');
  place.clock.advance(100);
  quick.process.pause();
  slow.process.pause();
  append(log, ...Array.from({ length: 300 }, (_, at) => String(at)));
  place.clock.advance(500);
  quick.process.resume();
  place.clock.advance(2_000);
  slow.process.resume();
  append(log, 'z');
  place.clock.advance(1_000);
  assert.deepEqual([boxes[0].entries.length, boxes[0].broken], [302, []]);
  // What was on its way when it was paused still comes; the rest is gone, and nothing is passed over in silence.
  assert.ok(boxes[1].entries.length < 302);
  assert.deepEqual(boxes[1].broken, ['trimmed']);
  for (const box of boxes) box.check();
});

test('sim log - the last entries are lost and their positions used again: noticed before and after', async () => {
  for (const isOvergrown of [false, true]) {
    const place = new Place();
    const log = await place.open(place.connect());
    const box = new EntryBox(await place.open(place.connect()), { after: 0 });
    append(log, 'a', 'b', 'c', 'd');
    place.clock.advance(100);
    place.log.cutTail(2);
    place.log.restart(10);
    place.clock.advance(20);
    if (isOvergrown) append(log, 'C', 'D', 'E');
    place.clock.advance(3_000);
    assert.deepEqual([box.texts.length, box.broken], [4, [isOvergrown ? 'other' : 'shorter']]);
  }
});

test('sim log - a log that is gone: its readers wait, and learn that another one has taken its place', async () => {
  const place = new Place();
  const log = await place.open(place.connect());
  const box = new EntryBox(await place.open(place.connect()), { after: 0 });
  const early = new EntryBox(await place.open(place.connect()), { after: 0 });
  early.onEntry = () => early.reader.stop();
  append(log, 'a', 'b');
  place.clock.advance(100);
  const { identity } = await virtualTime(place.clock).wait(log.bounds());
  place.log.destroy();
  place.clock.advance(3_000);
  assert.deepEqual([box.broken, kinds(append(log, 'x'))], [[], []]);
  await virtualTime(place.clock).wait(log.make());
  append(log, 'A', 'B', 'C');
  place.clock.advance(3_000);
  assert.deepEqual([box.texts.length, box.broken], [2, ['other']]);
  assert.notEqual((await virtualTime(place.clock).wait(log.bounds())).identity, identity);
});

test('sim log - a node that is cut off: nothing gets in or out, and nothing is skipped afterwards', async () => {
  const place = new Place(3);
  const log = await place.open(place.connect(0));
  const far = place.connect(2);
  const farLog = await place.open(far);
  const box = new EntryBox(farLog, { after: 0 });
  append(log, 'a');
  place.clock.advance(100);
  place.weather.cut(2, 4_000);
  place.clock.advance(1_500);
  append(log, 'b', 'c');
  const refused = append(farLog, 'x');
  place.clock.advance(1_000);
  assert.deepEqual([box.texts, kinds(refused), box.reader.isLive], [['frame a'], ['refused'], false]);
  place.clock.advance(5_000);
  append(log, 'd');
  place.clock.advance(500);
  assert.deepEqual(box.texts, ['frame a', 'frame b', 'frame c', 'frame d']);
  box.check();
});

test('sim log - a reader of commands alone sees them in order, and is told when some of them are gone', async () => {
  const place = new Place();
  const log = await place.open(place.connect());
  const reader = await place.open(place.connect());
  for (let at = 0; at < 30; at++) log.append(at % 10 === 0 ? 'command' : 'frame', Buffer.from(String(at)));
  place.clock.advance(100);
  const box: string[] = [];
  let ended = '';
  const scout = reader.read(
    { after: 0, kinds: ['command'] },
    {
      onEntry: ({ kind, data }) => box.push(`${kind} ${Buffer.from(data)}`),
      onBroken: (reason) => {
        ended = reason;
      },
    },
  );
  place.clock.advance(100);
  assert.deepEqual([box, scout.pending, scout.isLive], [['command 0', 'command 10', 'command 20'], 0, true]);
  place.network.buses[1].disconnect();
  place.log.retention = { ageMs: 100, bytes: 1_000_000 };
  log.append('command', Buffer.from('lost'));
  place.clock.advance(1_000);
  log.append('command', Buffer.from('there'));
  place.clock.advance(10);
  place.network.buses[1].reconnect();
  place.clock.advance(50);
  assert.deepEqual([box.length, ended], [3, 'trimmed']);
});
