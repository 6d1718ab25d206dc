/** Real epochs, exported and signed by a real registry: whoever recomputes them finds them right, and every change wrong. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { ExportList, InclusionProof, SignedHead } from '@studio/shared/contract/exports';
import { DEMO_POLICY } from '@studio/shared/domain/policy';
import { canonicalJson } from '@studio/shared/protocol/canonical';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { inclusionPath, leafHash, rootOf } from '@studio/shared/protocol/merkle';
import { signHead } from '@studio/shared/protocol/merkle-head';
import { until } from '@studio/shared/testing/registry-ground';
import { verifyScoresCommand } from '@studio/validator/verify-scores/command';
import type { ExportReport } from '@studio/validator/verify-scores/verify-export';
import { AuditedEpochs, CHEAT } from './audited-epochs';

jest.setTimeout(120_000);

/** A line of an export, whatever it is. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a test changes is known to the test alone
type AnyLine = any;

let epochs: AuditedEpochs;
let lines: string[];

const url = (name: string): string => `${epochs.registry.url}/v1/exports/${name}`;
const bytesOf = async (name: string): Promise<Buffer> => Buffer.from(await (await fetch(url(name))).arrayBuffer());
const linesOf = async (name: string): Promise<string[]> => {
  const text = gunzipSync(await bytesOf(name)).toString();
  return text.slice(0, -1).split('\n');
};

interface Outcome {
  status: number;
  printed: string;
  told: string;
}

async function command(...argv: string[]): Promise<Outcome> {
  const outcome = { printed: '', told: '' };
  const status = await verifyScoresCommand(['--data-dir', join(epochs.dir, 'nothing'), ...argv], {
    print: (text) => (outcome.printed += text),
    tell: (text) => (outcome.told += text),
  });
  return { status, ...outcome };
}

const withKey = (...argv: string[]): Promise<Outcome> =>
  command(...argv, '--registry-key', epochs.ground.identity.address);

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(epochs.dir, name);
  await writeFile(path, content);
  return path;
}

const failed = ({ checks }: ExportReport) => checks.filter(({ failures }) => failures > 0).map(({ name }) => name);

beforeAll(async () => {
  epochs = await AuditedEpochs.open();
  await epochs.finish('ada', 25);
  await epochs.finish('ben', 9);
  await epochs.finish('cheat', 4, CHEAT);
  // Nobody can compare these, and this one was slower than nine tenths of its timeout.
  await epochs.jobs.finish({ hotkey: 'ben', kind: 'lora-training', engine: 'flux' });
  await epochs.jobs.finish({ hotkey: 'ben', kind: 'lora-training', netUs: 900_000_000 });
  await epochs.settled();
  await epochs.close(1);
  const amnesty = { from: '2000-01-01T00:00:00Z', until: '2100-01-01T00:00:00Z', reason: 'the reference was wrong' };
  expect((await epochs.ofAuditor('amnesties', amnesty)).ok).toBe(true);
  await epochs.finish('ada', 2);
  await epochs.settled();
  // From epoch 3 on only the epoch itself counts.
  const narrow = { ...DEMO_POLICY, version: DEMO_POLICY.version + 1, windowEpochs: 1 };
  await epochs.ground.owner.query('INSERT INTO studio.policies (version, body) VALUES ($1, $2)', [
    narrow.version,
    narrow,
  ]);
  await epochs.close(2);
  lines = await linesOf('epoch/2');
});

afterAll(() => epochs.end());

describe('an export of an epoch', () => {
  it('has awards, reversals and restorations, unpaid jobs and the snapshot', () => {
    const types = lines.flatMap((line) => {
      const { event } = JSON.parse(line) as { event?: { type: string } };
      return event ? [event.type] : [];
    });
    expect(new Set(types)).toEqual(new Set(['award', 'reversal', 'snapshot', 'restoration']));
    expect(lines.some((line) => line.includes('; unpaid: '))).toBe(true);
  });

  it.each(['1', '2'])('verifies (epoch %s), everything looked at, from the registry and from a file', async (epoch) => {
    const at = url(`epoch/${epoch}`);
    const report = JSON.parse((await withKey(at, '--previous', url('epoch/1/head'), '--json')).printed) as ExportReport;
    const chained = epoch === '2';
    expect(failed(report)).toEqual(chained ? [] : ['chain']);
    expect(report.checks.filter(({ looked, skipped }) => looked === 0 || skipped !== undefined)).toEqual([]);
    const path = await file(`epoch-${epoch}.ndjson.gz`, await bytesOf(`epoch/${epoch}`));
    const { status, printed } = await withKey(path);
    expect([status, printed]).toEqual([0, expect.stringContaining(`the export of epoch ${epoch} verifies`)]);
    expect(printed).toContain(`signed by ${epochs.ground.identity.address}`);
  });

  it('verifies uncompressed too, and says what was not checked', async () => {
    const { status, printed } = await command(await file('plain.ndjson', `${lines.join('\n')}\n`));
    expect([status, printed]).toEqual([0, expect.stringContaining('verifies, as far as it was checked')]);
    const { checks } = JSON.parse((await command(join(epochs.dir, 'plain.ndjson'), '--json')).printed) as ExportReport;
    expect(checks.find(({ name }) => name === 'signature')?.note).toContain('compare it, or give --registry-key');
    expect(checks.find(({ name }) => name === 'chain')?.skipped).toContain('no head before it was given');
  });

  it('has the same bytes each time, under its own name, and its head as the last line', async () => {
    const replies = await Promise.all([fetch(url('epoch/2')), fetch(url('epoch/2')), fetch(url('epoch/latest'))]);
    const bodies = await Promise.all(replies.map(async (reply) => Buffer.from(await reply.arrayBuffer())));
    expect(bodies.every((body) => body.equals(bodies[0]!))).toBe(true);
    expect(replies[2].headers.get('content-disposition')).toBe('attachment; filename="epoch-2.ndjson.gz"');
    expect(await (await fetch(url('epoch/2/head'))).text()).toBe(`${lines.at(-1)}\n`);
  });
});

/** The lines with one of them changed. @returns its number. */
function changed(
  find: (line: AnyLine) => unknown,
  change: (line: AnyLine) => void,
  of = [...lines],
): [string[], number] {
  const at = of.findIndex((line) => find(JSON.parse(line)));
  const line = JSON.parse(of[at]!);
  change(line);
  of[at] = canonicalJson(line);
  return [of, at + 1];
}

