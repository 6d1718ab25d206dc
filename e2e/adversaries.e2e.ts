import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { PROFILES, type ProfileName } from '@studio/miner/profiles';
import { DEMO_POLICY, type Policy } from '@studio/shared/domain/policy';
import sharp from 'sharp';
import { LiveSystem, type LiveMiner } from './live-system';

/** Every profile trains, renders and waits in its own time; two cores share all of it. */
jest.setTimeout(300_000);

const POLICY: Policy = {
  ...DEMO_POLICY,
  version: 9_000,
  audit: { ...DEMO_POLICY.audit, meanDelayMs: 50 },
};

const ADVERSARIES = (Object.keys(PROFILES) as ProfileName[]).filter((name) => name !== 'honest');
const HONEST = ['ada', 'ben', 'cleo', 'dora'];
const MINERS: LiveMiner[] = [
  ...HONEST.map((name): LiveMiner => ({ name, profile: 'honest', slots: { training: 1, inference: 2 } })),
  ...ADVERSARIES.map((profile): LiveMiner => ({ name: profile, profile })),
  { name: 'reference', profile: 'honest', trusted: true, slots: { training: 2, inference: 4 } },
];

/** A photograph's parts to train on, and how many pictures each LoRA gives. */
const TRAININGS = 56;
const PICTURES = 2;
const CLIENTS = 10;
const PHOTOS = ['chelsea.png', 'coffee.png', 'rocket.jpg'];
const TRAINING = { resolution: 32, steps: 40, rank: 8 };

interface Outcome {
  name: string;
  attempts: number;
  accepted: number;
  /** Refused before a client saw it (tier 1), or not delivered in time. */
  refused: number;
  late: number;
  convicted: number;
  /** 1: the first of its jobs. */
  caughtAtJob: number | null;
  caughtBy: string;
  why: string | null;
  awarded: number;
  /** Of it: what is usual, given for results during which this process stood still. */
  awardedVoid: number;
  reversed: number;
  quarantined: boolean;
}

let system: LiveSystem;
let outcomes: Map<string, Outcome>;

beforeAll(async () => {
  system = await LiveSystem.open(POLICY, MINERS);
  await work();
  await system.settle();
  await system.closeEpoch(1);
  outcomes = new Map();
  for (const { name, trusted } of MINERS) if (!trusted) outcomes.set(name, await outcomeOf(name));
  process.stdout.write(`${table([...outcomes.values()])}\n`);
});
afterAll(() => system.close());

