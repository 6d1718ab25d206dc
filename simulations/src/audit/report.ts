/** The report as Markdown: what was found beside what is promised, and what is and is not simulated. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { FALSE_FLAGS, HONEST_LENGTH, type FlagTime } from './detection';
import { COSTS, costsNotBelow, hotkeyPrice, honestProfit, type Profit } from './earnings';
import { PROMISED_SHARE } from './profiles';
import { brokenPromises, deviation, notBelow, SURE, TOLERANCE } from './promises';
import { PRODUCTION_FACTOR } from './reversal-factor';
import { EARNED_WITH_TOO_LOW, TOO_LOW } from './reversal-sweep';
import { JOBS_PER_EPOCH } from './rules';
import { LEAST_CHEATED } from './search';
import type { Setting } from './setting';
import type { Results } from './simulate-audit';
import type { Estimate, Share } from './statistics';
import { percent } from './strategies';

export interface Run extends Omit<Setting, 'chance'> {
  /** Of the processor: what a run takes by the clock depends on what else the machine does. */
  cpuSeconds: number;
}

const { audit, finalityEpochs, quarantineEpochs, epochBlocks, blockMs } = DEFAULT_POLICY;
const MINUTE_MS = 60_000;

export function reportOf(results: Results, run: Run): string {
  return `${[
    heading(results, run),
    method(results, run),
    times(results),
    honesty(results),
    members(results),
    reversals(results),
    speed(results),
    hotkeys(results),
    quorum(results),
    limits(),
  ].join('\n\n')}\n`;
}

function heading(results: Results, { size, seed, cheatCost, cpuSeconds }: Run): string {
  const broken = brokenPromises(results);
  const exceptions = notBelow(results);
  const list = (lines: readonly string[]): string => lines.map((text) => `- ${text}`).join('\n');
  return `# The audit, simulated

Written by \`npm run simulate:audit${size.name === 'full' ? ' -- --full' : ''}\`: seed ${seed}, ${cpuSeconds.toFixed(0)} s of one core, a cheated job costs ${percent(cheatCost)}
of an honest one. The command fails when a promise breaks.

${broken.length === 0 ? 'Every promise holds.' : `Broken:\n\n${list(broken)}`}

${
  exceptions.length === 0
    ? 'No strategy earns what honesty earns.'
    : `No promise is made for these, and each earns at least what honesty earns:

${list(exceptions)}

What each kind of them asks for is said where its table stands.`
}`;
}

function method({ draws, filed }: Results, { size }: Run): string {
  const { draws: samples, hmac, seeded, bound } = draws;
  return `## What is simulated

One hotkey doing one kind of job: filed and awarded at once, drawn or not, replayed after a random delay (exponential, mean
${audit.meanDelayMs / MINUTE_MS} minutes, then 10 s a replay), judged, summed up, quarantined; at the close of an epoch the floor of ${audit.floorPerEpoch} audits, the reversals,
finality after ${finalityEpochs} epochs. Quarantine lasts ${quarantineEpochs} epochs of ${(epochBlocks * blockMs) / MINUTE_MS} minutes and ends in a new probation. ${JOBS_PER_EPOCH} jobs an epoch where nothing else is said.

The decisions are the production's own functions: \`libs/shared/src/domain/audit-sampling.ts\`,
\`libs/shared/src/domain/audit-verdict.ts\`, \`libs/shared/src/domain/cusum.ts\`, \`services/auditor/src/reversals.ts\`, and for peers that
judge each other \`services/auditor/src/next-step.ts\` and \`services/auditor/src/judgment.ts\`. Only Postgres, the wire and the results
themselves are replaced. u is drawn by seeded chance in place of an HMAC. Both are uniform: over ${count(samples)} draws the
largest distance from the uniform distribution (Kolmogorov, Smirnov) is ${hmac.toFixed(4)} for HMACs and ${seeded.toFixed(4)} for seeded draws, where ${bound.toFixed(4)} is
exceeded by chance once in a thousand samples. ${count(size.filedHistories)} histories of a miner that ${filed.name}, filed by
\`services/auditor/src/filing.ts\` with an HMAC for each job, come to ${filed.found.median} and ${filed.found.most} jobs, as the table below.

Times to detection and false flags skip the jobs that are not drawn: between two verdicts the rate does not change, so
the number of jobs until the next drawn one is geometric. \`simulations/src/audit/simulate-audit.spec.ts\` holds them against the long way.

A miner sees what a miner can see: its own jobs and its quarantine at once, everything else when an epoch is settled.`;
}

