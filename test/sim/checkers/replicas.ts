// Every replica of a group is the same at every position: what it says of an entry, the owner of each row, the flow slices that the
// entry touched, everything global, the digests that were due, and in the end all slices. There is no excuse. By Fig. 6 what a
// server alone knows of its connections is its own, and in no digest.
//
// A replica that follows a line that the log has lost is compared on that line, as long as the reference has been there too; in the end
// everybody must be on the line that the log holds.

import type { Effects } from '../../../services/dssl/replica/effects.ts';
import { noServer } from '../../../services/dssl/replica/flows/entry.ts';
import type { Replica } from '../../../services/dssl/replica/replica.ts';
import { accepts, V, verdicts, waiting } from '../../../services/dssl/replica/verdict.ts';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import type { Fate } from '../ledger.ts';
import { type Judgement, lateOf, sliceCount } from '../reference/judgement.ts';
import type { Reference } from '../reference/reference.ts';
import type { SimServer } from '../server.ts';
import type { World } from '../world.ts';
import { type Finding, seconds } from './finding.ts';

/** An entry that was stored so long before the end has been applied by everybody who lives. */
const appliedWithinMs = 1_000;

/** Called by a server's actor after each entry: compares, and notes what its replica did with its own packets. */
export function compareApplied(reference: Reference, server: SimServer, replica: Replica, effects: Effects): void {
  if (replica.isSuperseded) return;
  const judgement = reference.judgementOf(replica);
  if (judgement === undefined) return;
  server.noteApplied(replica.position, judgement.epoch);
  reference.followed(judgement.line);
  if (reference.goesOnBehindLost(replica)) return;
  const isPartial = lacksSlices(effects);
  if (isPartial) judgement.passedOverBy.push(server.life.index);
  else judgement.appliedBy.push(server.life.index);
  if (judgement.nobodys.length > 0) noteCauses(judgement.nobodys, effects.verdicts);
  if (judgement.lateNobodys.length > 0)
    noteCauses(
      judgement.lateNobodys,
      effects.late.map(({ verdict }) => verdict),
    );
  if (server.divergence !== undefined) return;
  const difference = tooEarly(server, replica, isPartial) ?? differenceOf(judgement, replica, effects, isPartial);
  if (difference === undefined) return;
  const { name, group } = server.options;
  server.divergence = `${name} differs at position ${replica.position} of ${group}, ${seconds(server.options.nowMs())}: ${difference}`;
}

export function replicas(world: World): Finding | undefined {
  const wrong = (what: string): Finding => ({ checker: 'replicas', what });
  for (const { divergence } of world.servers) if (divergence !== undefined) return wrong(divergence);
  for (const server of world.servers) {
    const { group, name } = server.options;
    const { replica } = server.actor;
    if (server.life.endedMs <= world.nowMs || replica === undefined || server.isLeaving) continue;
    const reference = world.referenceOf(group);
    if (reference.replica === undefined) return wrong(`${group} ends in an epoch whose donor has said nothing`);
    const log = world.network.logOf(group);
    const due = log.entries.findLast(({ atMs }) => atMs < world.nowMs - appliedWithinMs)?.position ?? 0;
    if (replica.epoch?.id !== reference.epoch?.id)
      return wrong(`${name} ends in epoch ${replica.epoch?.id}, and the log of ${group} in ${reference.epoch?.id}`);
    if (!reference.isOnLine(replica)) return wrong(`${name} ends on a line that ${group} has lost`);
    if (replica.position < due)
      return wrong(`${name} ends at position ${replica.position} of ${group}, which had ${due} a second ago`);
    if (replica.position !== reference.replica.position) continue;
    const difference = wholeDifference(reference.replica, replica);
    if (difference !== undefined) return wrong(`${name} differs in the end: ${difference}`);
  }
  return undefined;
}

/** A joiner holds everything before it becomes active. One that has been whole before may lack something later. */
function tooEarly(server: SimServer, { view }: Replica, isPartial: boolean): string | undefined {
  if (server.actor.recovery.isWhole) server.hasBeenWhole = true;
  const { name, incarnation } = server.options;
  if (server.hasBeenWhole || !isPartial) return undefined;
  const member = view.members.find((each) => each.server === name && each.incarnation === incarnation);
  return member?.state === 'active' ? 'it is active, and lacks slices' : undefined;
}