const isPaid = (line: AnyLine): boolean =>
  line.event?.type === 'award' && line.event.epoch === 2 && line.event.points !== '0';
const awardLine = (): number => lines.findIndex((line) => isPaid(JSON.parse(line))) + 1;

async function verdictOn(of: readonly string[]): Promise<Outcome> {
  return withKey(await file('changed.ndjson', `${of.join('\n')}\n`));
}

describe('an export that was changed afterwards', () => {
  const temperature = (
    of: string[],
    where: (line: AnyLine) => { temperature: number } | undefined,
  ): [string[], number] => changed(where, (line) => (where(line)!.temperature = 0.076), of);

  it.each<[string, () => [string[], number], string]>([
    ['points', () => changed(isPaid, ({ event }) => (event.points = String(Number(event.points) + 1))), 'recomputed'],
    ['the miner', () => changed(isPaid, ({ event }) => (event.hotkey = 'ben')), 'in the ledger ben'],
    [
      'an unpaid job',
      () =>
        changed(
          (l) => l.event?.reason?.includes('unpaid'),
          ({ event }) => (event.points = '5'),
        ),
      'points are 5 of an award that says to be unpaid',
    ],
    [
      'a latency',
      () =>
        changed(
          (l) => l.draw,
          ({ draw }) => (draw.latency_us += 1_000),
        ),
      'recomputed',
    ],
    [
      'a timeout',
      () =>
        changed(
          (l) => l.draw,
          ({ draw }) => (draw.timeout_ms += 10),
        ),
      'recomputed',
    ],
    [
      'a draw',
      () =>
        changed(
          (l) => l.draw?.u,
          ({ draw }) => (draw.u = '7'),
        ),
      'u is 7, recomputed',
    ],
    ['the policy of an event', () => changed(isPaid, ({ event }) => (event.policy_version = 99)), 'policy_version 99'],
    [
      'the temperature of the header',
      () => temperature([...lines], (l) => l.header?.policies[0]),
      'snapshot.miners[0].weight',
    ],
    [
      'the temperature of the draws',
      () => temperature([...lines], (l) => l.draws?.policy),
      'policy.temperature is 0.076',
    ],
    [
      'the temperature of the snapshot',
      () => temperature([...lines], (l) => l.snapshot?.policy),
      'snapshot.policy.temperature is 0.076',
    ],
    [
      'a win rate',
      () =>
        changed(
          (l) => l.snapshot,
          ({ snapshot }) => (snapshot.miners[0].win_rate = 0.25),
        ),
      'snapshot.miners[0].win_rate is 0.25',
    ],
    [
      'a u16',
      () =>
        changed(
          (l) => l.snapshot,
          ({ snapshot }) => (snapshot.miners[1].u16 += 1),
        ),
      'snapshot.miners[1].u16',
    ],
    [
      'the root',
      () =>
        changed(
          (l) => l.head,
          ({ head }) => (head.root = 'ab'.repeat(32)),
        ),
      `root is ${'ab'.repeat(32)}`,
    ],
    [
      'the count of lines',
      () =>
        changed(
          (l) => l.head,
          ({ head }) => (head.lines -= 1),
        ),
      'lines is',
    ],
    [
      'the signature',
      () =>
        changed(
          (l) => l.head,
          (l) => (l.signature = l.signature.replace(/.$/, (d: string) => (d === '0' ? '1' : '0'))),
        ),
      'signature is not one of',
    ],
  ])('in %s does not verify, and the line is named', async (_what, change, says) => {
    const [of, line] = change();
    const { status, printed } = await verdictOn(of);
    expect([status, printed]).toEqual([1, expect.stringContaining(says)]);
    expect(printed).toMatch(new RegExp(`line ${line}\\b`));
    expect(printed).toContain('does NOT verify');
  });

  it('does not verify with a line left out, put elsewhere, or written otherwise', async () => {
    const at = awardLine();
    const without = (n: number): string[] => lines.filter((_, index) => index !== n - 1);
    const swapped = (n: number): string[] => [
      ...lines.slice(0, n - 1),
      lines[n]!,
      lines[n - 1]!,
      ...lines.slice(n + 1),
    ];
    const draw = lines.findIndex((line) => line.startsWith('{"draw"')) + 1;
    const says = async (of: string[]): Promise<string> => {
      const { status, printed } = await verdictOn(of);
      expect(status).toBe(1);
      return printed;
    };
    expect(await says(without(at))).toContain(`line ${at}: seq is`);
    expect(await says(swapped(at))).toContain(`line ${at}: seq is`);
    expect(await says(without(draw))).toMatch(/an award of \d+ to \w+ in the ledger, and no row/);
    expect(await says(swapped(draw))).toContain(`line ${draw + 1}, award on line`);
    const bare = lines.filter((line) => !/^."(draws?|snapshot)"/.test(line));
    expect(await says(bare)).toContain(`line ${bare.length}: head cannot come after event`);
    const spaced = lines.map((line, index) => (index === at - 1 ? line.replace(':', ': ') : line));
    expect(await says(spaced)).toContain(`line ${at}: it is not canonical JSON`);
    const twice = [...lines.slice(0, at), ...lines.slice(at - 1)];
    expect(await says(twice)).toContain(`line ${at + 1}: seq is`);
  });

  it('does not verify when it was signed again, by another key', async () => {
    const forger = hotkeyFromSeed('99'.repeat(32));
    const { head } = JSON.parse(lines.at(-1)!) as SignedHead;
    const forged = { ...head, signer: forger.address, root: rootOf(lines.slice(0, -1).map(leafHash)).toString('hex') };
    const of = [...lines.slice(0, -1), canonicalJson({ head: forged, signature: signHead(forged, forger) })];
    const path = await file('forged.ndjson', `${of.join('\n')}\n`);
    // Without a key to compare with it can only be told who signed.
    expect((await command(path)).printed).toContain(`signed by ${forger.address}`);
    const { status, printed } = await withKey(path);
    expect([status, printed]).toEqual([1, expect.stringContaining(`line ${of.length}: signer is ${forger.address}`)]);
  });
});

