// The story of a flow that broke: the seed runs again, which is the same run, and this time somebody listens to every
// decision about that flow and to everything that happened around it.

import type { DecisionAudit } from '../../services/dssl/replica/effects.ts';
import { noPacket, verdicts, waiting } from '../../services/dssl/replica/verdict.ts';
import { readStamp } from '../../shared/packet/stamp.ts';
import type { Finding } from './checkers/finding.ts';
import { type RunOptions, runWorld } from './run.ts';
import type { World } from './world.ts';

interface Line {
  readonly atMs: number;
  /** Packet it is about; -1 for what happened around. */
  readonly packet: number;
  readonly text: string;
}

/** Around the packet that broke, everything is told; before that, only what concerns its flow, and the faults: all matter. */
const aroundMs = 3_000;
const packetsTold = 12;

export async function storyOf(seed: number, options: RunOptions, finding: Finding): Promise<string> {
  const lines: Line[] = [];
  let world: World | undefined;
  const nowMs = (): number => world?.nowMs ?? 0;
  const auditOf = (server: string, group: string): DecisionAudit => {
    const stamp = { run: 0, id: 0, flow: 0 };
    const late = new Map<string, number>();
    const tell = (packet: number, text: string): void => {
      const running = world?.servers.findLast(({ options: its }) => its.name === server && its.group === group);
      const at = running?.actor.replica?.position ?? 0;
      lines.push({ atMs: nowMs(), packet, text: `${server} at ${at}, view ${running?.actor.view.number}: ${text}` });
    };
    return {
      onFrame: (frame, codes) => {
        let offset = 0;
        for (let row = 0; row < frame.count; row++) {
          const end = offset + frame.length(row);
          if (codes[row] !== noPacket && readStamp(frame.payload, offset, end, stamp) && stamp.flow === finding.flow) {
            const verdict = codes[row] === waiting ? 'waits' : verdicts[codes[row]];
            if (codes[row] === waiting) late.set(`${frame.tier1Id} ${frame.number} ${row}`, stamp.id);
            tell(stamp.id, `${verdict}, frame ${frame.number} of ${frame.tier1Id}`);
          }
          offset = end;
        }
      },
      onLate: (tier1Id, number, row, code) => {
        const packet = late.get(`${tier1Id} ${number} ${row}`);
        if (packet !== undefined) tell(packet, verdicts[code]);
      },
    };
  };
  const log = (text: string): void => void lines.push({ atMs: nowMs(), packet: -1, text: text.replace(/^\S+ s /, '') });
  world = await runWorld(seed, options, { auditOf, log }, (made) => {
    world = made;
  });
  return inWords(world, finding, lines);
}

function inWords(world: World, finding: Finding, lines: Line[]): string {
  const { packets, flows, lives } = world.ledger;
  const flow = finding.flow === undefined ? undefined : flows[finding.flow];
  const broken = finding.packet === undefined ? undefined : packets[finding.packet];
  for (const id of flow?.packets ?? []) {
    const { kind, sentMs, tier1, fate } = packets[id];
    lines.push({ atMs: sentMs, packet: id, text: `client sends ${kind} through ${tier1}` });
    if (fate === undefined) continue;
    const { group, position, atMs, owner, verdict, isLost } = fate;
    const whose = owner === -1 ? `nobody's (${verdicts[verdict]})` : `${lives[owner].name}'s`;
    lines.push({ atMs, packet: id, text: `stored at ${position} of ${group}${isLost ? ', and lost,' : ''}: ${whose}` });
  }
  for (const { what, fromMs, untilMs } of world.weather.troubles)
    lines.push({ atMs: fromMs, packet: -1, text: `trouble: ${what}, until ${(untilMs / 1_000).toFixed(3)} s` });
  lines.sort((one, other) => one.atMs - other.atMs);
  if (flow === undefined || broken === undefined)
    return lines
      .filter(({ packet }) => packet === -1)
      .map(inLine)
      .join('\n');
  // The first packets of the flow, and the last ones up to the broken one.
  const known = flow.packets.filter((id) => id <= broken.id);
  const told = new Set([...known.slice(0, packetsTold / 2), ...known.slice(-packetsTold / 2), broken.id]);
  const firstMs = packets[known[0]].sentMs - aroundMs;
  return lines
    .filter(({ atMs, packet, text }) => {
      if (packet !== -1) return told.has(packet);
      return text.startsWith('fault #') || (atMs > firstMs && atMs < broken.sentMs + aroundMs);
    })
    .map(inLine)
    .join('\n');
}

function inLine({ atMs, packet, text }: Line): string {
  return `  ${(atMs / 1_000).toFixed(4).padStart(8)} ${packet === -1 ? '' : `packet ${packet}: `}${text}`;
}
