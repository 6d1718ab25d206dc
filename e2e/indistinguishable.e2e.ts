/**
 * A miner cannot tell an audit from a client's job. The wires of all miners are tapped while clients and the auditor work as they
 * do; which of the requests were audits is only looked up afterwards, in the auditor's own table.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '@studio/launcher/servers/free-port';
import { DEMO_POLICY, type Policy } from '@studio/shared/domain/policy';
import { until } from '@studio/shared/testing/registry-ground';
import Table from 'cli-table3';
import { CapturedMiner, type AskedJob } from './captured-miner';
import { LiveSystem, type LiveMiner } from './live-system';
import { inputKey, observe } from './miner-view';
import { OrganicClient, Pace } from './organic-traffic';
import { attack, compareFacts, formsOfOneSide, type Observation } from './telling-apart';
import { nowMs, targetOf, WireTap } from './wire-tap';

jest.setTimeout(400_000);

/** No probation, half of all jobs audited, soon: as many audits as a test can wait for. */
const POLICY: Policy = {
  ...DEMO_POLICY,
  version: 9_100,
  audit: {
    ...DEMO_POLICY.audit,
    probationJobs: 0,
    baseRate: 0.5,
    trustedRate: 0.5,
    floorPerEpoch: 0,
    meanDelayMs: 600,
    canary: { floorPerEpoch: 0, knownShare: 0 },
  },
  routing: { ...DEMO_POLICY.routing, rampStart: 2 },
};

/** Two of one operator: an audit of the one's work must not come to the other. */
const PEERS: LiveMiner[] = [
  { name: 'ada-1', operator: 'ada', profile: 'honest', slots: { training: 1, inference: 1 } },
  { name: 'ada-2', operator: 'ada', profile: 'honest', slots: { training: 1, inference: 1 } },
  { name: 'ben', profile: 'honest', slots: { training: 1, inference: 1 } },
  { name: 'cleo', profile: 'honest', slots: { training: 1, inference: 1 } },
  { name: 'dora', profile: 'honest', slots: { training: 1, inference: 1 } },
];
const REFERENCE: LiveMiner = { name: 'reference', profile: 'honest', trusted: true, later: true, slots: { training: 1, inference: 1 } }; // prettier-ignore

const CLIENTS = 4;
/** Jobs a second of all clients together: with half as many audits beside them, what two cores can do with some time left. */
const RATE = 5.6;
/** One training to so many renderings. */
const RENDERINGS = 3;
const WANTED = { others: 140, audits: 70 };
/** Audits that are under way by then came of an empty beginning. */
const FIRST_AUDITS = 12;
const SEED = 20_260_101;
/** Of the facts, those that differ most. */
const SHOWN = 10;

let system: LiveSystem;
let pace: Pace;
let door: WireTap;
let peers: CapturedMiner[];
let reference: CapturedMiner;
let observations: Observation[];
let replays: { job_id: string; judge: string; audited: string }[];

const asked = (miners: readonly CapturedMiner[]): AskedJob[] => miners.flatMap((miner) => miner.asked);
const isCallback = (exchange: Parameters<typeof targetOf>[0]): boolean =>
  targetOf(exchange).startsWith('POST /miners/callback/');

beforeAll(async () => {
  const apiPort = await freePort();
  door = await WireTap.listen(apiPort);
  peers = await Promise.all(PEERS.map((miner) => CapturedMiner.open(miner)));
  reference = await CapturedMiner.open(REFERENCE);
  const miners = [...peers, reference].map(({ live }) => live);
  system = await LiveSystem.open(POLICY, miners, { port: apiPort, publicUrl: door.url });
  const clients = await openClients();
  // Audits come later than what they repeat: the comparison begins when they come as they will go on to.
  await until(async () => (await replaysSoFar()).length >= FIRST_AUDITS);
  const fromMs = nowMs();
  while (!isEnough(fromMs, await replaysSoFar())) await pause(500);
  const toMs = nowMs();
  pace.stop();
  await Promise.all(clients.map((client) => client.stop()));
  await system.settle();
  replays = await replaysSoFar();
  const audits = new Set(replays.map(({ job_id }) => job_id));
  const callbacks = door.exchanges.filter(isCallback);
  observations = await observe(peers, callbacks, audits, { fromMs, toMs });
});
afterAll(async () => {
  await system?.close();
  await Promise.all([door, reference, ...peers].map((each) => each.close()));
});

async function openClients(): Promise<OrganicClient[]> {
  pace = new Pace();
  const names = Array.from({ length: CLIENTS }, (_, index) => `client-${index}`);
  const clients = await Promise.all(
    names.map(async (name, index) => new OrganicClient(await system.newClient(name), pace, SEED + index)),
  );
  await Promise.all(clients.map((client) => client.prepare(3)));
  const meanMs = (1_000 * CLIENTS * (1 + RENDERINGS)) / RATE;
  for (const client of clients) client.start({ trainingMs: meanMs, renderingMs: meanMs / RENDERINGS });
  return clients;
}

async function replaysSoFar(): Promise<typeof replays> {
  const { rows } = await system.owner.query<(typeof replays)[number]>(
    `SELECT r.job_id, r.judge, a.job_id AS audited FROM studio.audit_replays r JOIN studio.audits a ON a.id = r.audit_id
      WHERE r.job_id IS NOT NULL`,
  );
  return rows;
}

function isEnough(fromMs: number, known: typeof replays): boolean {
  const audits = new Set(known.map(({ job_id }) => job_id));
  const inTime = asked(peers).filter(({ exchange }) => exchange.arrivedMs >= fromMs);
  const count = inTime.filter(({ request }) => audits.has(request.job_id)).length;
  return count >= WANTED.audits && inTime.length - count >= WANTED.others;
}

it('both have the same forms: request line, headers, body, links, served input, answered callback', () => {
  expect(formsOfOneSide(observations)).toEqual({ audits: [], others: [] });
});

it('no fact about a request is distributed differently', () => {
  const rows = compareFacts(observations, SEED);
  const count = (isAudit: boolean): number => observations.filter((item) => item.isAudit === isAudit).length;
  process.stdout.write(`${count(true)} audits, ${count(false)} others\n${table(rows)}\nof ${rows.length} facts\n`);
  expect(rows.filter(({ isDifferent }) => isDifferent)).toEqual([]);
});

it('a miner that learns from all facts of earlier requests guesses no better than by a coin', () => {
  const { right, trials, luckEnds } = attack(observations, SEED);
  process.stdout.write(`the attack has ${right} of ${trials} right; ${luckEnds} would be more than luck\n`);
  expect(right).toBeLessThan(luckEnds);
});

it('an operator never gets the work of an audit that it has had before', () => {
  const audits = new Set(replays.map(({ job_id }) => job_id));
  const operators = new Map<string, Set<string>>();
  for (const miner of peers) {
    for (const { request } of miner.asked) {
      const key = `${miner.operator} ${inputKey(request)}`;
      operators.set(key, (operators.get(key) ?? new Set()).add(request.job_id));
    }
  }
  const repeated = [...operators.values()].filter((ids) => ids.size > 1 && [...ids].some((id) => audits.has(id)));
  expect(repeated).toEqual([]);
});

function table(rows: ReturnType<typeof compareFacts>): string {
  const drawn = new Table({
    head: ['fact', 'D', 'p'],
    colAligns: ['left', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { fact, distance, p } of rows.slice(0, SHOWN)) drawn.push([fact, distance.toFixed(3), p.toPrecision(2)]);
  return drawn.toString();
}
