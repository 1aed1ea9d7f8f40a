// Settings by file and environment: what beats what, and mistakes said in one line with the file or variable they are in.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { askedSettings, settingVariables } from '../../../../services/cli/config/config.ts';
import { differences, mapFromOptions, usualCluster } from '../../../../services/cli/config/settings.ts';
import { faultIn } from '../../../../services/ops/jsonText.ts';
import { errorCodes, isFlowherdError } from '../../../../shared/base/errors.ts';
import { defaultSettings, settingsSchema } from '../../../../shared/config/settings.ts';
import { Service } from '../../../support/processes.ts';

const capture: string = fileURLToPath(new URL('../../../captures/media.pcap', import.meta.url));

const options = { ...usualCluster, groups: 2 };

describe('config', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'flowherd-config-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  let files = 0;
  const file = (text: string): string => {
    const path = join(folder, `${++files}.json`);
    writeFileSync(path, text);
    return path;
  };

  it('config - the environment beats the file, the file beats the default, and what is empty says nothing', () => {
    const path = file('\uFEFF{ "watching": { "beatMs": 50, "watchers": 5 }, "weights": { "load": { "flows": 1 } } }');
    const variables = {
      FLOWHERD_WATCHING_BEAT_MS: '60',
      FLOWHERD_WEIGHTS_LOAD: 'cpu:2,loss',
      FLOWHERD_WEIGHTS_STEP: '',
    };
    const { settings, asked } = askedSettings(path, variables);
    assert.deepEqual(settings.watching, { ...defaultSettings.watching, beatMs: 60, watchers: 5 });
    assert.deepEqual(settings.weights, { ...defaultSettings.weights, load: { cpu: 2, loss: 1 } });
    const names = asked.map((tunable) => tunable.path);
    assert.deepEqual(names, ['watching.beatMs', 'watching.watchers', 'weights.load']);
    assert.deepEqual(askedSettings(undefined), { settings: defaultSettings, asked: [] });
    assert.deepEqual(askedSettings('', {}).settings, defaultSettings);
    assert.deepEqual(settingVariables({ FLOWHERD_X: 'y', FLOWHERD_Z: '', OTHER: 'z' }), { FLOWHERD_X: 'y' });
  });

  it('config - variables that are no settings are left alone, unless they nearly are settings', () => {
    askedSettings(undefined, {
      FLOWHERD_GROUPS: '4',
      FLOWHERD_RATE: '3',
      FLOWHERD_LOADS_STEP: '3',
      FLOWHERD_BEAT_MS: '1',
    });
    const unknown = (name: string, says: string) =>
      refused(() => askedSettings(undefined, { [name]: '1' }), `${name} is no setting${says}`);
    unknown('FLOWHERD_WATCHING_BEATMS', ', did you mean FLOWHERD_WATCHING_BEAT_MS?');
    unknown('FLOWHERD_WATCHNG_BEAT_MS', ', did you mean FLOWHERD_WATCHING_BEAT_MS?');
    unknown('FLOWHERD_GROUPSILENCE_AFTER_MS', ', did you mean FLOWHERD_GROUP_SILENCE_AFTER_MS?');
    unknown(
      'FLOWHERD_GROUP_SILENCE_X',
      ': there are FLOWHERD_GROUP_SILENCE_AFTER_MS, FLOWHERD_GROUP_SILENCE_RETURN_MS',
    );
  });

  it('config - a mistake is said with the file or the variable that it is in', () => {
    const cases: [text: string, variables: Record<string, string>, says: string][] = [
      ['{"watching":{"beatMs":5}}', {}, 'FILE: watching.beatMs is 5, but must be a whole number from 20 to 10000'],
      [
        '{"watching":{"beatMs":50}}',
        { FLOWHERD_WATCHING_BEAT_MS: 'soon' },
        'FLOWHERD_WATCHING_BEAT_MS=soon: must be a whole number from 20 to 10000',
      ],
      [
        '{}',
        { FLOWHERD_WEIGHTS_LOAD: 'cpuu:1' },
        'FLOWHERD_WEIGHTS_LOAD=cpuu:1: weights.load.cpuu is no load, did you mean cpu?',
      ],
      [
        '{"watching":{"beatMs":300}}',
        {},
        'FILE: watching.suspectMs is 400, but must be at least twice watching.beatMs, so 600,',
      ],
      [
        '{}',
        { FLOWHERD_WATCHING_BEAT_MS: '300' },
        'FLOWHERD_WATCHING_BEAT_MS=300: watching.suspectMs is 400, but must be at least twice',
      ],
      [
        '{"watching":{"suspectMs":500}}',
        { FLOWHERD_WATCHING_BEAT_MS: '300' },
        'FILE: watching.suspectMs is 500, but must be at least twice',
      ],
      [
        '{"watching":{"beatMs":5},"a":1}',
        {},
        'FILE: watching.beatMs is 5, but must be a whole number from 20 to 10000; FILE: a is no',
      ],
      ['{"a":1,"b":2,"c":3,"d":4,"e":5}', {}, 'FILE: a is no setting: .*; and 2 more$'],
      ['[]', {}, 'FILE: an object with watching, weights, groupSilence, rebalance is wanted'],
      ['{"watching":[]}', {}, 'FILE: watching is an object of settings, not a list'],
      ['', {}, 'FILE: line 1, column 1: it ends, but a value is wanted'],
      ['{\n  "watching": {,}\n}', {}, 'FILE: line 2, column 16: a name in double quotes or } is wanted'],
      ['{"weights": {"step": 2}, "weights": {}}', {}, 'FILE: line 1, column 26: "weights" is there twice'],
    ];
    for (const [text, variables, says] of cases) {
      const path = file(text);
      refused(() => askedSettings(path, variables), says.replaceAll('FILE', `configuration ${path}`));
    }
    refused(() => askedSettings(folder), `configuration ${folder} cannot be read \\(EISDIR`);
    refused(
      () => askedSettings(join(folder, 'none')),
      `configuration ${join(folder, 'none')} cannot be read \\(ENOENT`,
    );
    refused(() => askedSettings('/dev/zero'), 'configuration /dev/zero has more than 1048576 bytes');
    refused(() => askedSettings(file('['.repeat(1_000_000))), '.*column 1000001: it ends');
    const deep = file(`{"watching":{"beatMs":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`);
    refused(() => askedSettings(deep), '.*beatMs is a list, but');
  });

  it('config - the place of a fault is found wherever the parser finds one, and nowhere else', () => {
    const good = ['1', ' {"a":[1,-0.5e3,{"b":null}],"c":"\\u00e4\\"\u00e4"}\n', '[]', '[true,[],{}]', '"\u007f"'];
    for (const text of good) assert.equal(faultIn(text), undefined, text);
    const bad: [string, number, number][] = [
      ['{"a" 1}', 1, 6],
      ['{"a": x}', 1, 7],
      ['{"a": 1,}', 1, 9],
      ['[1 2]', 1, 4],
      ['[1]]', 1, 4],
      ['[1}', 1, 3],
      ['{"a":1]', 1, 7],
      ['{"a":\r\n01}', 2, 1],
      ['["a\tb"]', 1, 2],
      ['["\\x"]', 1, 2],
      ['"open', 1, 1],
      ["{'a': 1}", 1, 2],
      ['{"a": 1} // why', 1, 10],
      [':', 1, 1],
      ['nullx', 1, 1],
      ['{a:1}', 1, 2],
    ];
    for (const [text, line, column] of bad) {
      assert.throws(() => JSON.parse(text), SyntaxError, text);
      const fault = faultIn(text);
      assert.deepEqual([fault?.line, fault?.column], [line, column], `${text}: ${fault?.reason}`);
    }
  });

  it('config - a cluster that exists differs only in what was asked for', () => {
    const asked = askedSettings(undefined, { FLOWHERD_WATCHING_BEAT_MS: '50', FLOWHERD_WEIGHTS_LOAD: 'cpu:1,flows:2' });
    const proposal = mapFromOptions(options, 'secret', asked);
    assert.equal(proposal.settings.watching.beatMs, 50);
    const settings = settingsSchema.parse({ weights: { load: { flows: 2, cpu: 1 }, policy: 'qos' } });
    const map = { ...mapFromOptions({ ...options, groups: 3 }, 'secret'), settings };
    assert.deepEqual(differences(proposal, map, ['groups'], asked), ['groups', 'settings.watching.beatMs']);
    assert.deepEqual(differences(proposal, map, [], { asked: [] }), []);
  });

  it('config - every command that makes a cluster refuses it with exit code 2, and before it connects to anything', async () => {
    const wrong = file('{"watching": {"beatMs": 5}}');
    const commands = [
      ['init'],
      ['tier1', '--input', capture],
      ['dssl'],
      ['demo'],
      ['replay', capture],
      ['traffic', '--bus', 'embedded'],
    ];
    await Promise.all(
      commands.map(async (command, index) => {
        const byOption = index % 2 === 0;
        const service = new Service(byOption ? [...command, '--config', wrong] : command, {
          ...(byOption ? {} : { FLOWHERD_CONFIG: wrong }),
          FLOWHERD_BUS: 'nats://127.0.0.1:1',
        });
        assert.equal(await service.ended(), 2, `${command}: ${service.messages.join('\n')}`);
        const lines = service.messages.filter((line) => line.startsWith('flowherd: '));
        assert.deepEqual(lines, [
          `flowherd: configuration ${wrong}: watching.beatMs is 5, but must be a whole number from 20 to 10000`,
        ]);
      }),
    );
  });
});

function refused(read: () => unknown, says: string): void {
  assert.throws(read, (error) => {
    assert.ok(isFlowherdError(error, errorCodes.badConfig), String(error));
    assert.match(error.message, new RegExp(`^${says.replace(/[?+]/g, '\\$&')}`));
    assert.ok(!error.message.includes('\n'));
    return true;
  });
}