describe('a proof that an event is in an export', () => {
  it('is the same from the registry and from the file, and holds with nothing else', async () => {
    const at = awardLine();
    const { event } = JSON.parse(lines[at - 1]!) as { event: { seq: number } };
    const made = await withKey(await file('whole.ndjson', `${lines.join('\n')}\n`), '--proof', String(event.seq));
    const asked = (await (await fetch(url(`epoch/2/proof/${event.seq}`))).json()) as InclusionProof;
    expect([made.status, JSON.parse(made.printed)]).toEqual([0, asked]);
    const path = await file('proof.json', made.printed);
    expect(await withKey('--check-proof', path)).toMatchObject({ status: 0, told: '' });
    const wrong: Partial<InclusionProof>[] = [
      { leaf: lines[at]! },
      { leaf_index: asked.leaf_index + 1 },
      { path: asked.path.slice(1) },
      { head: { ...asked.head, root: 'ab'.repeat(32) } },
    ];
    for (const part of wrong) {
      const changedProof = await file('wrong.json', JSON.stringify({ ...asked, ...part }));
      expect(await withKey('--check-proof', changedProof)).toMatchObject({ status: 1 });
    }
    // It is in the tree, and it is no event.
    const path0 = inclusionPath(lines.slice(0, -1).map(leafHash), 0).map((hash) => hash.toString('hex'));
    const header = await file('header.json', JSON.stringify({ ...asked, leaf: lines[0], leaf_index: 0, path: path0 }));
    const onHeader = await withKey('--check-proof', header);
    expect([onHeader.status, onHeader.printed]).toEqual([1, expect.stringMatching(/^leaf is not event 0\n/)]);
    expect(await command('--check-proof', path, '--registry-key', 'somebody')).toMatchObject({ status: 1 });
  });

  it('is given for every event, and for none that is not in it', async () => {
    const { head } = JSON.parse(lines.at(-1)!) as SignedHead;
    for (let seq = head.from_seq; seq <= head.to_seq; seq += 1) {
      const proof = await (await fetch(url(`epoch/2/proof/${seq}`))).text();
      expect((await withKey('--check-proof', await file('each.json', proof))).status).toBe(0);
    }
    const none = await fetch(url(`epoch/2/proof/${head.to_seq + 1}`));
    expect([none.status, await none.text()]).toEqual([
      404,
      expect.stringContaining(`it has events ${head.from_seq} to`),
    ]);
  });
});

