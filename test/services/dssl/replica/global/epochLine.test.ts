// Which epoch is in force: of races, repeated entries, and lines that would begin empty.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asksNeeded, donorQuietMs, EpochLine } from '../../../../../services/dssl/replica/global/epochLine.ts';
import { Fingerprint } from '../../../../../services/dssl/replica/snapshot/fingerprint.ts';
import { type Command, type EpochCommand, operatorAuthor } from '../../../../../shared/log/records/command.ts';
import type { Life } from '../../../../../shared/membership/transitions.ts';
import { defaultRules } from '../../../../../shared/membership/view.ts';
import { lifeOf } from '../support.ts';

const [a, b] = [lifeOf('a'), lifeOf('b')];
const long = 3_600_000;

/** The epoch `e<number>`, or one of that number under another name. */
function epoch(number: number, donor?: Life, since = 1_000_000, id = `e${number}`): EpochCommand {
  const birth = { group: 'g', placement: 'rendezvous' as const, seed: 1, rules: defaultRules };
  return { kind: 'epoch', author: a, epoch: '', id, number, previous: '', since, donor, birth };
}

function plain(kind: 'tick' | 'ask' | 'activate', author: Life, inEpoch = ''): Command {
  return { kind, author, epoch: inEpoch };
}

class Line {
  readonly line = new EpochLine();
  hasMembers = true;
  position = 0;
  #stampMs = long;

  /** Whether the command begins an epoch. */
  take(command: Command, afterMs = 1_000): boolean {
    this.position++;
    this.#stampMs += afterMs;
    const begun = this.line.onCommand(command, this.position, this.#stampMs, this.hasMembers);
    if (begun !== undefined) this.line.begin(begun, this.position, this.#stampMs);
    return begun !== undefined;
  }

  ask(times: number, author = a, afterMs = 1_000): this {
    for (let turn = 0; turn < times; turn++) this.take(plain('ask', author), afterMs);
    return this;
  }
}

/** A line of the epoch e1. */
function begun(): Line {
  const line = new Line();
  line.take(epoch(1));
  return line;
}

test('epoch line - the first epoch in a log is in force, whatever its number', () => {
  for (const command of [epoch(1), epoch(7), epoch(1, a)]) {
    const line = new Line();
    assert.equal(line.take(command), true);
    assert.deepEqual(line.line.inForce, { number: command.number, id: command.id, position: 1 });
  }
});

test('epoch line - then one of a higher number: of two at once the first, and of one appended twice too', () => {
  const line = begun();
  const afterMs = donorQuietMs;
  assert.equal(line.take(epoch(1, a, 0, 'other'), afterMs), false);
  assert.equal(line.take(epoch(2, a), afterMs), true);
  assert.equal(line.take(epoch(2, b, 0, 'other'), afterMs), false);
  assert.equal(line.take(epoch(2, a), afterMs), false);
  assert.equal(line.take(epoch(4, b), afterMs), true);
  assert.equal(line.take(epoch(3, a), afterMs), false);
});

test('epoch line - one with a donor does not count while somebody follows the line', () => {
  const line = begun();
  line.take(plain('tick', b, 'e1'));
  assert.equal(line.take(epoch(2, a), donorQuietMs - 1), false);
  line.take(plain('tick', b, 'e0'), donorQuietMs);
  assert.equal(line.take(epoch(2, a), 1), true, 'a tick in another epoch is no sign');
  assert.equal(line.take(epoch(3, a), donorQuietMs - 1), false, 'the entry of the epoch is a sign itself');
  assert.equal(line.take(epoch(3, a), -long), true, 'the clock was set back');
});

test('epoch line - an empty one counts only after its author has asked ten times, a second apart', () => {
  for (const [asks, author, afterMs, isBegun] of [
    [0, a, 1_000, false],
    [asksNeeded - 1, a, 1_000, false],
    [asksNeeded, a, 1_000, true],
    [asksNeeded, b, 1_000, false],
    [asksNeeded, a, 400, false],
    [asksNeeded, a, -1_000, true],
  ] as const) {
    const line = begun().ask(asks, author, afterMs);
    assert.equal(line.take(epoch(2)), isBegun, `${asks} of ${author.server}, ${afterMs} ms apart`);
    assert.equal(line.take(epoch(2)), false, 'it was appended twice');
  }
});

test('epoch line - a sign of somebody who follows ends all asking; one that asks as well is none', () => {
  for (const [sign, isBegun] of [
    [plain('tick', b), false],
    [plain('activate', b, 'e1'), false],
    [plain('tick', b, 'e0'), true],
    [plain('ask', b), true],
    [plain('activate', operatorAuthor, 'e1'), true],
    [epoch(1, b, 0, 'other'), true],
  ] as const) {
    const line = begun().ask(asksNeeded);
    line.take(sign);
    assert.equal(line.take(epoch(2)), isBegun, `${sign.kind} in ${sign.epoch}`);
  }
});

test('epoch line - a group without members begins empty at once, unless somebody has spoken meanwhile', () => {
  const line = begun();
  line.take(plain('tick', b, 'e1'));
  assert.equal(line.take(epoch(2)), false);
  line.hasMembers = false;
  assert.equal(line.take(epoch(2, undefined, 1)), false);
  assert.equal(line.take(epoch(2, undefined, 2)), true);
  assert.equal(line.take(epoch(3, undefined, 2)), false, 'another one was first');
});

test('epoch line - restored it goes on counting', () => {
  const { line, position } = begun().ask(asksNeeded).ask(1, b);
  const restored = new EpochLine();
  assert.ok(restored.restore(line.inForce, line.sign, line.askings()));
  assert.equal(sumOf(restored), sumOf(line));
  assert.deepEqual([restored.asksOf(a), restored.asksOf(b)], [asksNeeded, 1]);
  restored.onCommand(plain('tick', b, 'e1'), position + 1, long, true);
  assert.notEqual(sumOf(restored), sumOf(line));
  const [first] = line.askings();
  assert.equal(new EpochLine().restore(undefined, line.sign, [first, first]), false);
});

test('epoch line - of many that ask the longest silent one is forgotten', () => {
  const line = begun();
  for (let author = 0; author < 100; author++) line.ask(1, lifeOf(`s${author}`));
  const authors = line.line.askings().map(({ author }) => author);
  assert.equal(authors.length, 64);
  assert.ok(authors.includes('s99 1') && !authors.includes('s35 1') && authors.includes('s36 1'));
});

function sumOf(line: EpochLine): number {
  const sum = new Fingerprint();
  line.addTo(sum);
  return sum.value;
}
