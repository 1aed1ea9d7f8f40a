// What a replica says of flows that its server stands behind, where it is asked to; by both methods.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Effects, ItemKind, wordsPerItem } from '../../../../services/dssl/replica/effects.ts';
import { fin, lifeOf, otherSide, syn, TestGroup, tcp, udp } from '../replica/support.ts';

const fig7 = { availability: 'active-active' } as const;
const fig6 = { ...fig7, typeOneMethod: 'fig-6' } as const;
const flows = Array.from({ length: 30 }, (_, flow) => flow);

/** `+3`, `3`, `-3`, `-3 gone` (its owner has gone), `3 lost` of flows that a server stands behind; packets with their lengths. */
function behindIn({ items }: Effects): string[] {
  const said: string[] = [];
  for (let item = 0; item < items.count; item++) {
    const [kind, , second, , lo] = items.words.subarray(item * wordsPerItem, (item + 1) * wordsPerItem);
    if (kind === ItemKind.behind) said.push(`${lo}: ${second}`);
    else if (kind === ItemKind.behindStarted) said.push(`+${lo}`);
    else if (kind === ItemKind.behindEnded) said.push(`-${lo}${second === 1 ? ' gone' : ''}`);
    else if (kind === ItemKind.behindLost) said.push(`${lo} lost`);
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

  test(`behind - by ${name} the one that stands behind hears of the end, also when the owner has gone before`, () => {
    const one = new Case(rules);
    const owners = new Map(flows.map((flow) => [flow, one.send(flow, syn)]));
    one.group.command('b', { kind: 'remove', life: lifeOf('a'), handled: 0 });
    const ends: string[] = [];
    for (let spent = 0; spent < 300; spent++) {
      one.group.log.nowMs += 1_000;
      one.group.log.command(lifeOf('b'), { kind: 'tick' });
      one.group.catchUp((server, effects) => ends.push(...behindIn(effects).map((said) => `${server} ${said}`)));
    }
    const expected = [...owners].flatMap(([flow, { owner, behind }]) => {
      const [server] = Object.keys(behind);
      return server === 'a' && rules === fig7 ? [] : [`${server} -${flow}${owner === 'a' ? ' gone' : ''}`];
    });
    const isOfA = (said: string) => said.startsWith('a ');
    assert.deepEqual(ends.filter((said) => !isOfA(said)).sort(), expected.filter((said) => !isOfA(said)).sort());
    assert.ok(expected.some((said) => said.endsWith('gone')));
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
