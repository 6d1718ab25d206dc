import fc from 'fast-check';
import { Chance } from '@studio/simulations/chance';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import type { ScoreEventPage, Snapshot } from '@studio/shared/contract/scores';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import type { JobKind } from '@studio/shared/domain/job';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { restorationOf, reversalOf, someAward } from '@studio/shared/testing/auditor-side';
import { startMockPylon, type MockPylon } from '@studio/shared/testing/mock-pylon';
import { ADMIN_KEY, RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import { WALL_CLOCK } from '@studio/validator/clock';
import { Cursor } from '@studio/validator/cursor';
import type { CopyState } from '@studio/validator/ledger-copy';
import { PylonClient } from '@studio/validator/pylon-client';
import { RegistryAway, RegistryClient } from '@studio/validator/registry-client';
import type { ScoreSources } from '@studio/validator/score-stream';
import type { EpochWeights } from '@studio/validator/snapshot-check';
import { run, runOnce } from '@studio/validator/validator';
import { WeightsSetter } from '@studio/validator/weights-setter';
import { PylonTarget } from '@studio/validator/weights-target';
import { ChaoticFeed, EventStream } from './chaotic-feed';

jest.setTimeout(120_000);

const HOTKEYS = ['ada', 'ben', 'cleo', 'dan'];
const LAST_EPOCH = 30;

let ground: RegistryGround;
let registry: RunningRegistry;
let directory: string;
let pylon: MockPylon;

beforeAll(async () => {
  [ground, directory] = await Promise.all([RegistryGround.open(fetch), mkdtemp(join(tmpdir(), 'kit-'))]);
  pylon = await startMockPylon({ netuid: 11, identity: { name: 'sn11', token: 'secret' } });
  await ground.auditor.commit(...Array.from({ length: LAST_EPOCH }, (_, index) => index + 1));
  const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });
  registry = await boot(loadEnv(RegistryEnv, ground.env()), log);
  await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
});

afterAll(async () => {
  await registry.close();
  await Promise.all([ground.close(), pylon.close(), rm(directory, { recursive: true })]);
});

/** HTTP that fails now and then, as a registry that is being restarted. */
class FlakyRegistry extends RegistryClient {
  constructor(private readonly random: () => number) {
    super(registry.url);
  }

  override async events(after: number): Promise<ScoreEventPage> {
    if (this.random() < 0.05) throw new RegistryAway('http://registry', 'status 503');
    return super.events(after);
  }
}

/** One validator on a machine of its own, which may lose its power, its disk or its network. */
class Validator {
  readonly said: string[] = [];
  private cursor: Cursor | undefined;
  private stopping = new AbortController();
  private done: Promise<void> = Promise.resolve();

  constructor(
    private readonly name: string,
    private readonly random: () => number,
    private readonly stream?: EventStream,
  ) {}

  private get stateDir(): string {
    return join(directory, this.name);
  }

  get state(): CopyState | undefined {
    return this.cursor?.copy.toState();
  }

  async start(): Promise<void> {
    if (!this.stopping.signal.aborted && this.cursor) return;
    this.stopping = new AbortController();
    const say = (text: string): void => void this.said.push(text);
    this.cursor = await Cursor.open(this.stateDir, say);
    const live = this.stream && new ChaoticFeed(this.stream, this.random);
    const { signal } = this.stopping;
    const sources = { registry: new FlakyRegistry(this.random), live, say, signal, pollMs: 30 };
    this.done = run(this.cursor, sources, { path: this.outFile });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.done;
  }

  /** As after a power loss: the disk has what it had at `copy`, or nothing. */
  async loseDisk(to: 'nothing' | 'copy'): Promise<void> {
    await this.stop();
    await rm(this.stateDir, { recursive: true, force: true });
    if (to === 'copy') await cp(`${this.stateDir}.copy`, this.stateDir, { recursive: true }).catch(() => undefined);
    this.cursor = undefined;
  }

  async copyDisk(): Promise<void> {
    await cp(this.stateDir, `${this.stateDir}.copy`, { recursive: true }).catch(() => undefined);
  }

  weights(): Promise<EpochWeights | null> {
    return readFile(this.outFile, 'utf8').then(
      (text) => JSON.parse(text) as EpochWeights,
      () => null,
    );
  }

  private get outFile(): string {
    return join(directory, `${this.name}.json`);
  }
}

const append = (...entries: LedgerEntryMessage[]): Promise<unknown> =>
  requestJson(ground.nats.connection, SUBJECTS.appendLedger.subject, { entries }, { timeoutMs: 30_000 });

async function eventsAfter(seq: number): Promise<ScoreEventPage> {
  return (await (await fetch(`${registry.url}/v1/scores/events?after=${seq}&limit=1000`)).json()) as ScoreEventPage;
}

async function openEpoch(): Promise<number> {
  return ((await (await fetch(`${registry.url}/v1/epochs/current`)).json()) as { epoch: number }).epoch;
}

async function closeEpoch(): Promise<Snapshot> {
  const epoch = await openEpoch();
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, { method: 'POST', headers });
  await ground.auditor.settle(epoch);
  return until(async () => {
    const answer = await fetch(`${registry.url}/v1/snapshots/${epoch}`);
    return answer.ok && ((await answer.json()) as Snapshot);
  });
}

/** The sums of the whole log, as Postgres adds them up. */
async function sumsOfPostgres(): Promise<CopyState> {
  const { rows: sums } = await ground.owner.query<Record<string, string>>(
    `SELECT epoch, hotkey, kind, sum(points) AS points, sum(CASE type WHEN 'reversal' THEN -1 ELSE 1 END) AS valid
       FROM studio.ledger GROUP BY epoch, hotkey, kind`,
  );
  const { rows: counters } = await ground.owner.query<{ last_seq: string }>(
    'SELECT last_seq FROM studio.score_counter',
  );
  const epochs: CopyState['epochs'] = {};
  for (const { epoch, hotkey, kind, points, valid } of sums) {
    ((epochs[epoch!] ??= {})[hotkey!] ??= {})[kind as JobKind] = [points!, Number(valid)];
  }
  return { seq: Number(counters[0]!.last_seq), epochs };
}

