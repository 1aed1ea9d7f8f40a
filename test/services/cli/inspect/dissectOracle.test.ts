// What dissect shows of every packet of the public captures, cell by cell against what an independent dissector found.
//
// Where the two see a packet differently, either we are wrong and repair it, or it stands in `disagreements` with its
// reason. A disagreement that is not listed fails the test, and so does a listed one that is gone.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Dissector, dissectColumns } from '../../../../services/cli/inspect/dissect.ts';
import { readCapture } from '../../../../shared/capture/reader.ts';
import { type Row, sharedCaptures } from '../../../support/sharedCaptures.ts';

interface Disagreement {
  readonly file: string;
  readonly frame: number;
  readonly column: string;
  readonly ours: string;
  readonly theirs: string;
  readonly reason: string;
}

const disagreements: readonly Disagreement[] = [];

test('dissect - every packet of the public captures shows what the oracle shows', async (t) => {
  const captures = sharedCaptures(t);
  if (captures === undefined) return;
  assert.equal(captures.length, 45);
  for (const capture of captures) {
    await t.test(capture.name, async () => {
      const ours = await dissectAll(capture.path);
      const theirs = capture.oracle();
      assert.equal(ours.length, theirs.length, 'packets');
      const found: Omit<Disagreement, 'reason'>[] = [];
      for (const [index, row] of ours.entries()) {
        for (const [column, expected] of Object.entries(expectation(theirs[index]))) {
          if (row[column] === expected) continue;
          found.push({ file: capture.name, frame: index + 1, column, ours: row[column], theirs: expected });
        }
      }
      const listed = disagreements
        .filter(({ file }) => file === capture.name)
        .map(({ file, frame, column, ours, theirs }) => ({ file, frame, column, ours, theirs }));
      assert.deepEqual(found, listed);
    });
  }
});

async function dissectAll(path: string): Promise<Row[]> {
  const dissector = new Dissector({ secret: 'test' });
  const rows: Row[] = [];
  for await (const { buffer, count, offsets, lengths, linkTypes, interfaces } of readCapture(path)) {
    for (let i = 0; i < count; i++) {
      const cells = dissector.row(buffer, offsets[i], offsets[i] + lengths[i], linkTypes[i], interfaces[i]);
      rows.push(Object.fromEntries(dissectColumns.map((name, column) => [name, String(cells[column])])));
    }
  }
  return rows;
}

/** The cells that the oracle's row asks for. */
function expectation(row: Row): Row {
  const whole = row.frag !== '1' || (row.mf === '0' && row.frag_off === '0');
  return {
    frame: row.frame,
    ip_version: row.ip_ver,
    src: row.ip_src,
    dst: row.ip_dst,
    proto: row.ip_proto,
    sport: row.sport,
    dport: row.dport,
    tcp_flags: row.tcp_flags,
    frag_offset: whole ? '' : row.frag_off,
    more_fragments: whole ? '' : row.mf,
    flow_start: isStart(row) ? '1' : '0',
    flow_end: isEnd(row) ? '1' : '0',
    vlan: row.vlan,
  };
}

/** Whether the outermost packet starts a flow or a session, by the columns that are about it. */
function isStart(row: Row): boolean {
  const flags = Number(row.tcp_flags || 0);
  if (row.ip_proto === '6') return (flags & 0x12) === 0x02;
  if (row.ip_proto === '132') return row.sctp_chunk === '1';
  if (row.ip_proto === '33') return row.dccp_type === '0';
  if (row.ip_proto !== '17' || row.app_in_inner === '1') return false;
  return (
    row.dhcp_msg === '1' ||
    row.dhcp_msg === '3' ||
    row.dhcp6_msg === '1' ||
    row.dhcp6_msg === '3' ||
    (row.radius_code === '4' && row.acct_status === '1') ||
    (row.gtp_ver === '2' ? row.gtp_msg === '32' : row.gtp_msg === '16')
  );
}

function isEnd(row: Row): boolean {
  const flags = Number(row.tcp_flags || 0);
  if (row.ip_proto === '6') return (flags & 0x05) !== 0;
  if (row.ip_proto === '132') return row.sctp_chunk === '6' || row.sctp_chunk === '14';
  if (row.ip_proto === '33') return row.dccp_type === '6' || row.dccp_type === '7';
  if (row.ip_proto !== '17' || row.app_in_inner === '1') return false;
  return (
    row.dhcp_msg === '7' ||
    row.dhcp6_msg === '8' ||
    (row.radius_code === '4' && row.acct_status === '2') ||
    (row.gtp_ver === '2' ? row.gtp_msg === '36' : row.gtp_msg === '20')
  );
}
