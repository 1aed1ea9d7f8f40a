// Commands on the wire: what is appended is what is read, any MessagePack reader sees it, and garbage is no command.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { limits } from '../../../../shared/base/limits.ts';
import {
  type Command,
  type CommandKind,
  commandKinds,
  decodeCommand,
  encodeCommand,
  operatorAuthor,
} from '../../../../shared/log/records/command.ts';
import { defaultRules, placementNames } from '../../../../shared/membership/view.ts';

const packr = new Packr({ useRecords: false });

const server = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const life = fc.record({ server, incarnation: fc.maxSafeNat() });
const weight = fc.nat({ max: 65_535 });
const maybe = fc.option(fc.nat(), { nil: undefined });
const id = fc.string({ minLength: 1, maxLength: 64 });
const common = { author: fc.oneof(life, fc.constant(operatorAuthor)), epoch: fc.string({ maxLength: 64 }) };
const birth = fc.record({
  group: server,
  placement: fc.constantFrom(...placementNames),
  seed: fc.nat({ max: 0xffff_ffff }),
  rules: fc.constant(defaultRules),
});
const kind = <K extends CommandKind>(name: K) => fc.constant(name);
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ ...common, kind: kind('join'), weight, replaces: maybe, needAt: maybe }),
  fc.record({ ...common, kind: fc.constantFrom('drain' as const, 'leave' as const), life }),
  fc.record({ ...common, kind: kind('drain'), life, to: life.map(({ server }) => server) }),
  fc.record({ ...common, kind: kind('remove'), life, handled: fc.maxSafeNat() }),
  fc.record({
    ...common,
    kind: kind('weigh'),
    weights: fc.array(fc.tuple(server, weight), { maxLength: 6 }).map((pairs) => new Map(pairs)),
  }),
  fc.record({ ...common, kind: kind('configure'), life, weight }),
  fc.record({ ...common, kind: kind('move'), life, to: life.map(({ server }) => server) }),
  fc.record({
    ...common,
    kind: kind('rules'),
    placement: fc.option(fc.constantFrom(...placementNames), { nil: undefined }),
    rules: fc.record(
      {
        tableFirst: fc.boolean(),
        midFlow: fc.constantFrom('ignore' as const, 'adopt' as const),
        maxFlows: fc.integer({ min: 1, max: 100_000_000 }),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({ ...common, kind: fc.constantFrom('activate' as const, 'tick' as const, 'ask' as const) }),
  fc.record({
    ...common,
    kind: kind('epoch'),
    id,
    number: fc.maxSafeNat(),
    previous: fc.string({ maxLength: 64 }),
    since: fc.maxSafeNat(),
    donor: fc.option(life, { nil: undefined }),
    birth,
  }),
);

test('command - what is appended is what is read, whatever it is about', () => {
  const seen = new Set<CommandKind>();
  fc.assert(
    fc.property(command, (written) => {
      seen.add(written.kind);
      assert.deepEqual(decodeCommand(encodeCommand(written)), structuredClone(written));
    }),
    { numRuns: 500 },
  );
  assert.equal(seen.size, commandKinds.length);
});

test('command - bytes that are no command, or are cut or changed, are none or another one, and never throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeCommand(bytes)));
  fc.assert(
    fc.property(command, fc.nat(), fc.nat({ max: 255 }), (written, at, byte) => {
      const bytes = encodeCommand(written);
      assert.equal(decodeCommand(bytes.subarray(0, at % bytes.length)), undefined);
      bytes[at % bytes.length] = byte;
      decodeCommand(bytes);
    }),
  );
});

test('command - whatever MessagePack can say in the place of a field is refused or harmless', () => {
  const anything = fc.oneof(
    fc.anything({ withBigInt: true, maxDepth: 2 }),
    fc.constant(null),
    fc.constant(-1),
    fc.constant(Number.NaN),
  );
  fc.assert(
    fc.property(command, fc.nat(), anything, (written, at, value) => {
      const fields = packr.unpack(encodeCommand(written));
      fields[at % fields.length] = value;
      let bytes: Uint8Array;
      try {
        bytes = packr.pack(fields);
      } catch {
        return;
      }
      const read = decodeCommand(bytes);
      if (read !== undefined) assert.deepEqual(decodeCommand(encodeCommand(read)), structuredClone(read));
    }),
    { numRuns: 1_000 },
  );
});

const plain = { author: { server: 'a', incarnation: 1 }, epoch: 'e1' };

test('command - its bytes are five fields in front of those of its kind', () => {
  const fields = packr.unpack(
    encodeCommand({ ...plain, kind: 'remove', life: { server: 'b', incarnation: 2 }, handled: 9 }),
  );
  assert.deepEqual(fields, [1, commandKinds.indexOf('remove'), 'a', 1, 'e1', 'b', 2, 9]);
  const join = encodeCommand({ ...plain, kind: 'join', weight: 5, replaces: undefined, needAt: 3 });
  assert.deepEqual(packr.unpack(join), [1, 0, 'a', 1, 'e1', 5, null, 3, null]);
  const standby = encodeCommand({
    ...plain,
    kind: 'join',
    weight: 5,
    replaces: 2,
    needAt: undefined,
    standsFor: ['b'],
  });
  assert.deepEqual(packr.unpack(standby), [1, 0, 'a', 1, 'e1', 5, 2, null, ['b']]);
});

test('command - another format, an unknown kind, a field too many and a bad name are refused', () => {
  const good = [1, commandKinds.indexOf('tick'), 'a', 1, 'e1'];
  assert.equal(decodeCommand(packr.pack(good))?.kind, 'tick');
  const with_ = (at: number, value: unknown) => packr.pack(good.with(at, value as number));
  assert.equal(decodeCommand(with_(0, 2)), undefined, 'format');
  assert.equal(decodeCommand(with_(1, commandKinds.length)), undefined, 'kind');
  assert.equal(decodeCommand(with_(2, 'a b')), undefined, 'a name that is none');
  assert.equal(decodeCommand(with_(2, '')), undefined, 'an operator has no incarnation');
  assert.equal(decodeCommand(with_(3, -1)), undefined);
  assert.equal(decodeCommand(with_(4, 'e'.repeat(65))), undefined);
  assert.equal(decodeCommand(packr.pack([...good, 1])), undefined, 'a field too many');
  assert.equal(decodeCommand(packr.pack(good.slice(0, 4))), undefined, 'a field too few');
});

test('command - an epoch without an id is none: nothing could follow it', () => {
  const birthOf = { group: 'g1', placement: 'rendezvous', seed: 1, rules: defaultRules } as const;
  const epoch = {
    ...plain,
    kind: 'epoch',
    id: 'e2',
    number: 2,
    previous: 'e1',
    since: 7,
    donor: undefined,
    birth: birthOf,
  } as const;
  assert.ok(decodeCommand(encodeCommand(epoch)));
  assert.equal(decodeCommand(encodeCommand({ ...epoch, id: '' })), undefined);
});

const weigh = (members: number): Command => {
  const names = Array.from({ length: members }, (_, index) => `${index}`.padStart(64, 's'));
  return { ...plain, kind: 'weigh', weights: new Map(names.map((name) => [name, 65_535])) };
};

test('command - weights of the largest group with the longest names are a command', () => {
  const full = weigh(limits.groupMembers);
  assert.deepEqual(decodeCommand(encodeCommand(full)), full);
});

test('command - more bytes than a command may have are not even looked at', () => {
  const bytes = encodeCommand(weigh(2 * limits.groupMembers));
  assert.ok(bytes.length > 128 * 1024);
  assert.equal(decodeCommand(bytes), undefined);
});
