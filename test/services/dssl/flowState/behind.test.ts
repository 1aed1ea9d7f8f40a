// What a replica says of flows that its server stands behind, where it is asked to; by both methods.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Effects, ItemKind, wordsPerItem } from '../../../../services/dssl/replica/effects.ts';
import { fin, lifeOf, otherSide, syn, TestGroup, tcp, udp } from '../replica/support.ts';

const fig7 = { availability: 'active-active' } as const;
const fig6 = { ...fig7, typeOneMethod: 'fig-6' } as const;
const flows = Array.from({ length: 30 }, (_, flow) => flow);

/** `+3`, `3`, `-3`, `-3 gone` (its owner has gone), `3 lost`, `3 given` of flows that a server stands behind, `3 backed` of its own; packets with their lengths. */
function behindIn({ items }: Effects): string[] {
  const said: string[] = [];
  for (let item = 0; item < items.count; item++) {
    const [kind, , second, , lo] = items.words.subarray(item * wordsPerItem, (item + 1) * wordsPerItem);
    if (kind === ItemKind.behind) said.push(`${lo}: ${second}`);
    else if (kind === ItemKind.behindStarted) said.push(`+${lo}`);
    else if (kind === ItemKind.behindEnded) said.push(`-${lo}${second === 1 ? ' gone' : ''}`);
    else if (kind === ItemKind.behindLost) said.push(`${lo} lost`);
    else if (kind === ItemKind.behindGiven) said.push(`${lo} given`);
    else if (kind === ItemKind.backedAnew) said.push(`${lo} backed`);
  }
  return said;
}

/** `3 promoted`, `-3 own` of the server's own flows. */
function ownIn({ items }: Effects): string[] {
  const said: string[] = [];
  for (let item = 0; item < items.count; item++) {
    const [kind, , , , lo] = items.words.subarray(item * wordsPerItem, (item + 1) * wordsPerItem);
    if (kind === ItemKind.flowPromoted) said.push(`${lo} promoted`);
    else if (kind === ItemKind.flowEnded) said.push(`-${lo} own`);
  }
  return said;
}

class Case {
  readonly group: TestGroup;
  constructor(rules: ConstructorParameters<typeof TestGroup>[1], packets = true) {
    this.group = new TestGroup(3, rules);
    for (const replica of this.group.replicas.values()) replica.standBehind({ packets, stateAt: () => undefined });
  }

  /** Who accepts the packet, and what the others say. */
  send(flow: number, flags: number): { readonly owner: string; readonly behind: Record<string, string[]> } {
    const behind: Record<string, string[]> = {};
    let owner = '';
    this.group.log.nowMs++;
    this.group.log.frame([{ flow, flags }]);
    this.group.catchUp((server, effects) => {
      const said = behindIn(effects);
      if (said.length > 0) behind[server] = said;
      if (effects.items.words[0] <= 4 && effects.items.count > 0) owner = server;
    });
    return { owner, behind };
  }
}

for (const [name, rules] of Object.entries({ 'Fig. 7': fig7, 'Fig. 6': fig6 })) {
  test(`behind - by ${name} exactly one other member hears of a flow's beginning and of each of its packets`, () => {
    const one = new Case(rules);
    for (const flow of flows) {
      const kinds = flow % 2 === 0 ? [syn, tcp, tcp, fin, fin | otherSide] : [udp, udp];
      let former = '';
      for (const [at, flags] of kinds.entries()) {
        const { owner, behind } = one.send(flow, flags);
        const [[server, said], ...more] = Object.entries(behind);
        assert.deepEqual(more, []);
        assert.notEqual(server, owner);
        assert.ok(former === '' || former === server);
        former = server;
        assert.deepEqual(said, at === 0 ? [`+${flow}`, `${flow}: 10`] : [`${flow}: 10`]);
      }
    }
  });

  test(`behind - by ${name} flows of a server that has gone are given to others without a packet, and so are those that it stood behind`, () => {
    const one = new Case(rules);
    const before = new Map(flows.map((flow) => [flow, one.send(flow, syn)]));
    one.group.command('b', { kind: 'remove', life: lifeOf('a'), handled: 0 });
    const said: string[] = [];
    const hear = (seconds: number) => {
      for (let spent = 0; spent < seconds; spent++) {
        one.group.log.nowMs += 1_000;
        one.group.log.command(lifeOf('b'), { kind: 'tick' });
        one.group.catchUp((server, effects) => {
          if (server !== 'a')
            said.push(...[...behindIn(effects), ...ownIn(effects)].map((each) => `${server} ${each}`));
        });
      }
      return said.splice(0).sort();
    };
    const expected = [...before].flatMap(([flow, { owner, behind }]) => {
      const [backup] = Object.keys(behind);
      const [heir, other] =
        owner === 'a'
          ? [backup, backup === 'b' ? 'c' : 'b']
          : [owner, backup === 'a' ? (owner === 'b' ? 'c' : 'b') : ''];
      const promoted = owner === 'a' ? [`${heir} ${flow} promoted`, `${heir} ${flow} backed`] : [];
      if (rules === fig6) return promoted;
      if (owner !== 'a' && backup !== 'a') return [];
      return owner === 'a'
        ? [...promoted, `${other} ${flow} given`]
        : [`${heir} ${flow} backed`, `${other} ${flow} given`];
    });
    assert.deepEqual(hear(4), expected.sort());
    assert.ok(expected.length > 10);
    // In the end each is at one, and by Fig. 7 has another one behind it.
    const ends = hear(300);
    const behind = ends.filter((each) => each.includes('-') && !each.includes('own'));
    assert.equal(ends.filter((each) => each.endsWith('own')).length, flows.length);
    assert.equal(
      behind.length,
      rules === fig7
        ? flows.length
        : [...before.values()].filter((each) => each.owner !== 'a' && !('a' in each.behind)).length,
    );
  });
}

test('behind - who drains is told that others have come to stand behind its flows', () => {
  const one = new Case(fig7);
  const behind = new Map(flows.map((flow) => [flow, Object.keys(one.send(flow, syn).behind)[0]]));
  one.group.command('a', { kind: 'drain', life: lifeOf('a') });
  for (const [flow, server] of behind) {
    const { owner, behind: now } = one.send(flow, tcp);
    if (server !== 'a') continue;
    const [other] = ['b', 'c'].filter((each) => each !== owner);
    assert.deepEqual(now, { a: [`${flow} lost`], [other]: [`${flow}: 10`] });
  }
  assert.ok([...behind.values()].includes('a'));
});

test('behind - where all drain, whoever stands behind a flow goes on to hear its packets', () => {
  const one = new Case(fig7);
  const behind = new Map(flows.map((flow) => [flow, Object.keys(one.send(flow, syn).behind)[0]]));
  for (const server of ['a', 'b', 'c']) one.group.command(server, { kind: 'drain', life: lifeOf(server) });
  for (const [flow, server] of behind) {
    const now = one.send(flow, tcp).behind;
    assert.equal(Object.keys(now).length, 1);
    if (!(server in now)) assert.ok(Object.values(now)[0].length > 0);
  }
});

test('behind - without packets there are beginnings and ends; unasked there is nothing', () => {
  const one = new Case(fig7, false);
  assert.deepEqual(Object.values(one.send(1, syn).behind), [['+1']]);
  assert.deepEqual(one.send(1, tcp).behind, {});
  for (const replica of one.group.replicas.values()) replica.standBehind(undefined);
  assert.deepEqual(one.send(2, syn).behind, {});
});