describe('an export of an epoch whose window does not reach back to the beginning', () => {
  beforeAll(async () => {
    await epochs.finish('ada', 3);
    await epochs.finish('ben', 2);
    await epochs.settled();
    await epochs.close(3);
  });

  it('begins with the snapshot that let the window open, verifies, and goes on from the one before', async () => {
    const of = await linesOf('epoch/3');
    expect(JSON.parse(of[1]!)).toMatchObject({ event: { type: 'snapshot', epoch: 1 } });
    const { head } = JSON.parse(of.at(-1)!) as SignedHead;
    expect(head.from_seq).toBeGreaterThan(40);
    const { status, printed } = await withKey(url('epoch/3'), '--previous', url('epoch/2'));
    expect([status, printed]).toEqual([0, expect.stringContaining('the export of epoch 3 verifies (')]);
  });

  it('does not verify when it begins later, whoever signed that', async () => {
    const of = await linesOf('epoch/3');
    const [later] = changed(
      (line) => line.header,
      ({ header }) => (header.from_seq += 1),
      [of[0]!, ...of.slice(2)],
    );
    const { head } = JSON.parse(later.at(-1)!) as SignedHead;
    const { printed } = await verdictOn(later);
    expect(printed).toContain(`the log begins at ${head.from_seq + 1}: awards of the window may be missing before it`);
  });
});

