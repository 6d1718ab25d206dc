import { StudioError } from '@studio/shared/domain/errors';
import type { AuditPolicy } from '@studio/shared/domain/policy';
import { someInference, someLora, someTraining } from '@studio/shared/testing/finished-jobs';
import type { Worker } from '@studio/shared/testing/stand-ins';
import { join } from 'node:path';
import { CanaryPlanStore } from './canary-plan.store';
import { CANARY_POLICY, CanaryRig, chanceFrom, done, EPOCH_S, honest, inputOf, workerOf } from './canaries.rig';

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(120_000);

const KINDS = ['lora-training', 'lora-inference'] as const;
const FLOOR = 3;
const PHOTOS = join(__dirname, '../../../../photos');

let rig: CanaryRig;
afterEach(() => rig.close());

const lanesOf = (hotkeys: readonly string[], jobs = FLOOR): Record<string, number> =>
  Object.fromEntries(hotkeys.flatMap((hotkey) => KINDS.map((kind) => [`${hotkey} ${kind}`, jobs])));

describe('canaries', () => {
  it('give every miner its floor of both kinds where no client sends anything, awarded and drawn like any job', async () => {
    rig = await CanaryRig.open(CANARY_POLICY);
    const { ground, querier } = rig;
    for (const hotkey of ['ada', 'ben', 'cleo']) await ground.jobs.miner(hotkey);
    await ground.jobs.miner('reference', { trusted: true });
    await ground.jobs.miner('banned');
    await ground.query(
      `INSERT INTO studio.quarantines (id, hotkey, kind, from_epoch, until_epoch, reason)
       SELECT gen_random_uuid(), 'banned', kind, 1, 3, 'cheated' FROM unnest($1::text[]) kind`,
      [KINDS],
    );
    const loop = rig.canaries();
    await rig.pass(EPOCH_S, [loop]);
    expect(await rig.done(1)).toEqual(lanesOf(['ada', 'ben', 'cleo']));
    const draws = await ground.query<{ q: number; u: string; award_id: string; points: string }>(
      'SELECT q, u, award_id, points FROM studio.draws',
    );
    for (const draw of draws) {
      expect(draw).toEqual({
        q: 0,
        u: expect.any(String) as string,
        award_id: expect.any(String) as string,
        points: expect.stringMatching(/^[1-9]/) as string,
      });
    }
    const rows = await rig.rows();
    expect(new Set(rows.map(({ state, outcome, request }) => `${state} ${outcome} ${request === null}`))).toEqual(
      new Set(['ended done true']),
    );
    expect(new Set(querier.commands.map(({ request }) => JSON.stringify(request))).size).toBe(rows.length);
    expect(rig.asked.sort()).toEqual([
      ...Array(9).fill('lora-inference submitted'),
      ...Array(9).fill('lora-training submitted'),
    ]);
    expect(rig.warnings).toEqual([]);
  });

  it('are not made where clients send enough, nor beside two replicas of the auditor beyond the floor', async () => {
    rig = await CanaryRig.open(CANARY_POLICY);
    const { ground } = rig;
    for (const hotkey of ['busy', 'idle']) await ground.jobs.miner(hotkey);
    const clients = async (): Promise<void> => {
      for (const kind of KINDS) await ground.jobs.finish({ hotkey: 'busy', kind });
    };
    for (let n = 0; n < 12; n += 1) await clients();
    while (await rig.intake.run());
    await ground.advance(EPOCH_S);
    await ground.jobs.closeEpoch(1, CANARY_POLICY);
    const replicas = [rig.canaries(), rig.canaries()];
    let step = 0;
    await rig.pass(EPOCH_S, replicas, async () => {
      if ((step += 1) % 6 === 1) await clients();
    });
    expect(await rig.rows(`hotkey = 'busy'`)).toEqual([]);
    expect(await rig.done(2)).toEqual({ ...lanesOf(['busy'], 12), ...lanesOf(['idle']) });
    expect((await rig.rows()).map(({ hotkey }) => hotkey)).toEqual(Array(2 * FLOOR).fill('idle'));
  });

  it('look like what clients lately sent, without anything of theirs but the numbers', async () => {
    rig = await CanaryRig.open(CANARY_POLICY);
    const { ground, querier } = rig;
    await ground.jobs.miner('ada');
    const theirs = {
      ...someInference(),
      prompt: 'my secret wedding',
      width: 96,
      height: 48,
      loraScale: 0.5,
      numImages: 2,
    };
    await ground.jobs.finish({ hotkey: 'elsewhere', input: theirs, finishedAgoS: 5 });
    await ground.jobs.finish({
      hotkey: 'elsewhere',
      kind: 'lora-training',
      input: { ...someTraining(), resolution: 32, steps: 55, rank: 4 },
    });
    await rig.pass(EPOCH_S, [rig.canaries()]);
    const requests = (kind: string): Record<string, unknown>[] =>
      querier.commands.filter((command) => command.kind === kind).map(({ request }) => request!);
    expect(requests('lora-training').length).toBeGreaterThan(0);
    for (const { image_url, seed, ...numbers } of requests('lora-training')) {
      expect(image_url).toMatch(/^data:image\/(png|jpeg);base64,/);
      expect([Number.isInteger(seed), numbers]).toEqual([true, { resolution: 32, steps: 55, rank: 4 }]);
    }
    const own = await ground.query<{ sha256: string }>(
      `SELECT j.result->'lora'->>'sha256' AS sha256 FROM studio.jobs j JOIN studio.canaries c ON c.job_id = j.id WHERE j.kind = 'lora-training'`,
    );
    expect(requests('lora-inference').length).toBeGreaterThan(0);
    for (const { lora_url, prompt, seed, ...numbers } of requests('lora-inference')) {
      expect(own.map(({ sha256 }) => `artifact:${sha256}`)).toContain(lora_url);
      expect(prompt).not.toContain('wedding');
      expect([Number.isInteger(seed), numbers]).toEqual([
        true,
        { width: 96, height: 48, lora_scale: 0.5, warp: 0.25, num_images: 2 },
      ]);
    }
  });

  it('are none without a corpus', async () => {
    rig = await CanaryRig.open(CANARY_POLICY);
    await rig.ground.jobs.miner('ada');
    await rig.pass(EPOCH_S, [rig.canaries({ photographs: [], prompts: [], loras: [] })]);
    expect(await rig.rows()).toEqual([]);
  });

  it('go on with the ones under way when a miner refuses, fails or cannot be asked, and never beyond two floors', async () => {
    rig = await CanaryRig.open(CANARY_POLICY);
    const { ground, querier } = rig;
    for (const hotkey of ['dead', 'full', 'other']) await ground.jobs.miner(hotkey);
    querier.worker = (command) => {
      const wanted = workerOf(command);
      if (wanted === 'dead') return { hotkey: 'dead', state: 'failed' };
      return done(command, { hotkey: wanted === 'full' ? 'other' : wanted });
    };
    await rig.pass(EPOCH_S, [rig.canaries()]);
    const trainings = (await rig.rows(`kind = 'lora-training'`)).map(({ hotkey, outcome }) => `${hotkey} ${outcome}`);
    const count = (what: string): number => trainings.filter((each) => each === what).length;
    expect(count('dead asked')).toBe(FLOOR);
    // When the last of them comes is left to chance: the epoch may end before.
    const elsewhere = count('full elsewhere');
    expect(elsewhere).toBeGreaterThan(FLOOR);
    expect(elsewhere).toBeLessThanOrEqual(2 * FLOOR);
    // What `full` left to it takes the place of its own.
    expect(count('other done')).toBeLessThanOrEqual(FLOOR);
    expect((await rig.done(1))['other lora-training']).toBe(elsewhere + count('other done'));
  });
});