function differenceOf(
  judgement: Judgement,
  replica: Replica,
  effects: Effects,
  isPartial: boolean,
): string | undefined {
  const { outcome, owners, slices, digests, due, fingerprint, late } = judgement;
  if (effects.outcome !== outcome) return `the entry is ${effects.outcome}, for others ${outcome}`;
  if (outcome === 'frame') {
    const { frame } = effects;
    const absent = isPartial ? absentIn(effects) : undefined;
    const { selfNumber } = replica;
    for (let row = 0; row < owners.length; row++) {
      const verdict = effects.verdicts[row];
      if (verdict === V.ignoreAbsent) continue;
      const isMine = effects.owners[row] === selfNumber && selfNumber !== noServer;
      if (isMine !== accepts(verdict) && !mayDiffer(isMine, verdict, frame.flags(row), replica))
        return `row ${row} belongs to server ${effects.owners[row]}, and the verdict is ${verdicts[verdict]}`;
      if (effects.owners[row] === owners[row]) continue;
      return `row ${row} belongs to server ${effects.owners[row]}, for others to ${owners[row]}`;
    }
    for (let index = 0; index < slices.length; index++) {
      if (absent?.has(slices[index]) || !replica.holds(slices[index])) continue;
      const digest = replica.digest(slices[index]);
      if (digest !== digests[index])
        return `slice ${slices[index]} has digest ${digest}, for others ${digests[index]}, after rows of it`;
    }
  }
  const own = effects.late.length === 0 ? none : lateOf(effects);
  // One whose slice is on its way yet is nobody's here.
  const isOther = (owner: number, at: number) =>
    owner !== late[at] && effects.late[Math.floor(at / 3)].verdict !== V.ignoreAbsent;
  if (own.length !== late.length || own.some(isOther))
    return `fragments that waited end as ${own}, for others as ${late}`;
  if (replica.globalFingerprint() !== fingerprint) return 'what is global differs';
  for (const { slice, digest } of effects.digests) {
    for (let at = 0; at < due.length; at += 2) {
      if (due[at] === slice && due[at + 1] !== digest)
        return `slice ${slice} has digest ${digest} when it is due, for others ${due[at + 1]}`;
    }
  }
  return undefined;
}

/** By Fig. 6 a server alone knows the middle of its connections, and whether it has room for another one. */
function mayDiffer(isMine: boolean, verdict: number, flags: number, { ownTable }: Replica): boolean {
  if (ownTable === undefined || (flags & (FrameFlags.TYPE1 | FrameFlags.AGGREGATE)) !== FrameFlags.TYPE1) return false;
  return isMine ? verdict === V.dropTableFull : (flags & FrameFlags.START) === 0;
}

/** Why packets are nobody's: who would have got one knows best. */
function noteCauses(nobodys: readonly (Fate | undefined)[], codes: ArrayLike<number>): void {
  for (let row = 0; row < nobodys.length; row++) {
    const fate = nobodys[row];
    if (fate === undefined || codes[row] === V.ignoreAbsent || codes[row] === waiting) continue;
    if (fate.verdict === V.ignoreRemoved || codes[row] === V.dropTableFull) fate.verdict = codes[row];
  }
}

const none: readonly number[] = [];

/** Whether slices of the entry's rows are not here. */
function lacksSlices({ outcome, frame, verdicts }: Effects): boolean {
  if (outcome !== 'frame') return false;
  for (let row = 0; row < frame.count; row++) if (verdicts[row] === V.ignoreAbsent) return true;
  return false;
}

/** Slices of the entry's rows that are not here yet, or here as they are further on. */
function absentIn({ frame, verdicts }: Effects): ReadonlySet<number> {
  const slices = new Set<number>();
  for (let row = 0; row < frame.count; row++)
    if (verdicts[row] === V.ignoreAbsent) slices.add(frame.hashHi(row) >>> 24);
  return slices;
}

function wholeDifference(reference: Replica, replica: Replica): string | undefined {
  if (replica.missingSlices > 0) return `${replica.missingSlices} slices are missing`;
  for (let slice = 0; slice < sliceCount; slice++)
    if (replica.digest(slice) !== reference.digest(slice)) return `slice ${slice} is another one`;
  return replica.globalFingerprint() === reference.globalFingerprint() ? undefined : 'what is global differs';
}