describe('exports of hours', () => {
  it('hold the whole log once, each going on from the one before', async () => {
    await epochs.advance(3_600);
    await epochs.finish('ada', 1);
    await epochs.settled();
    await epochs.advance(2 * 3_600 + 120);
    const hours = await until(async () => {
      const { exports } = (await (await epochs.get('/v1/exports?kind=hour')).json()) as ExportList;
      return exports.length >= 2 && exports;
    });
    expect(hours.at(-1)!.head.from_seq).toBe(1);
    const [newest, before] = [hours[0]!.head, hours[1]!.head];
    expect(newest.from_seq).toBe(before.to_seq + 1);
    const at = url(`hour/${newest.name}`);
    const { status, printed } = await withKey(at, '--previous', url(`hour/${before.name}/head`));
    expect([status, printed]).toEqual([0, expect.stringContaining(`the export of hour ${newest.name} verifies`)]);
    expect((await withKey(at, '--previous', url('epoch/1'))).printed).toContain('kind is hour');
    const [of, line] = changed(
      (l) => l.event,
      ({ event }) => (event.at = '2100-01-01T00:00:00.000Z'),
      await linesOf(`hour/${newest.name}`),
    );
    expect((await verdictOn(of)).printed).toContain(`line ${line}: at is 2100`);
  });
});

describe('what cannot be read', () => {
  const sentence = (text: string) => ({ status: 2, printed: '', told: expect.stringContaining(text) as string });

  it('is told in one sentence with the remedy, and ends with status 2', async () => {
    const bytes = await bytesOf('epoch/2');
    const cut = await command(await file('cut.ndjson.gz', bytes.subarray(0, bytes.length - 200)));
    expect(cut).toEqual(sentence('cannot be read after line'));
    expect(cut.told).toMatch(/after line [1-9]/);
    expect(await command(await file('headless.ndjson', `${lines.slice(0, 5).join('\n')}\n`))).toEqual(
      sentence('ends after line 5, without a signed head'),
    );
    expect(await command(await file('halved.ndjson', lines.join('\n').slice(0, 9_000)))).toEqual(
      sentence('the last line has no end'),
    );
    expect(await command(await file('other.ndjson', '{"event":{}}\n'))).toEqual(sentence('line 1 of'));
    expect(await command(await file('late.ndjson', lines[0]!.replace('"format":1', '"format":9')))).toEqual(
      sentence('no end'),
    );
    expect(await command(await file('newer.ndjson', `${lines[0]!.replace('"format":1', '"format":9')}\n`))).toEqual(
      sentence('the export has format 9'),
    );
    expect(await command(join(epochs.dir, 'none'))).toEqual(sentence('there is no file'));
    expect(await command()).toEqual(sentence('no export was given'));
    expect(await command(url('epoch/99'))).toEqual(sentence('there is no export of epoch 99'));
    expect(await command(url('epoch/soon'))).toEqual(sentence('422'));
    expect(await command('--check-proof', await file('no-proof.json', '{}'))).toEqual(
      sentence('is no inclusion proof'),
    );
    expect(await command(url('epoch/2'), '--proof', 'all')).toEqual(sentence('expected the number of an event'));
    expect(await command(url('epoch/2'), '--proof', '99999')).toEqual(sentence('event 99999 is not in this export'));
    expect(await readFile(join(epochs.dir, 'cut.ndjson.gz'))).toHaveLength(bytes.length - 200);
  });
});