describe('a slice of the epoch', () => {
  it('is planned once, by whichever replica comes first, and the next one in its time', async () => {
    rig = await CanaryRig.open(CANARY_POLICY);
    await rig.ground.jobs.miner('ada');
    const seen: number[] = [];
    const plan = (): Promise<number> =>
      new CanaryPlanStore(rig.ground.source).plan(
        () => true,
        ({ lanes, leftMs }) => {
          seen.push(Math.round((EPOCH_S * 1_000 - leftMs) / 1_000));
          return lanes.map(({ hotkey, kind, engine }) => ({ hotkey, kind, engine, inMs: 500, reference: null }));
        },
      );
    expect((await Promise.all([plan(), plan(), plan()])).sort()).toEqual([0, 0, 2]);
    expect(await plan()).toBe(0);
    await rig.ground.advance(60);
    expect(await plan()).toBe(2);
    // The clock is set back: a plan for a time that is far off is none.
    await rig.ground.advance(-50);
    expect(await plan()).toBe(2);
    expect(seen.length).toBe(3);
    expect(seen[1]! - seen[0]!).toBeGreaterThanOrEqual(60);
    expect(await rig.rows()).toHaveLength(6);
  });
});

describe('canaries with known answers', () => {
  it('ask a reference first, are compared at once, and cost nobody a replay', async () => {
    // So many that half an epoch without one does not happen (once in 16,000 times).
    const canary = { floorPerEpoch: 12, knownShare: 1 };
    rig = await CanaryRig.open({ ...CANARY_POLICY, audit: { ...CANARY_POLICY.audit, canary } });
    await rig.ground.jobs.miner('ada');
    await rig.ground.jobs.miner('reference', { trusted: true });
    await rig.pass(EPOCH_S / 2, [rig.canaries()], undefined, 1);
    const rows = await rig.rows(`state = 'ended'`);
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.map(({ reference }) => reference)).toEqual(rows.map(() => 'reference'));
    const verdicts = await rig.ground.query(
      `SELECT v.hotkey, v.outcome, a.why FROM studio.verdicts v JOIN studio.audits a ON a.id = v.audit_id`,
    );
    expect(verdicts).toEqual(rows.map(() => ({ hotkey: 'ada', outcome: 'valid', why: 'canary' })));
    expect(rig.querier.commands.map((command) => workerOf(command)).sort()).toEqual([
      ...rows.map(() => 'ada'),
      ...rows.map(() => 'reference'),
    ]);
  });
});

