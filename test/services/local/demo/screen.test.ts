// The demo's picture as text: it fits the terminal, shows what matters, and marks what must not be.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import {
  progressLine,
  renderScreen,
  type Scene,
  type ScreenOptions,
  wrap,
} from '../../../../services/local/demo/screen.ts';

const states = ['active', 'draining', 'joining', 'left'];

function scene(changes: Partial<Scene['snapshot']> = {}): Scene {
  const groups = ['g1', 'g2', 'g3'].map((id, index) => ({
    id,
    view: 7,
    packetsPerSecond: 4_000,
    servers: Array.from({ length: 3 + (index & 1) }, (_, server) => ({
      name: `${id}-s${server + 1}`,
      state: states[(index + server) % states.length],
      packets: 123_456,
      packetsPerSecond: 1_333,
      share: server / 3,
      openFlows: 1_234,
      endedFlows: 567,
    })),
  }));
  return {
    snapshot: {
      seconds: 12.3,
      groups,
      packets: 1_234_567,
      packetsPerSecond: 12_000,
      accepted: 1_234_500,
      double: 0,
      nobody: { midFlow: 11 },
      underWay: 56,
      droppedAtTier1: 0,
      flows: 13_000,
      moved: 0,
      copiesPerPacket: 3.25,
      ...changes,
    },
    events: Array.from({ length: 9 }, (_, index) => ({
      seconds: index,
      text: `g1-s${index} drains: view ${index} → 7 ${'and so on '.repeat(index)}`,
    })),
    groupWords: { g1: 'connections', g2: 'connections', g3: 'everything else' },
    seconds: 20,
    bus: 'nats',
  };
}

const plain: ScreenOptions = { columns: 80, rows: 24, colour: false, unicode: true };

test('demo screen - a picture never exceeds the terminal', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 40, max: 250 }),
      fc.integer({ min: 5, max: 80 }),
      fc.boolean(),
      (columns, rows, colour) => {
        const lines = renderScreen(scene(), { columns, rows, colour, unicode: true });
        assert.ok(lines.length < rows);
        for (const line of lines) assert.ok(stripVTControlCharacters(line).length < columns, line);
      },
    ),
  );
});

test('demo screen - everything that matters is there at 80 by 24', () => {
  const text = renderScreen(scene(), plain).join('\n');
  for (const name of ['g1-s1', 'g2-s4', 'g3-s3', 'draining', 'left', 'joining']) assert.ok(text.includes(name), name);
  assert.match(text, /1,234,567 packets: kept by one 1,234,500, by two 0, by nobody 11, on the way 56$/m);
  assert.match(text, /13,000 flows: moved to another server 0; 3\.25 copies a packet/);
  assert.match(text, /by nobody: start of the connection not seen 11/);
  assert.match(text, /view 8 → 7/);
});

test('demo screen - without colour there are no escape codes, without Unicode only ASCII', () => {
  const lines = renderScreen(scene(), { ...plain, rows: 50, unicode: false });
  for (const line of lines) assert.match(line, /^[\x20-\x7e]*$/);
});

test('demo screen - a packet accepted twice and a moved flow are red', () => {
  const options = { ...plain, colour: true };
  const red = (line: Scene) => renderScreen(line, options).filter((text) => text.includes('\x1b[31m')).length;
  assert.equal(red(scene()), 0);
  assert.equal(red(scene({ double: 1 })), 1);
  assert.equal(red(scene({ double: 1, moved: 1 })), 2);
});

test('demo screen - bars are as long as the shares', () => {
  const [row] = renderScreen(scene(), plain).filter((line) => line.includes('g1-s2'));
  const full = row.split('█').length - 1;
  const all = full + row.split('░').length - 1;
  assert.equal(full, Math.round(all / 3));
});

test('demo screen - a line of progress counts the servers that are still there', () => {
  assert.match(progressLine(scene()), /servers g1 3 g2 3 g3 2$/);
});

test('demo screen - wrapping keeps every word', () => {
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1 }),
      fc.integer({ min: 12, max: 60 }),
      (words, columns) => {
        const lines = wrap(words.join(' '), columns);
        assert.equal(lines.join(' '), words.join(' '));
        for (const line of lines) assert.ok(line.length <= columns);
      },
    ),
  );
});