const weighed = ({ epoch, outcome, miners }: Snapshot) => {
  const sent = miners.filter(({ u16 }) => u16 > 0);
  return { epoch, outcome, hotkeys: sent.map(({ hotkey }) => hotkey), weights: sent.map(({ u16 }) => u16) };
};

type Step =
  | { do: 'append'; hotkey: string; kind: JobKind; points: number; fate: 0 | 1 | 2 }
  | { do: 'start' | 'stop' | 'copy' | 'old disk' | 'new disk'; who: number }
  | { do: 'close' | 'lose the stream' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      hotkey: fc.constantFrom(...HOTKEYS),
      kind: fc.constantFrom<JobKind>('lora-training', 'lora-inference'),
      points: fc.integer({ min: 0, max: 700_000 }),
      fate: fc.constantFrom(0 as const, 1 as const, 2 as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('start' as const, 'stop' as const, 'copy' as const, 'old disk' as const, 'new disk' as const),
      who: fc.nat(1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('close' as const, 'lose the stream' as const) }) },
);

it('validators with different pasts all come to the log of Postgres, whatever the stream and the disks did', async () => {
  const stream = new EventStream();
  let published = 0;
  const publish = async (): Promise<void> => {
    const { events } = await eventsAfter(published);
    stream.publish(events);
    published = events.at(-1)?.seq ?? published;
  };
  const act = async (validators: readonly Validator[], taken: Step): Promise<void> => {
    if (taken.do === 'append') {
      const { hotkey, kind, points, fate } = taken;
      const award = someAward({ epoch: await openEpoch(), hotkey, kind, points: String(points) });
      const reversal = reversalOf(award, points === 0 ? { points: '0' } : {});
      const restoration = restorationOf(reversal, { points: String(points) });
      await append(...[award, reversal, restoration].slice(0, fate + 1));
      await publish();
    } else if (taken.do === 'close') await closeEpoch().then(publish);
    else if (taken.do === 'lose the stream') stream.lose();
    else if ('who' in taken) {
      const validator = validators[taken.who]!;
      if (taken.do === 'start') await validator.start();
      if (taken.do === 'stop') await validator.stop();
      if (taken.do === 'copy') await validator.copyDisk();
      if (taken.do === 'old disk') await validator.loseDisk('copy');
      if (taken.do === 'new disk') await validator.loseDisk('nothing');
    }
  };
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 25 }), fc.integer(), async (steps, seed) => {
      runs += 1;
      const dice = new Chance(seed);
      const random = (): number => dice.next();
      const nameOf = (index: number): string => `${index}-of-run-${runs}`;
      // The last one is away all the while: when it comes, the stream has nothing of what it missed.
      const validators = [stream, stream, stream].map((of, index) => new Validator(nameOf(index), random, of));
      validators.push(new Validator(nameOf(3), random));
      for (const taken of steps) await act(validators, taken);
      stream.lose();
      await append(someAward({ epoch: await openEpoch(), hotkey: 'ada', points: '1' }));
      const snapshot = await closeEpoch();
      await publish();
      const truth = await sumsOfPostgres();
      for (const validator of validators) await validator.start();
      for (const validator of validators) {
        await until(async () => (await validator.weights())?.epoch === snapshot.epoch);
        await until(async () => validator.state?.seq === truth.seq);
        expect(validator.state).toEqual(truth);
        expect(await validator.weights()).toMatchObject(weighed(snapshot));
        expect(validator.said.filter((text) => text.includes('refused:'))).toEqual([]);
      }
      await Promise.all(validators.map((validator) => validator.stop()));
    }),
    { numRuns: 6, endOnFailure: true },
  );
});

it('a snapshot reaches the sidecar once, without who has left the subnet, and again by nobody who asks twice', async () => {
  const epoch = await openEpoch();
  await append(
    someAward({ epoch, hotkey: 'ada', points: '700000' }),
    someAward({ epoch, hotkey: 'ben', points: '600000' }),
  );
  const snapshot = await closeEpoch();
  pylon.answer = { block: 720, neurons: [{ hotkey: 'ben', uid: 4, coldkey: 'c', stake: 1 }] };
  const said: string[] = [];
  const say = (text: string): void => void said.push(text);
  const signal = new AbortController().signal;
  const sources: ScoreSources = { registry: new RegistryClient(registry.url), say, signal };
  const stateDir = join(directory, 'once');
  const client = new PylonClient({ url: pylon.url, netuid: 11, identity: 'sn11', token: 'secret' });
  const once = async (from: ScoreSources): Promise<boolean> => {
    const target = new PylonTarget(client, { path: join(stateDir, 'weights.json') });
    const options = { target, rhythm: { every: 'epoch' }, maxAgeEpochs: 20, clock: WALL_CLOCK, say } as const;
    return runOnce(await Cursor.open(stateDir, say), from, await WeightsSetter.open(stateDir, options));
  };
  expect(await once(sources)).toBe(true);
  expect(pylon.weights).toEqual([{ ben: 1 }]);
  expect(said.at(-1)).toMatch(`weights of epoch ${snapshot.epoch}: OK`);
  expect(await once({ ...sources, registry: new RegistryClient('http://127.0.0.1:9') })).toBe(true);
  expect(pylon.weights).toHaveLength(1);
  expect(said.at(-1)).toMatch(/handed over already/);
});
