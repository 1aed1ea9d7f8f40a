// Settings of a cluster: defaults, what depends on each other, and mistakes told with their path, what was given, and what
// may be.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { defaultSettings, settingsSchema } from '../../../shared/config/settings.ts';
import {
  checkSettings,
  isSameValue,
  sections,
  settingIn,
  settingsProblems,
  tunableAt,
  tunables,
  valueInWords,
  withSetting,
} from '../../../shared/config/tunables.ts';

test('settings - what is left out has its default', () => {
  const { watching, ...others } = settingsSchema.parse({ watching: { beatMs: 50 } });
  assert.deepEqual(watching, { ...defaultSettings.watching, beatMs: 50 });
  const { weights, groupSilence, rebalance } = defaultSettings;
  assert.deepEqual(others, { weights, groupSilence, rebalance });
  assert.deepEqual(settingsProblems({}), []);
});

test('settings - a wrong value is told with its path, what it is and what it may be', () => {
  const cases: [unknown, string][] = [
    [{ watching: { beatMs: 5 } }, 'watching.beatMs is 5, but must be a whole number from 20 to 10000'],
    [{ watching: { beatMs: 50.5 } }, 'watching.beatMs is 50.5, but must be a whole number from 20 to 10000'],
    [{ watching: { beatMs: null } }, 'watching.beatMs is null, but must be a whole number from 20 to 10000'],
    [{ watching: { beatMs: 'soon' } }, 'watching.beatMs is "soon", but must be a whole number from 20 to 10000'],
    [{ weights: { step: [1] } }, 'weights.step is a list, but must be a number from 1.01 to 10'],
    [
      { weights: { policy: 'best' } },
      'weights.policy is "best", but must be one of equal, static, fewest-flows, least-loaded, qos, thermal',
    ],
    [{ weights: { load: { cpu: -1 } } }, 'weights.load.cpu is -1, but must be a number from 0 to 1000'],
    [{ watching: 5 }, 'watching is an object of settings, not 5'],
    [[], 'settings are an object with watching, weights, groupSilence, rebalance, not a list'],
    [{ watching: { beatMS: 5 } }, 'watching.beatMS is no setting, did you mean watching.beatMs?'],
    [{ weights: { beatMs: 5 } }, 'weights.beatMs is no setting, did you mean watching.beatMs?'],
    [{ beatMs: 5 }, 'beatMs is no setting, did you mean watching.beatMs?'],
    [{ 'watching.beatMs': 5 }, 'watching.beatMs is no setting, did you mean watching.beatMs?'],
    [{ weigths: {} }, 'weigths is no setting, did you mean weights?'],
    [{ settings: {} }, 'settings is no setting: there are watching, weights, groupSilence, rebalance'],
    [
      { groupSilence: { for: 1 } },
      'groupSilence.for is no setting: there are groupSilence.afterMs, groupSilence.returnMs',
    ],
    [{ weights: { load: { cpuu: 1 } } }, 'weights.load.cpuu is no load, did you mean cpu?'],
    [JSON.parse('{ "__proto__": 1 }'), '__proto__ is no setting: there are watching, weights, groupSilence, rebalance'],
  ];
  for (const [value, says] of cases) assert.deepEqual(settingsProblems(value), [says]);
  const blend = settingsProblems({ weights: { load: { cpu: 0 } } });
  assert.match(blend.join(), /^weights\.load is cpu:0, but must be loads with parts, not all 0/);
  assert.match(settingsProblems({ weights: { load: { lostFrames: 1 } } }).join(), /lostFrames is no load/);
});

test('settings - what is at odds with another setting is told, also when one of the two has its default', () => {
  const suspect = (given: number, beat: number) =>
    `watching.suspectMs is ${given}, but must be at least twice watching.beatMs, so ${2 * beat}, or one late beat makes a suspect`;
  assert.deepEqual(settingsProblems({ watching: { suspectMs: 399, beatMs: 200 } }), [suspect(399, 200)]);
  assert.deepEqual(settingsProblems({ watching: { beatMs: 300 } }), [suspect(400, 300)]);
  assert.deepEqual(settingsProblems({ watching: { suspectMs: 400, beatMs: 200 } }), []);
  assert.match(settingsProblems({ groupSilence: { afterMs: 1_999 } }).join(), /afterMs is 1999.*stateMs, so 2000/);
  assert.match(settingsProblems({ weights: { ceiling: 4 } }).join(), /hysteresis is 5.*at most weights\.ceiling/);
});

test('settings - each has a path, a variable, a default that may be, and words', () => {
  assert.deepEqual(sections, ['watching', 'weights', 'groupSilence', 'rebalance']);
  assert.equal(new Set(tunables.map(({ variable }) => variable)).size, tunables.length);
  for (const tunable of tunables) {
    const { path, variable, words, allowed, fallback } = tunable;
    assert.match(variable, /^FLOWHERD_[A-Z]+(?:_[A-Z]+)+$/);
    assert.ok(words.length > 20 && allowed.length > 5, path);
    assert.deepEqual(settingIn(defaultSettings, tunable), fallback);
    assert.deepEqual(tunable.read(valueInWords(fallback)), fallback, `${path} as text and back`);
    assert.deepEqual(settingsProblems(withSetting({}, tunable, fallback)), []);
  }
  assert.equal(tunableAt('groupSilence.afterMs')?.variable, 'FLOWHERD_GROUP_SILENCE_AFTER_MS');
});

test('settings - text is read as the value it stands for, and stays text where it stands for none', () => {
  const read = (path: string, text: string) => tunableAt(path)?.read(text);
  assert.equal(read('watching.beatMs', ' 50 '), 50);
  assert.equal(read('weights.step', '1.5'), 1.5);
  for (const text of ['', '5e2', '0x10', '1.', 'NaN', '50ms']) assert.equal(read('watching.beatMs', text), text);
  assert.equal(read('weights.policy', 'qos'), 'qos');
  assert.deepEqual(read('weights.load', 'cpu'), { cpu: 1 });
  assert.deepEqual(read('weights.load', 'cpu:2, flows:0.5'), { cpu: 2, flows: 0.5 });
  for (const text of ['cpu:', 'cpu:x', 'cpu,,flows', 'cpu:1,cpu:2']) assert.equal(read('weights.load', text), text);
  assert.ok(isSameValue({ cpu: 1, flows: 2 }, { flows: 2, cpu: 1 }));
  assert.ok(!isSameValue({ cpu: 1 }, { cpu: 1, flows: 2 }) && !isSameValue({ cpu: 1, loss: 2 }, { cpu: 1, flows: 2 }));
});

test('settings - the examples can be', () => {
  const folder = new URL('../../../deploy/examples/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  assert.ok(files.length > 1);
  for (const name of files) {
    const checked = checkSettings(JSON.parse(readFileSync(new URL(name, folder), 'utf8')));
    assert.equal('problems' in checked, false, `${name}: ${JSON.stringify(checked)}`);
  }
});