describe('a canary', () => {
  /** Only what a test plans itself. */
  const openWith = async (audit: Partial<AuditPolicy> = {}): Promise<CanaryRig> => {
    const canary = { floorPerEpoch: 0, knownShare: 0 };
    rig = await CanaryRig.open({ ...CANARY_POLICY, audit: { ...CANARY_POLICY.audit, ...audit, canary } });
    for (const hotkey of ['ada', 'peer']) await rig.ground.jobs.miner(hotkey);
    await rig.ground.jobs.miner('reference', { trusted: true });
    return rig;
  };
  const verdicts = (): Promise<{ hotkey: string; outcome: string; why: string; by: string[] }[]> =>
    rig.ground.query(
      `SELECT v.hotkey, v.outcome, a.why, array(
                SELECT r->>'hotkey' FROM jsonb_array_elements(v.evidence->'replays') r) AS by
         FROM studio.verdicts v JOIN studio.audits a ON a.id = v.audit_id ORDER BY v.hotkey`,
    );
  const known = { reference: 'reference' };

  it('whose answer a reference knows asks the miner for exactly the same work', async () => {
    const { querier } = await openWith();
    await rig.plan('ada', known);
    await rig.settle([rig.canaries()]);
    const [answer, own, ...others] = querier.commands;
    expect(answer).toMatchObject({
      request: { image_url: expect.any(String) as string },
      routing: { onlyHotkey: 'reference' },
    });
    expect(own).toMatchObject({ input: inputOf(answer!), routing: { firstHotkey: 'ada' } });
    expect(own?.request).toBeUndefined();
    expect(others).toEqual([]);
    expect(await verdicts()).toEqual([{ hotkey: 'ada', outcome: 'valid', why: 'canary', by: ['reference'] }]);
    const books = await rig.ground.query(
      'SELECT hotkey, award_id IS NOT NULL AS paid, q FROM studio.draws ORDER BY hotkey',
    );
    expect(books).toEqual([
      { hotkey: 'ada', paid: true, q: 0 },
      { hotkey: 'reference', paid: false, q: null },
    ]);
  });

  it('that differs from the known answer convicts its miner, once another operator has confirmed it', async () => {
    const { querier } = await openWith();
    querier.worker = (command) =>
      command.routing.firstHotkey === 'ada'
        ? { hotkey: 'ada', input: inputOf(command), result: { lora: someLora() } }
        : done(command, { hotkey: workerOf(command, 'peer') });
    await rig.plan('ada', known);
    await rig.plan('peer', known);
    await rig.settle([rig.canaries()], 5);
    expect(await verdicts()).toEqual([
      { hotkey: 'ada', outcome: 'invalid', why: 'canary', by: ['reference', 'peer'] },
      { hotkey: 'peer', outcome: 'valid', why: 'canary', by: ['reference'] },
    ]);
    const confirmations = querier.commands.flatMap(({ routing }) => routing.excludeOperators ?? []);
    expect(confirmations).toEqual(['ada', 'reference']);
  });

  it('that is drawn as well keeps its draw, and is compared with the answer that is there', async () => {
    const { querier } = await openWith({ probationJobs: 20, meanDelayMs: 60_000 });
    const loop = rig.canaries();
    await rig.plan('ada', known);
    for (let n = 0; n < 3; n += 1) {
      await rig.settle([loop]);
      await rig.ground.advance(3_600);
    }
    expect(await verdicts()).toEqual([{ hotkey: 'ada', outcome: 'valid', why: 'draw', by: ['reference'] }]);
    expect(querier.commands).toHaveLength(2);
  });

  it.each<[string, Worker]>([
    [
      'refuses',
      () => {
        throw new StudioError('NO_ELIGIBLE_MINER', 'the reference is away');
      },
    ],
    ['fails', () => ({ hotkey: 'reference', state: 'failed' })],
  ])('becomes one without a known answer when the reference %s', async (_, ofReference) => {
    const { querier } = await openWith();
    querier.worker = (command) => (command.routing.onlyHotkey ? ofReference(command) : honest(command));
    await rig.plan('ada', known);
    await rig.settle([rig.canaries()], 4);
    const [answer, own] = querier.commands;
    expect(own).toEqual({ ...answer, idempotencyKey: expect.any(String) as string, routing: { firstHotkey: 'ada' } });
    expect(own?.idempotencyKey).not.toBe(answer?.idempotencyKey);
    expect(await rig.rows()).toMatchObject([{ outcome: 'done', reference: null }]);
    expect(await verdicts()).toEqual([]);
  });

  it('is asked for in the same words until it is answered, by whichever process is there', async () => {
    const { querier } = await openWith();
    querier.worker = () => 'never';
    await rig.plan('ada');
    const unanswered = rig
      .canaries()
      .run()
      .catch(() => undefined);
    while (querier.commands.length === 0) await new Promise((resolve) => setImmediate(resolve));
    querier.worker = honest;
    await rig.settle([rig.canaries()]);
    expect(querier.commands).toHaveLength(1);
    await rig.ground.advance(15);
    await rig.settle([rig.canaries()]);
    const [first, ...again] = querier.commands;
    expect(again).toEqual([first]);
    expect(await rig.rows()).toMatchObject([{ state: 'ended', outcome: 'done' }]);
    await unanswered;
  });

  it('is the same job after a crash between the answer and its record', async () => {
    const { querier, ground } = await openWith();
    const key = await rig.plan('ada');
    const stopped = rig.canaries();
    await stopped.run();
    const [sent] = querier.commands;
    const [before] = await rig.rows();
    await ground.query(
      `UPDATE studio.canaries SET state = 'planned', due_at = studio.now(), job_id = NULL, request = $2 WHERE request_key = $1`,
      [key, sent?.request],
    );
    await rig.settle([rig.canaries(), rig.canaries()]);
    expect(await rig.rows()).toMatchObject([{ job_id: before?.job_id, outcome: 'done' }]);
    expect(await rig.done(1)).toEqual({ 'ada lora-training': 1 });
  });

  it('is never one that was made before: what is repeated is made anew', async () => {
    const { querier } = await openWith();
    for (const hotkey of ['ada', 'peer']) {
      await rig.plan(hotkey);
      // Both processes begin with the same chance.
      await rig.settle([rig.canaries(undefined, chanceFrom(7))]);
    }
    const pictures = querier.commands.map(({ request }) => request?.image_url);
    expect(pictures).toHaveLength(2);
    expect(new Set(pictures).size).toBe(2);
    const prints = await rig.ground.query<{ print: string }>('SELECT print FROM studio.canaries');
    expect(new Set(prints.map(({ print }) => print)).size).toBe(2);
  });

  it('that the querier will not take ends with its reason, and is reported', async () => {
    const { querier } = await openWith();
    querier.worker = () => {
      throw new StudioError('IMAGE_UNREADABLE', 'the photograph is blank');
    };
    await rig.plan('ada');
    await rig.settle([rig.canaries()]);
    expect(await rig.rows()).toMatchObject([
      { state: 'ended', outcome: 'refused', refusal: 'IMAGE_UNREADABLE: the photograph is blank', request: null },
    ]);
    expect(rig.asked).toEqual(['lora-training refused']);
    expect(rig.warnings).toHaveLength(1);
  });

  it('whose photograph is gone since the start is made from another, or ends', async () => {
    const { querier } = await openWith();
    const corpus = { photographs: ['/nowhere/gone.jpg', join(PHOTOS, 'coffee.png')], prompts: [], loras: [] };
    const loop = rig.canaries(corpus, chanceFrom(0));
    for (let n = 0; n < 3; n += 1) await rig.plan('ada');
    await rig.settle([loop]);
    expect(querier.commands).toHaveLength(3);
    expect(rig.warnings).toEqual([[expect.stringMatching(/gone\.jpg: it cannot be opened .*; replace or remove it/)]]);
    await rig.plan('ada');
    await rig.settle([rig.canaries({ ...corpus, photographs: [] })]);
    const [last] = await rig.rows(`outcome = 'refused'`);
    expect(last?.refusal).toMatch(/nothing new can be made from the corpus/);
  });

  it('renders an uploaded LoRA that the corpus names, where nobody trains any', async () => {
    const { querier, ground } = await openWith();
    const [lora, otherEngines] = [someLora(), someLora()];
    await ground.jobs.lora(lora, 'ref-sep-v1');
    await ground.jobs.lora(otherEngines, 'flux');
    const loras = [lora.sha256, otherEngines.sha256, 'cd'.repeat(32)];
    const corpus = { photographs: [], prompts: ['a cat, blue', 'a dog, red'], loras };
    for (let n = 0; n < 5; n += 1) await rig.plan('ada', { kind: 'lora-inference' });
    await rig.settle([rig.canaries(corpus)]);
    expect(querier.commands).toHaveLength(5);
    for (const { request } of querier.commands) {
      expect(request).toMatchObject({ lora_url: `artifact:${lora.sha256}` });
      expect(['a cat, blue', 'a dog, red', 'a cat, red', 'a dog, blue']).toContain(request?.prompt);
    }
  });
});
