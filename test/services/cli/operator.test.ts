// Commands that change a running cluster: drain, weight, settings. What they write, what they refuse, and that running services
// take settings over.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { HandCluster, stateOf } from '../../support/cluster.ts';
import { freePort, NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';

/** Runs a command to its end. */
async function run(...args: readonly string[]): Promise<{ code: number; out: string; said: string }> {
  const service = new Service(args);
  const code = await service.ended();
  return { code, out: service.stdout, said: service.messages.join('\n') };
}

describe('operator', { skip: skipWithoutNatsServer(), timeout: 180_000 }, () => {
  let nats: NatsServer;
  const made: HandCluster[] = [];
  const make = async (name: string, ...groups: string[]): Promise<HandCluster> => {
    const cluster = await HandCluster.make(nats.url, name, groups);
    made.push(cluster);
    return cluster;
  };
  before(async () => {
    nats = await NatsServer.start();
  });
  after(async () => {
    for (const cluster of made) await cluster.close();
    await nats.stop();
  });

  test('drain - a server drains in its view, once, and the last one of a group only by force', async () => {
    const cluster = await make('drains', 'g1', 'g2');
    for (const server of ['a', 'b']) await cluster.add('g1', server);
    await cluster.add('g2', 'first');
    await cluster.add('g2', 'c', 'joining');
    const { number } = await cluster.view('g1');
    const drained = await run('drain', 'a', ...cluster.options, '--json');
    assert.equal(drained.code, 0, drained.said);
    const report = { server: 'a', group: 'g1', view: number + 1, state: 'draining', already: false };
    assert.deepEqual(JSON.parse(drained.out), report);
    assert.deepEqual(await cluster.members('g1'), { a: ['draining', 100, 100], b: ['active', 100, 100] });
    const again = await run('drain', 'a', ...cluster.options);
    assert.deepEqual(
      [again.code, again.out],
      [0, `a drains already: it gets no new flows (view ${number + 1} of g1).\n`],
    );
    const last = await run('drain', 'b', ...cluster.options);
    assert.equal(last.code, 1);
    assert.match(last.said, /^flowherd: b is the last active server of g1: .*--force$/);
    const joining = await run('drain', 'c', ...cluster.options);
    assert.equal(joining.code, 1);
    assert.match(joining.said, /^flowherd: c is joining g2/);
    assert.equal((await cluster.view('g1')).number, number + 1, 'refusing writes nothing');
    const forced = await run('drain', 'b', ...cluster.options, '--force');
    assert.equal(forced.code, 0, forced.said);
    assert.deepEqual(await cluster.members('g1'), { a: ['draining', 100, 100], b: ['draining', 100, 100] });
  });

  test('drain - it can be waited for until the server has left, with the flows that are left, or not for ever', async () => {
    const cluster = await make('waits', 'g1');
    for (const server of ['a', 'b']) await cluster.add('g1', server);
    const quiet = cluster.say('g1', [stateOf('a', 1, 'draining', { flows: 1_017 })]);
    const impatient = await run('drain', 'a', '--wait', '--timeout', '1', ...cluster.options);
    assert.equal(impatient.code, 1);
    assert.match(impatient.said, /flowherd: a still drains after 1 s with 1,017 flows$/);
    const waiting = new Service(['drain', 'a', '--wait', ...cluster.options, '--json']);
    await waiting.says(/^a drains: 1,017 flows left$/);
    quiet();
    await cluster.remove('g1', 'a');
    assert.equal(await waiting.ended(), 0, waiting.messages.join('\n'));
    const { number: view } = await cluster.view('g1');
    assert.deepEqual(JSON.parse(waiting.stdout), { server: 'a', group: 'g1', view, state: 'left', already: true });
  });

  test('drain - a server that runs finds itself draining', async () => {
    const common = ['--bus', nats.url, '--cluster', 'runs'];
    const servers = ['a', 'b'].map(
      (name) => new Service(['dssl', ...common, '--groups', '1', '--server', name, '--drain-seconds', '0']),
    );
    await Promise.all(servers.map((server) => server.says(/server is active/)));
    const { code, said } = await run('drain', 'a', ...common);
    assert.equal(code, 0, said);
    await servers[0].says(/server is draining/);
    await Promise.all(servers.map((server) => server.end()));
  });

  test('drain - one that is to leave at once leaves when its flows have backups, or by force, and its process ends well', async () => {
    for (const availability of ['active-active', 'none'] as const) {
      const common = ['--bus', nats.url, '--cluster', `now-${availability}`];
      const birth = ['--groups', '1', '--availability', availability];
      const servers = ['a', 'b'].map((name) => new Service(['dssl', ...common, ...birth, '--server', name]));
      await Promise.all(servers.map((server) => server.says(/server is active/)));
      const plain = await run('drain', 'a', ...common, '--now');
      if (availability === 'none') {
        assert.deepEqual([plain.code, plain.out], [1, '']);
        assert.match(plain.said, /^flowherd: flows of a have no backups in g1 \(none\) and would be lost: .*--force$/);
        assert.equal((await run('drain', 'a', ...common, '--now', '--force')).code, 0);
      } else {
        assert.deepEqual([plain.code, plain.said], [0, '']);
        assert.match(plain.out, /^a has left g1 \(view \d+\)\.$/m);
      }
      assert.equal(await servers[0].ended(), 0, servers[0].messages.join('\n'));
      await servers[1].end();
    }
  });

  test('weight - the configured weight changes, and the one in force goes along', async () => {
    const cluster = await make('weighs', 'g1');
    for (const server of ['a', 'b']) await cluster.add('g1', server);
    const heavier = await run('weight', 'a', '250', ...cluster.options, '--json');
    assert.equal(heavier.code, 0, heavier.said);
    const { former, weight, base, group, warning } = JSON.parse(heavier.out);
    assert.deepEqual([former, weight, base, group, warning], [{ weight: 100, base: 100 }, 250, 250, 'g1', undefined]);
    assert.deepEqual(await cluster.members('g1'), { a: ['active', 250, 250], b: ['active', 100, 100] });
    const { number } = await cluster.view('g1');
    const again = await run('weight', 'a', '250', ...cluster.options);
    assert.deepEqual([again.code, again.out], [0, `a has the weight 250 already (view ${number} of g1).\n`]);
    const none = await run('weight', 'a', '0', ...cluster.options);
    assert.deepEqual([none.code, none.said], [0, '']);
    const nobody = await run('weight', 'b', '0', ...cluster.options);
    assert.equal(nobody.code, 0);
    assert.equal(nobody.out, `b has the weight 0 instead of 100, from view ${number + 2} of g1 on.\n`);
    assert.match(nobody.said, /^flowherd: no active server of g1 has a weight now/);
  });

  test('operator - a command that comes to nothing, or that no log takes, is said in one line', async () => {
    const cluster = await make('deaf', 'g1', 'g2');
    for (const group of ['g1', 'g2']) await cluster.add(group, `of-${group}`);
    // Nobody follows this log any more, and the other one is gone.
    cluster.log('g1').stop();
    await (await cluster.bus.openLog('deaf', 'g2')).destroy();
    const [unseen, refused] = await Promise.all([
      run('weight', 'of-g1', '5', ...cluster.options),
      run('weight', 'of-g2', '5', ...cluster.options),
    ]);
    assert.deepEqual([unseen.code, refused.code, unseen.out, refused.out], [1, 1, '', '']);
    assert.match(unseen.said, /^flowherd: it is in the log of g1, but view 2 does not show it after 10 s: .*status"$/);
    assert.match(refused.said, /^flowherd: the log of g2 did not take it: .*503/);
  });

  test('settings - are shown with what they mean, changed as a whole, and remember who changed them', async () => {
    const cluster = await make('tunes', 'g1');
    const shown = await run('settings', ...cluster.options);
    assert.equal(shown.code, 0, shown.said);
    assert.match(shown.out, /^ {2}watching\.beatMs = 100\n {6}pause between two signs of life/m);
    assert.match(shown.out, /^\* watching\.stateMs = 200 \(default 1000\)$/m);
    assert.match(shown.out, /^1 of \d+ are not the defaults/m);
    assert.ok(shown.out.split('\n').every((line) => line.length < 80));
    const changed = await run(
      ...['settings', 'set', 'watching.beatMs=150', 'weights.load=cpu:2,flows', 'watching.stateMs=default'],
      ...cluster.options,
    );
    assert.equal(changed.code, 0, changed.said);
    const what =
      'watching.beatMs from 100 to 150, weights.load from cpu:1 to cpu:2,flows:1, watching.stateMs from 200 to 1000';
    assert.equal(changed.out, `Changed ${what} (map version 2).\n`);
    const same = await run('settings', 'set', 'watching.beatMs=150', ...cluster.options, '--json');
    assert.deepEqual([same.code, JSON.parse(same.out).written, JSON.parse(same.out).version], [0, false, 2]);
    const json = await run('settings', ...cluster.options, '--json');
    const report = JSON.parse(json.out);
    assert.deepEqual(report.settings.weights.load, { cpu: 2, flows: 1 });
    const beat = report.tunables.find(({ path }: { path: string }) => path === 'watching.beatMs');
    assert.deepEqual(
      [beat.value, beat.default, beat.differs, beat.variable],
      [150, 100, true, 'FLOWHERD_WATCHING_BEAT_MS'],
    );
    const history = await run('settings', 'history', ...cluster.options, '--json');
    const [first, second, ...others] = JSON.parse(history.out).changes;
    assert.deepEqual([first, others], [{ version: 1 }, []]);
    assert.deepEqual([second.version, second.what], [2, what]);
    assert.match(second.by, /^.+@.+$/);
    assert.ok(Math.abs(Date.now() - second.atMs) < 60_000);
    const words = await run('settings', 'history', ...cluster.options);
    assert.match(words.out, /^1 {2}made\n2 {2}changed \d{4}-\d\d-\d\dT.* by /);
  });

  test('settings - services that run take changes over, and later ones begin with them and warn where they were asked for others', async () => {
    const common = ['--bus', nats.url, '--cluster', 'live'];
    const config = { FLOWHERD_WATCHING_BEAT_MS: '60', FLOWHERD_WEIGHTS_STEP: '1.5' };
    const serve = (name: string, environment: Record<string, string>) =>
      new Service(['dssl', ...common, '--groups', '1', '--server', name, '--drain-seconds', '0'], environment);
    const first = serve('a', config);
    await first.says(/server is active/);
    const tier1 = new Service(['tier1', ...common, '--input', 'bus']);
    await tier1.says(/taking packets from/);
    assert.equal((await run('settings', 'set', 'watching.beatMs=70', ...common)).code, 0);
    await Promise.all([first.says(/^settings changed$/), tier1.says(/^settings changed$/)]);
    const shown = JSON.parse((await run('settings', ...common, '--json')).out);
    assert.deepEqual([shown.settings.watching.beatMs, shown.settings.weights.step], [70, 1.5]);
    const init = await run('init', ...common, '--groups', '1', '--json');
    assert.deepEqual(JSON.parse(init.out).differing, []);
    const late = serve('b', config);
    await late.says(/other settings/);
    await late.says(/server is active/);
    assert.ok(!first.messages.some((message) => /other settings/.test(message)));
    assert.deepEqual(await Promise.all([late.end(), tier1.end()]), [0, 0]);
    assert.equal(await first.end(), 0);
  });

  test('operator - mistakes are said in one line, with the right exit code, and write nothing', async () => {
    const cluster = await make('wrong', 'g1');
    await cluster.add('g1', 'server-1');
    const nowhere = ['--bus', `nats://127.0.0.1:${await freePort()}`];
    const set = (...pairs: string[]) => ['settings', 'set', ...pairs, ...cluster.options];
    const cases: [args: string[], code: number, says: RegExp][] = [
      [['status', ...nowhere], 1, /no NATS server at .*connection refused/],
      [['status', '--bus', nats.url, '--cluster', 'none'], 1, /there is no cluster none at nats:.*"flowherd init"/],
      [['settings', 'history', '--bus', nats.url, '--cluster', 'none'], 1, /there is no cluster none at/],
      [['groups', '--bus', nats.url, '--cluster', 'a.b'], 2, /"a\.b" cannot be the name of a cluster/],
      [['drain', 'sever-1', ...cluster.options], 1, /no server sever-1 in cluster wrong: did you mean server-1\?/],
      [['drain', 'x', ...cluster.options], 1, /no server x in cluster wrong: "flowherd status" lists them/],
      [['weight', 'x', '1', ...cluster.options], 1, /no server x/],
      [['weight', 'server-1', '70000', ...cluster.options], 2, /a whole number from 0 to 65535/],
      [['weight', 'server-1', ...cluster.options], 2, /missing required argument 'weight'/],
      [['drain', ...cluster.options], 2, /missing required argument 'server'/],
      [set(), 2, /name what to set, as setting=value: watching\.beatMs, /],
      [set('watching.beatMs'), 2, /watching\.beatMs: write it as setting=value/],
      [set('watching.beetMs=5'), 2, /watching\.beetMs is no setting, did you mean watching\.beatMs\?/],
      [set('watching.beatMs=5'), 2, /watching\.beatMs is 5, but must be a whole number from 20 to 10000/],
      [set('watching.beatMs=soon'), 2, /watching\.beatMs is "soon", but must be/],
      [set('watching.beatMs=500'), 2, /watching\.suspectMs is 400, but must be at least twice watching\.beatMs/],
      [set('watching.beatMs=50', 'watching.beatMs=60'), 2, /watching\.beatMs is there twice/],
      [set('weights.load=cpuu'), 2, /weights\.load\.cpuu is no load, did you mean cpu\?/],
      [['settings', 'reset', ...cluster.options], 2, /Allowed choices are show, set, history/],
      [['settings', 'show', 'watching.beatMs', ...cluster.options], 2, /settings show takes no watching\.beatMs/],
    ];
    for (let at = 0; at < cases.length; at += 2) {
      await Promise.all(
        cases.slice(at, at + 2).map(async ([args, code, says]) => {
          const result = await run(...args);
          const lines = result.said.split('\n').filter((line) => /^(?:flowherd|error): /.test(line));
          assert.deepEqual([result.code, lines.length], [code, 1], `${args.join(' ')}: ${result.said}`);
          assert.match(lines[0], says);
          assert.equal(result.out, '');
        }),
      );
    }
    assert.equal((await cluster.view('g1')).number, 2, 'it has joined and become active');
    assert.equal((await cluster.store.history('map')).length, 1);
  });
});