function times({ flagTimes }: Results): string {
  const rows = flagTimes.map(({ name, promised, found, delayed }: FlagTime) => [
    name,
    `${promised?.median ?? ''}`,
    `${found.median}`,
    off(found.median, promised?.median),
    `${promised?.most ?? ''}`,
    `${found.most}`,
    off(found.most, promised?.most),
    `${delayed.median} / ${delayed.most}`,
  ]);
  const head = [
    'miner',
    'half: promised',
    'found',
    'off by',
    '99 %: promised',
    'found',
    'off by',
    'with delays, half / 99 %',
  ];
  return `## How soon a cheater is found

Jobs until a miner is in quarantine: all that it did, drawn or not, up to the one whose verdict puts it there, verdicts being there
before the next job; of the miner that turns, those since it turned. Promised are the figures within ${percent(TOLERANCE)}. The last column
has the production's delay, in which more jobs are done.

${table(head, rows)}

![Share of the miners in quarantine against jobs done](audit-detection.png)`;
}

function honesty({ falseFlags, losses }: Results): string {
  const { rate, least, most } = FALSE_FLAGS;
  const flags = falseFlags.map(({ failureRate, histories, flagged }) => [
    percent(failureRate),
    failureRate === rate ? `${percent(least)} to ${percent(most)}` : '',
    interval(flagged),
    count(histories),
  ]);
  const lost = losses.map(({ comparator, jobsPerEpoch, falseDifference, confirmed, ...loss }) => [
    comparator,
    `${jobsPerEpoch}`,
    fine(falseDifference),
    fine(confirmed),
    loss.promised === undefined ? '' : percent(loss.promised),
    fine(loss.bound),
    loss.lost.error === 0 ? fine(loss.lost.mean) : `${fine(loss.lost.mean)} ± ${fine(SURE * loss.lost.error)}`,
    `${loss.quarantines}`,
    count(loss.jobs),
  ]);
  return `## What honesty risks

Honest histories of ${count(HONEST_LENGTH)} jobs that end in quarantine, with a 95 % interval:

${table(['confirmed false failures', 'promised', 'flagged', 'histories'], flags)}

![Share of honest miners ever in quarantine against jobs done](audit-false-flags.png)

Points that an honest miner loses to audits, judged by a reference. A comparator with a tolerance takes two honest results for
different now and then, each pair by itself; the confirmed rate is what is left of that after \`decideVerdict\` has asked for a second opinion.
The bound is p₀ · (q + 3/κ) with the confirmed rate for p₀, q = ${audit.trustedRate} and κ = ${audit.kappaReference}. The audits of the floor come on top of it: with few jobs an
epoch more are audited than q says, and each conviction still takes the neighbours of a rarer one.

${table(['comparator', 'jobs an epoch', 'pairs taken for different', 'confirmed', 'promised at most', 'bound', 'points lost', 'quarantines', 'jobs'], lost)}`;
}

function members({ members: profiles, found }: Results): string {
  return `## What cheating earns

Rewards kept less the cost of the work done, per job *offered*: jobs missed in quarantine, or refused to hide, are missed income. The cost of an
honest job is a share of its reward. ± is a 95 % interval.

${profits(profiles)}

![Profit by the share of jobs cheated on](audit-profit.png)

*careful* works honestly through probation and whenever it believes itself suspected. It computes its own S from what the last settlement
showed. *clairvoyant* sees its S at every moment, which no miner can. Of ${found.variants} variants (how often, how many an epoch, late in the
epoch, only at the lowered rate, pauses after a reversal, only with little exposed, hiding until a burst is final; 30, 100 or 1,000 jobs an
epoch) these were the best that cheat on ${percent(LEAST_CHEATED)} of the jobs or more, played again with other chance:

${profits(found.best)}

![Profit of careful strategies](audit-careful.png)`;
}

function reversals({ sweep }: Results): string {
  const rows = sweep.map(({ factor, profit }) => [
    `${factor}`,
    factor === TOO_LOW ? `${EARNED_WITH_TOO_LOW}` : '',
    plusMinus(profit.byCost[COSTS.length - 1]!),
    factor === TOO_LOW ? off(profit.byCost[COSTS.length - 1]!.mean, EARNED_WITH_TOO_LOW) : '',
  ]);
  const honest = honestProfit(COSTS[COSTS.length - 1]!).toFixed(3);
  return `## Why three neighbours per expected failure

A conviction takes the ⌈${PRODUCTION_FACTOR} / (q·κ)⌉ nearest unaudited awards. The clairvoyant cheater, with verdicts at once, at a cost of ${COSTS[COSTS.length - 1]},
where honesty earns ${honest}, if a conviction took fewer:

${table(['in place of 3', 'expected', 'profit', 'off by'], rows)}

The weaker rule goes in through the arguments of the production's function, which cannot take fewer than three neighbours;
with 0 it takes none.

![Profit of a clairvoyant cheater by the number of neighbours reversed](audit-reversals.png)`;
}

