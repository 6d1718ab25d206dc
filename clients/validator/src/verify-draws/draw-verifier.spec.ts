import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import type { DrawExportRow, DrawnFrom } from '@studio/shared/contract/draws';
import { verifyDraws } from './draw-verifier';
import type { CheckName } from './findings';
import { anyExport, HonestAuditor, type HonestExport } from './honest-export.rig';

const verify = ({ header, rows, awards }: HonestExport) => verifyDraws(header, rows, awards).list();

const wrong = (made: HonestExport): CheckName[] =>
  verify(made)
    .filter(({ failures }) => failures > 0)
    .map(({ name }) => name);

const ANY_JOB = '0190a5d8-0000-7000-8000-000000000001';

const isDraw = ({ q }: DrawExportRow): boolean => q !== null;
const isReplay = ({ q }: DrawExportRow): boolean => q === null;

/** One of the rows that are meant; the run is passed over when there is none. */
function pick(rows: readonly DrawExportRow[], at: number, meant: (row: DrawExportRow) => boolean): DrawExportRow {
  const candidates = rows.filter(meant);
  fc.pre(candidates.length > 0);
  return candidates[at % candidates.length]!;
}

/** The rows of its miner and kind, in the order in which they were drawn. */
function group(rows: readonly DrawExportRow[], { hotkey, kind }: DrawExportRow): DrawExportRow[] {
  const key = ({ taken_at: taken, finished_at: finished, job_id: id }: DrawExportRow) => `${taken}${finished}${id}`;
  return rows
    .filter((row) => isDraw(row) && row.hotkey === hotkey && row.kind === kind)
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

type Change = (made: HonestExport, at: number) => void;

/** What one change does to an honest export, and the check that has to name it. */
const CHANGES: [what: string, check: CheckName, change: Change][] = [
  [
    'another u',
    'u',
    ({ rows }, at) => {
      const row = pick(rows, at, isDraw);
      row.u = (BigInt(row.u!) ^ 1n).toString();
    },
  ],
  ['no u', 'u', ({ rows }, at) => void (pick(rows, at, isDraw).u = null)],
  [
    'another q',
    'q',
    ({ rows }, at) => {
      const row = pick(rows, at, isDraw);
      row.q = row.q === 1 ? 0.4 : 1;
    },
  ],
  ['the last bit of q', 'q', ({ rows }, at) => void (pick(rows, at, ({ q }) => q === 0.4).q = 0.4 + 2 ** -54)],
  [
    'a draw turned round',
    'drawn',
    ({ rows }, at) => {
      const row = pick(rows, at, isDraw);
      row.drawn = !row.drawn;
    },
  ],
  ['a draw without what it was decided from', 'q', ({ rows }, at) => void (pick(rows, at, isDraw).record = null)],
  [
    'one job more seen',
    'record',
    ({ rows }, at) => {
      pick(rows, at, (row) => isDraw(row) && group(rows, row).length > 1).record!.jobs_seen += 1;
    },
  ],
  [
    'one pass more than audits',
    'record',
    ({ rows }, at) => {
      const { record } = pick(rows, at, isDraw);
      record!.passes = record!.audits + 1;
    },
  ],
  [
    'audits forgotten',
    'record',
    ({ rows }, at) => {
      const row = pick(rows, at, (one) => isDraw(one) && group(rows, one)[0] !== one && one.record!.audits > 0);
      row.record = { ...row.record!, audits: 0, passes: 0, cusum: 0 };
      const [first] = group(rows, row);
      fc.pre(first!.record!.audits > 0);
    },
  ],
  [
    'a suspicion made up',
    'record',
    ({ rows }, at) => {
      const { record } = pick(rows, at, (row) => isDraw(row) && row.record!.audits === row.record!.passes);
      record!.cusum = 1;
    },
  ],
  [
    'a suspicion dropped while no audit came',
    'record',
    ({ rows }, at) => {
      const last = (row: DrawExportRow): DrawExportRow | undefined =>
        group(rows, row)[group(rows, row).indexOf(row) - 1];
      const row = pick(
        rows,
        at,
        (one) => isDraw(one) && one.record!.cusum > 0 && last(one)?.record!.audits === one.record!.audits,
      );
      row.record!.cusum = 0;
    },
  ],
  [
    'a row left out',
    'awards',
    (made, at) => {
      const row = pick(made.rows, at, () => true);
      made.rows = made.rows.filter((one) => one !== row);
      made.header.rows -= 1;
    },
  ],
  [
    'a row left out of those announced',
    'rows',
    (made, at) => {
      const row = pick(made.rows, at, () => true);
      made.rows = made.rows.filter((one) => one !== row);
    },
  ],
  [
    'a row twice',
    'rows',
    (made, at) => {
      const index = made.rows.indexOf(pick(made.rows, at, () => true));
      made.rows.splice(index, 0, made.rows[index]!);
      made.header.rows += 1;
    },
  ],
  ['a row under another policy', 'rows', ({ rows }, at) => void (pick(rows, at, () => true).policy_version = 8)],
  ['another secret', 'secret', ({ header }) => void (header.secret = 'ab'.repeat(32))],
  [
    'another secret',
    'u',
    (made) => {
      fc.pre(made.rows.some(isDraw));
      made.header.secret = 'ab'.repeat(32);
    },
  ],
  ['another commitment', 'secret', ({ header }) => void (header.commitment = 'ab'.repeat(32))],
  ['a secret that is none', 'secret', ({ header }) => void (header.secret = header.secret.slice(2))],
  [
    'a row of another epoch',
    'u',
    (made, at) => {
      const row = pick(made.rows, at, isDraw);
      row.u = createHmac('sha256', 'of another epoch').update(row.job_id).digest().readBigUInt64BE().toString();
    },
  ],
  ['a row without an award', 'awards', ({ rows, awards }, at) => void awards.delete(pick(rows, at, () => true).job_id)],
  [
    'an award without a row',
    'awards',
    ({ awards }) => {
      awards.set('ffffffff-0000-4000-8000-000000000000', {
        hotkey: 'ada',
        kind: 'lora-training',
        points: '1',
        policyVersion: 9,
      });
    },
  ],
  ['points that differ from the award', 'awards', ({ rows }, at) => void (pick(rows, at, () => true).points += '0')],
  [
    'a miner that differs from the award',
    'awards',
    ({ rows }, at) => {
      const row = pick(rows, at, () => true);
      row.hotkey = row.hotkey === 'ada' ? 'ben' : 'ada';
    },
  ],
  [
    'a kind that differs from the award',
    'awards',
    ({ rows }, at) => {
      const row = pick(rows, at, () => true);
      row.kind = row.kind === 'lora-training' ? 'lora-inference' : 'lora-training';
    },
  ],
  [
    'a drawn job that was not audited',
    'audited',
    ({ rows }, at) => {
      Object.assign(
        pick(rows, at, ({ drawn }) => drawn),
        { audited: null, outcome: null },
      );
    },
  ],
  [
    'an audit without an outcome',
    'audited',
    ({ rows }, at) => {
      pick(rows, at, ({ audited }) => audited !== null).outcome = null;
    },
  ],
  [
    'an audit that claims a draw',
    'audited',
    ({ rows }, at) => {
      Object.assign(
        pick(rows, at, (row) => isDraw(row) && !row.drawn),
        { audited: 'draw', outcome: 'valid' },
      );
    },
  ],
  [
    'a draw audited as a replica',
    'audited',
    ({ rows }, at) => {
      Object.assign(
        pick(rows, at, (row) => isDraw(row) && !row.drawn),
        { audited: 'replica', outcome: 'invalid' },
      );
    },
  ],
  [
    'one audit of the floor left out',
    'floor',
    ({ rows }, at) => {
      const row = pick(rows, at, (one) => one.audited === 'floor' && noCopies(group(rows, one)));
      Object.assign(row, { audited: null, outcome: null });
    },
  ],
  [
    'one audit more than the floor',
    'floor',
    ({ rows }, at) => {
      const row = pick(rows, at, (one) => isDraw(one) && one.audited === null && noCopies(group(rows, one)));
      Object.assign(row, { audited: 'floor', outcome: 'valid' });
    },
  ],
  [
    'a floor that did not take the lowest u',
    'floor',
    ({ rows }, at) => {
      const free = (one: DrawExportRow) => group(rows, one).find((row) => row.audited === null);
      const floor = pick(rows, at, (one) => one.audited === 'floor' && free(one) !== undefined);
      Object.assign(free(floor)!, { audited: 'floor', outcome: 'valid' });
      Object.assign(floor, { audited: null, outcome: null });
    },
  ],
  ['a replay of nothing', 'replays', ({ rows }, at) => void (pick(rows, at, isReplay).replay_of = null)],
  [
    'a replay of a job that was not audited',
    'replays',
    ({ rows }, at) => {
      pick(rows, at, isReplay).replay_of = pick(rows, at, (row) => isDraw(row) && row.audited === null).job_id;
    },
  ],
  [
    'a job that is exempt from the draw',
    'replays',
    ({ rows }, at) => {
      Object.assign(pick(rows, at, isDraw), {
        q: null,
        u: null,
        record: null,
        drawn: false,
        audited: null,
        outcome: null,
      });
    },
  ],
  [
    'a draw that claims to be a replay',
    'replays',
    ({ rows }, at) => {
      pick(rows, at, isDraw).replay_of = pick(rows, at, ({ drawn }) => drawn).job_id;
    },
  ],
];

const noCopies = (rows: readonly DrawExportRow[]): boolean => rows.every(({ audited }) => audited !== 'copy');

describe('an export', () => {
  it('of an auditor that draws as it should verifies, with records begun anew and counted again on the way', () => {
    fc.assert(
      fc.property(anyExport(), (made) => expect(verify(made).filter(({ failures }) => failures > 0)).toEqual([])),
    );
  });

  it('without a ledger beside it is verified as far as it goes', () => {
    fc.assert(
      fc.property(anyExport(), ({ header, rows }) => {
        const checks = verifyDraws(header, rows, undefined).list();
        expect(checks.every(({ failures }) => failures === 0)).toBe(true);
        expect(checks.find(({ name }) => name === 'awards')).toMatchObject({ looked: 0 });
      }),
    );
  });

  it.each(CHANGES)('with %s fails the check "%s"', (_what, check, change) => {
    fc.assert(
      fc.property(anyExport(false), fc.nat(1_000), (made, at) => {
        const changed = structuredClone(made);
        change(changed, at);
        expect(wrong(changed)).toContain(check);
      }),
      { numRuns: 15 },
    );
  });

  it('names the job and both values of what differs', () => {
    fc.assert(
      fc.property(anyExport(), fc.nat(1_000), (made, at) => {
        const row = pick(made.rows, at, isDraw);
        const [right, u] = [row.u, '7'];
        row.u = u;
        const first = verify(made).find(({ name }) => name === 'u')?.first;
        expect(first).toEqual([`job ${row.job_id}: u is 7, recomputed ${right}`]);
      }),
    );
  });

  it.each<[string, number, Partial<DrawnFrom>, string]>([
    ['a suspicion without a failed audit', 2, { cusum: 1 }, 'a CUSUM of 1 without a failed audit cannot be'],
    ['a negative suspicion', 2, { audits: 1, cusum: -1 }, 'cannot be'],
    ['half a job', 2, { jobs_seen: 0.5 }, 'cannot be'],
    ['more passes than audits', 2, { passes: 1 }, 'cannot be'],
    ['jobs before the first epoch', 1, { jobs_seen: 1 }, 'the first record of the first epoch is 1 jobs'],
  ])('of one job whose record has %s fails, with nothing before or after it', (_what, epoch, changed, message) => {
    const before = { jobs_seen: 0, audits: 0, passes: 0, cusum: 0 };
    const made = new HonestAuditor('', epoch, before).run([{ what: 'job', miner: 0, kind: 0, jobId: ANY_JOB }]);
    expect(wrong(made)).toEqual([]);
    Object.assign(made.rows[0]!.record!, changed);
    expect(verify(made).find(({ name }) => name === 'record')?.first[0]).toContain(message);
  });

  it('whose record jumps once more than it was rewritten fails', () => {
    fc.assert(
      fc.property(anyExport(), fc.nat(1_000), (made, at) => {
        const { header, rows } = made;
        fc.pre(header.rewrites.length > 0);
        const jumps = (one: DrawExportRow): number => {
          const own = group(rows, one).map(({ record }) => record!.jobs_seen);
          return own.filter((seen, index) => index > 0 && seen !== own[index - 1]! + 1).length;
        };
        const row = pick(rows, at, (one) => isDraw(one) && jumps(one) > 0);
        header.rewrites = header.rewrites.filter(({ hotkey }) => hotkey !== row.hotkey);
        expect(wrong(made)).toEqual(['record']);
      }),
    );
  });
});
