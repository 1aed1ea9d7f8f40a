// From options on the command line to a cluster map: what holds where nothing is asked for, and what is refused.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type ClusterOptions,
  differences,
  keyerFor,
  mapFromOptions,
  usualCluster,
} from '../../../../services/cli/config/settings.ts';
import { initCommand } from '../../../../services/cli/operate/init.ts';
import { replayCommand } from '../../../../services/cli/run/replay.ts';
import { decodeMap, encodeMap } from '../../../../shared/config/map.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';

describe('cluster options', () => {
  it('cluster options - a new cluster goes by Fig. 7 and the clock, and keeps ten seconds on file, where nothing else is asked for', async () => {
    const { rules, log } = mapFromOptions(await parsed(), 'secret');
    assert.deepEqual(rules, {
      typeOneMethod: 'fig-7',
      tableFirst: false,
      midFlow: 'ignore',
      maxFlows: 1_000_000,
      idle: defaultIdle,
      availability: 'none',
      time: 'log',
    });
    assert.deepEqual(log, { retention: { ageMs: 10_000, bytes: 268_435_456 }, storage: 'file', replicas: 1 });
    const asked = await parsed(
      ...['--table-first', '--max-flows', '5000', '--time', 'capture'],
      ...['--log-storage', 'memory', '--log-replicas', '3', '--log-seconds', '60', '--log-megabytes', '64'],
    );
    const map = mapFromOptions(asked, 'secret');
    assert.deepEqual([map.rules.typeOneMethod, map.rules.maxFlows, map.rules.time], ['fig-6', 5_000, 'capture']);
    assert.deepEqual(map.log, { retention: { ageMs: 60_000, bytes: 67_108_864 }, storage: 'memory', replicas: 3 });
    assert.deepEqual(decodeMap(encodeMap(map)), map);
    const usual = mapFromOptions(await parsed(), 'secret');
    assert.deepEqual(differences(map, usual, asked.given, { asked: [] }), ['rules', 'log']);
    assert.deepEqual(differences(map, usual, [], { asked: [] }), []);
  });

  it('cluster options - ports of tunnels and tenants belong to the keys that a cluster agrees on', async () => {
    const usual = mapFromOptions(await parsed(), 'secret');
    assert.deepEqual([usual.keys.tunnelPorts, usual.keys.within], [undefined, undefined]);
    const asked = await parsed(
      ...['--tunnel', 'inner', '--tunnel-port', 'vxlan=14789', '--tunnel-port', 'gue=7000-7001'],
      ...['--within', 'vni', '--within', 'vlan'],
    );
    const map = mapFromOptions(asked, 'secret');
    assert.deepEqual(map.keys.tunnelPorts, ['vxlan=14789', 'gue=7000-7001']);
    assert.deepEqual(map.keys.within, ['vlan', 'vni']);
    assert.deepEqual(mapFromOptions(await parsed('--tunnel', 'inner', '--within', 'vlan,vni'), 'secret').keys.within, [
      'vlan',
      'vni',
    ]);
    assert.deepEqual(decodeMap(encodeMap(map)), map);
    assert.deepEqual(differences(map, usual, asked.given, { asked: [] }), ['keys']);
    const broken = { ...map, keys: { ...map.keys, within: ['mac'] } };
    assert.equal(decodeMap(encodeMap(broken as unknown as typeof map)), undefined);
    const other = mapFromOptions(await parsed('--within', 'vni'), 'secret');
    assert.throws(() => keyerFor(other, 'secret'), /^FlowherdError: network identifiers are in tunnels/);
  });

  it('cluster options - how much of a connection id counts belongs to the keys, and only to those by it', async () => {
    const map = mapFromOptions(await parsed('--key', 'quic-cid', '--cid-length', '4'), 'secret');
    assert.deepEqual([map.keys.flow, map.keys.group, map.keys.cidLength], ['quic-cid', 'quic-cid', 4]);
    assert.deepEqual(decodeMap(encodeMap(map)), map);
    assert.equal(decodeMap(encodeMap({ ...map, keys: { ...map.keys, cidLength: 21 } })), undefined);
    keyerFor(map, 'secret');
    const other = mapFromOptions(await parsed('--cid-length', '4'), 'secret');
    assert.throws(
      () => keyerFor(other, 'secret'),
      /^FlowherdError: the length of connection ids is for the key 'quic-cid'/,
    );
  });

  it('cluster options - a cluster for a replay goes by the time of the capture, and leaves nothing on a disk', async () => {
    const { rules, log } = mapFromOptions(await parsedBy(replayCommand(environment), ['x.pcap']), 'secret');
    assert.deepEqual([rules.time, log.storage], ['capture', 'memory']);
  });

  it('cluster options - options of a cluster that cannot be are refused', async () => {
    const wrong: [args: string[], says: RegExp][] = [
      [['--log-replicas', '2'], /1, 3 or 5 is wanted/],
      [['--log-megabytes', '8'], /a whole number from \d+ to/],
      [['--log-seconds', '0'], /a whole number from 1 to 3600/],
      [['--log-storage', 'tape'], /Allowed choices are file, memory/],
      [['--max-flows', '0'], /a whole number from 1 to/],
      [['--tunnel-port', 'gre=47'], /'gre' is no tunnel on UDP/],
      [['--within', 'mac'], /'mac' is none of vlan, vni/],
      [['--time', 'packet'], /Allowed choices are log, capture/],
    ];
    for (const [args, says] of wrong) await assert.rejects(parsed(...args), says);
    const fig6 = await parsed('--method', 'fig-6', '--mid-flow', 'adopt');
    assert.throws(
      () => mapFromOptions(fig6, 'secret'),
      /^FlowherdError: --mid-flow adopt: adopting mid-flow packets needs/,
    );
  });
});

const environment = () => ({ secret: undefined, auth: undefined, logLevel: 'silent' });

/** What `init` would make of these. */
function parsed(...args: readonly string[]): Promise<ClusterOptions> {
  return parsedBy(initCommand(environment), args);
}

async function parsedBy(command: ReturnType<typeof initCommand>, args: readonly string[]): Promise<ClusterOptions> {
  let options: ClusterOptions = usualCluster;
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  command.action(() => void (options = command.opts()));
  await command.parseAsync(args, { from: 'user' });
  return options;
}