/** Several clients, each training on a part of a photograph and rendering what came of it. */
async function work(): Promise<void> {
  const waiting = Array.from({ length: TRAININGS }, (_, index) => index);
  const client = async (): Promise<void> => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      const { url } = await system.api.upload(await part(index), 'image/png');
      const lora = await system.train(url, TRAINING);
      if (lora === undefined) continue;
      for (let n = 0; n < PICTURES; n += 1) {
        await system.render(lora, { prompt: `part ${index}, seen for the ${n + 1}th time`, width: 48, height: 40 });
      }
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** Another square of a photograph for every index. */
async function part(index: number): Promise<Buffer> {
  const photo = sharp(readFileSync(join(__dirname, '../photos', PHOTOS[index % PHOTOS.length]!)));
  const { width, height } = await photo.metadata();
  const side = Math.floor(Math.min(width, height) * (0.4 + 0.08 * (index % 7)));
  const at = (length: number, step: number): number => (index * step) % (length - side);
  return photo
    .extract({ left: at(width, 37), top: at(height, 53), width: side, height: side })
    .png()
    .toBuffer();
}

interface AttemptRow {
  job_id: string;
  state: string;
  blame: string;
  reason: string | null;
  outcome: string | null;
  verdict: string | null;
}

async function outcomeOf(name: string): Promise<Outcome> {
  const hotkey = system.hotkeys.get(name)!;
  const { rows } = await system.owner.query<AttemptRow>(
    `SELECT a.job_id, a.state, a.blame, a.reason, v.outcome, v.reason AS verdict
       FROM studio.attempts a LEFT JOIN studio.verdicts v ON v.job_id = a.job_id AND v.hotkey = a.hotkey AND a.state = 'accepted'
      WHERE a.hotkey = $1 AND a.state <> 'busy' ORDER BY a.sent_at, a.job_id`,
    [hotkey],
  );
  const sums = await system.owner.query<{ awarded: string; awarded_void: string; reversed: string }>(
    `SELECT COALESCE(sum(points) FILTER (WHERE type = 'award'), 0) AS awarded,
            COALESCE(sum(points) FILTER (WHERE type = 'award' AND EXISTS (SELECT 1 FROM studio.attempts a
              WHERE a.job_id = ledger.job_id AND a.state = 'accepted' AND a.void)), 0) AS awarded_void,
            COALESCE(-sum(points) FILTER (WHERE type = 'reversal'), 0) AS reversed FROM studio.ledger WHERE hotkey = $1`,
    [hotkey],
  );
  const quarantines = await system.owner.query('SELECT 1 FROM studio.standing_quarantines WHERE hotkey = $1', [hotkey]);
  const first = rows.findIndex(isCaught);
  const caught = rows[first];
  const count = (is: (row: AttemptRow) => boolean): number => rows.filter(is).length;
  return {
    name,
    attempts: rows.length,
    accepted: count(({ state }) => state === 'accepted'),
    refused: count(({ state }) => state === 'invalid'),
    late: count(({ state, blame }) => state === 'timeout' && blame === 'miner'),
    convicted: count(({ outcome }) => outcome === 'invalid'),
    caughtAtJob: first < 0 ? null : first + 1,
    caughtBy: caught ? caughtBy(caught) : '',
    why: caught?.verdict ?? caught?.reason ?? null,
    awarded: Number(sums.rows[0]!.awarded) / 1e6,
    awardedVoid: Number(sums.rows[0]!.awarded_void) / 1e6,
    reversed: Number(sums.rows[0]!.reversed) / 1e6,
    quarantined: (quarantines.rowCount ?? 0) > 0,
  };
}

const isCaught = ({ state, blame, outcome }: AttemptRow): boolean =>
  outcome === 'invalid' || (blame === 'miner' && ['invalid', 'timeout', 'failed'].includes(state));

function caughtBy({ outcome, state }: AttemptRow): string {
  if (outcome === 'invalid') return 'tier 2';
  return state === 'timeout' ? 'deadline' : 'tier 1';
}

function table(rows: readonly Outcome[]): string {
  const drawn = new Table({
    head: ['miner', 'asked', 'accepted', 'tier 1', 'late', 'tier 2', 'caught at job', 'by', 'awarded', 'left', 'out'],
    colAligns: ['left', ...Array<'right'>(6).fill('right'), 'left', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const row of rows) {
    const { name, attempts, accepted, refused, late, convicted, caughtAtJob, caughtBy: by } = row;
    const left = (row.awarded - row.reversed).toFixed(3);
    const out = row.quarantined ? 'quarantined' : '';
    drawn.push([
      name,
      attempts,
      accepted,
      refused,
      late,
      convicted,
      caughtAtJob ?? '–',
      by,
      row.awarded.toFixed(3),
      left,
      out,
    ]);
  }
  return drawn.toString();
}

/** Points left per job that it was asked for: what a profile is worth to whoever runs it. */
const worth = ({ awarded, reversed, attempts }: Outcome): number => (awarded - reversed) / Math.max(1, attempts);
const honestWorth = (): number => Math.min(...HONEST.map((name) => worth(outcomes.get(name)!)));

it('honest miners among adversaries lose nothing', () => {
  for (const name of HONEST) {
    expect(outcomes.get(name)).toMatchObject({ refused: 0, late: 0, convicted: 0, reversed: 0, quarantined: false });
    expect(outcomes.get(name)!.awarded).toBeGreaterThan(0);
  }
});

it.each(['empty', 'garbage'])('"%s" is stopped by tier 1 at its first job and earns nothing', (name) => {
  expect(outcomes.get(name)).toMatchObject({ accepted: 0, awarded: 0, caughtAtJob: 1, caughtBy: 'tier 1' });
});

it('"silent" never delivers, and "slow" delivers what is worth nothing', () => {
  expect(outcomes.get('silent')).toMatchObject({ accepted: 0, awarded: 0 });
  expect(outcomes.get('slow')).toMatchObject({ convicted: 0 });
  expect(outcomes.get('slow')!.awarded).toBe(outcomes.get('slow')!.awardedVoid);
});

const TIER_2: ProfileName[] = ['half-size', 'stale-lora', 'dishonest', 'fewer-steps', 'stale-image', 'noise', 'rescaled-lora']; // prettier-ignore

it.each(TIER_2)('"%s" is convicted by replays, with a reason, and is worth less than honesty', (name) => {
  const outcome = outcomes.get(name)!;
  expect(outcome.convicted).toBeGreaterThan(0);
  expect(outcome.why).toMatch(/differs from the reference's/);
  expect(worth(outcome)).toBeLessThan(honestWorth());
});

it('has tried every profile there is', () => {
  expect(new Set([...TIER_2, 'empty', 'garbage', 'silent', 'slow'])).toEqual(new Set(ADVERSARIES));
});