function speed({ faster }: Results): string {
  return `## When cheating is faster

Everywhere else an honest job and a cheated one earn the same. Here an honest job takes its time, as a share of the latency from which on a result earns
nothing, and a wrong one comes at once. Rewards are those of an honest job. A conviction costs the miner about ${PRODUCTION_FACTOR} rewards for each job that it
cheated on, so what a cheat earns on top of that is an advantage: kinds whose honest results take most of their time need a longer timeout.

${profits(faster)}`;
}

function hotkeys({ renewing }: Results): string {
  const rows = renewing.map((profit) => [...profitCells(profit), hotkeyPrice(profit).toFixed(2)]);
  return `## New hotkeys for nothing

Whoever is in quarantine comes back at once under a new hotkey; *hit and run* works through probation, cheats on so many jobs, and
leaves. All that it did in probation was audited, so a conviction finds few neighbours. Only the price of a hotkey
stops that: the last column is what one has to cost, in rewards of one job, so that it does not pay at any of the three costs. With 1,000 jobs an epoch a burst is
over before its first verdict.

${table([...PROFIT_HEAD, 'a hotkey has to cost'], rows)}`;
}

function quorum({ quorum: powers, fewCollude, manyCollude }: Results): string {
  const rows = powers.map(({ share, power, kappa, framed, honestReplayers }) => [
    percent(share),
    power.share.toFixed(3),
    `${kappa}`,
    fine(framed.share),
    fine(honestReplayers.share),
  ]);
  const head = [
    'operators that collude',
    'wrong results convicted',
    'κ of the policy',
    'honest convicted',
    'honest replayers convicted',
  ];
  return `## Without a reference

Peers judge each other, and those that collude hand in the same wrong result and vouch for each other. The policy's κ = ${audit.kappaQuorum} is what a quorum
detects with ${percent(PROMISED_SHARE)} of the operators colluding; beyond that nothing is promised. The two last columns are what honest miners suffer: audited
right results that are convicted when every colluding peer answers wrongly, and honest peers convicted of a wrong replay, per audited
wrong result of a colluding miner. Three that agree convict; a reference ends both.

${table(head, rows)}

Profit where colluding peers vouch for every wrong result and tell the truth about everybody else's:

${profits([...fewCollude, ...manyCollude])}`;
}

function limits(): string {
  return `## What is not simulated

- Results, pictures and their distances: a wrong result differs from every honest one. What the perceptual comparator lets through is
  measured on photographs, in \`services/auditor/src/comparators/perceptual.spec.ts\`.
- Two kinds at once: a quarantine for one kind takes the other along, which makes cheating dearer than here.
- Appeals and amnesties, lost replays, a reference that is wrong, and replicas among the jobs of a miner.
- Routing: every strategy is offered the same jobs. A newcomer's fewer slots and a quarantined miner's lost turns come on top.
- What a registration costs: see above for what it has to.`;
}

const PROFIT_HEAD = ['miner', 'cheated', 'quarantines per 1,000 jobs', ...COSTS.map((cost) => `cost ${cost}`)];

function profits(all: readonly Profit[]): string {
  return table(PROFIT_HEAD, all.map(profitCells));
}

/** In bold what is not below honesty's. */
function profitCells(profit: Profit): string[] {
  const notBelowAt = costsNotBelow(profit);
  const cells = COSTS.map((cost, i) => {
    const text = plusMinus(profit.byCost[i]!);
    return notBelowAt.includes(cost) ? `**${text}**` : text;
  });
  return [profit.name, percent(profit.cheated), profit.quarantines.toFixed(2), ...cells];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const align = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [head, align, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function off(found: number, promised: number | undefined): string {
  if (promised === undefined) return '';
  const share = deviation(found, promised);
  return `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(1)} %`;
}

const plusMinus = ({ mean, error }: Estimate): string => `${signed(mean)} ± ${(SURE * error).toFixed(4)}`;
const signed = (value: number): string => value.toFixed(4).replace('-', '−');
const fine = (share: number): string => `${+(100 * share).toPrecision(3)} %`;
const interval = ({ share, least, most }: Share): string => `${fine(share)} (${fine(least)} to ${fine(most)})`;
const count = (value: number): string => value.toLocaleString('en');
