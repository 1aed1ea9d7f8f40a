// Settings of a cluster: defaults, and mistakes told with their path.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultSettings, settingsProblems, settingsSchema } from '../../../shared/cluster/settings.ts';

test('settings - what is left out has its default', () => {
  const { watching, ...others } = settingsSchema.parse({ watching: { beatMs: 50 } });
  assert.deepEqual(watching, { ...defaultSettings.watching, beatMs: 50 });
  assert.deepEqual(others, { weights: defaultSettings.weights, groupSilence: defaultSettings.groupSilence });
  assert.deepEqual(settingsProblems({}), []);
});

test('settings - a wrong value is told with its path', () => {
  const problems = settingsProblems({ watching: { beatMs: 'soon' }, weights: { policy: 'best', load: {} }, other: 1 });
  for (const path of ['watching.beatMs: ', 'weights.policy: ', 'weights.load: ', 'settings: ']) {
    assert.ok(
      problems.some((problem) => problem.startsWith(path)),
      `${path} in ${problems.join('\n')}`,
    );
  }
});
