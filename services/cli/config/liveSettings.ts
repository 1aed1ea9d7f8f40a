// Settings that change while a service runs: it follows the cluster's map, and takes over what may change. The rest of a map
// (groups, keys, placement, ...) is what every frame was made and every flow was placed by; a process keeps what it started
// with, and says so when the store has something else.

import type { KeyValue } from '../../../shared/bus/bus.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import type { ClusterSettings } from '../../../shared/config/settings.ts';
import { followMap, type MapFollower } from '../../../shared/config/store.ts';

/** A pino logger fits. */
export interface SettingsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface LiveSettingsOptions {
  readonly store: KeyValue;
  /** What the process started with. */
  readonly map: ClusterMap;
  readonly log: SettingsLog;
  /** Told of each change, with all settings as they are now. */
  readonly onSettings?: (settings: ClusterSettings) => void;
}

/** What of a map may be another one in its next version. */
const mayChange: readonly (keyof ClusterMap)[] = ['version', 'changed', 'settings'];

const ignoredWords = {
  unreadable: 'the store holds a cluster map that this version cannot read; the settings stay as they are',
  foreign: 'the store holds the map of another cluster; the settings stay as they are',
};

/** Follows the map until it is stopped. Rejects with a FlowherdError. */
export function followSettings({ store, map, log, onSettings }: LiveSettingsOptions): Promise<MapFollower> {
  return followMap(store, map, {
    onMap: (newer, former) => {
      const { version, changed } = newer;
      const kept = differingParts(map, newer);
      if (kept.length > 0) {
        log.warn(
          { version, kept, ...changed },
          'the map has other parts than this process started with; it keeps its own',
        );
      }
      if (JSON.stringify(newer.settings) === JSON.stringify(former.settings)) return;
      log.info({ version, ...changed }, 'settings changed');
      onSettings?.(newer.settings);
    },
    onIgnored: (what) => log.warn({}, ignoredWords[what]),
  });
}

function differingParts(one: ClusterMap, other: ClusterMap): string[] {
  const parts = [...new Set([...Object.keys(one), ...Object.keys(other)])] as (keyof ClusterMap)[];
  return parts.filter((part) => !mayChange.includes(part) && JSON.stringify(one[part]) !== JSON.stringify(other[part]));
}
