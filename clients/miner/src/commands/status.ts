import type { AccountQuarantine, MinerAccount, MinerDetails } from '@studio/shared/contract/miners';
import { RegistryEnv, type Variables, readEnv } from '../env';
import { loadHotkey } from '../key-file';
import { RegistryClient } from '../registry-client';
import { say } from './say';
import { factTable, listTable } from './tables';
import { verdictRows } from './verdict-rows';

/** Of long lists the newest: the rest is in --json. */
const ROWS = 15;

/** What the registry holds of this miner. Signed, so that it shows what only the miner itself may see. */
export async function status(variables: Variables, json: boolean): Promise<void> {
  const env = readEnv(RegistryEnv, variables);
  const hotkey = await loadHotkey(env);
  const details = await new RegistryClient(env.REGISTRY_URL, hotkey).account();
  say(json ? JSON.stringify(details, null, 2) : accountText(details));
}

/** Tables of whatever is there: a registry may be older or newer than this kit. */
export function accountText({ account, ...view }: MinerDetails): string {
  const sections = [section('miner', factTable(viewFacts(view)))];
  if (!account) return `${sections[0]}\nthis registry shows no account`;
  return [...sections, ...accountSections(account)].filter(Boolean).join('\n\n');
}

function viewFacts(view: MinerDetails): [string, unknown][] {
  const offers = view.offers?.map(({ kind, engine, slots }) => `${kind} on ${engine}, ${slots} slots`).join('; ');
  return [
    ['hotkey', view.hotkey],
    ['uid', view.uid ?? 'none (no metagraph, or not in it)'],
    ['operator', view.operator],
    ['endpoint', view.endpoint],
    ['offers', offers],
    ['registered', view.registered_at],
    ['withdrawn', view.withdrawn_at ?? 'no'],
  ];
}

function accountSections(account: Partial<MinerAccount>): (string | undefined)[] {
  const { score, lanes, jobs, missed, measurement, blocked, quarantines, verdicts } = account;
  return [
    section('score', score ? factTable(scoreFacts(score)) : 'no valid job in this window yet'),
    lanes &&
      section(
        'lanes',
        listTable(lanes, ['kind', 'engine', 'declared', 'proven', 'open', 'jobs_last_hour', 'fair_share_last_hour']),
      ),
    blocked ? section('asked for nothing', blocked) : undefined,
    measurement ? section('measured', factTable(Object.entries(measurement))) : undefined,
    list('jobs', jobs, ['sent_at', 'kind', 'state', 'blame', 'raw_ms', 'credit_ms', 'net_ms', 'points', 'reason']),
    list('missed', missed, ['sent_at', 'kind', 'state', 'blame', 'reason']),
    list('verdicts of closed epochs', verdicts && verdictRows(verdicts), [
      'epoch',
      'job_id',
      'outcome',
      'reason',
      'evidence',
      'state',
    ]),
    list('quarantines', quarantines?.map(quarantineRow), undefined),
  ];
}

function scoreFacts(score: NonNullable<MinerAccount['score']>): [string, unknown][] {
  return [
    ['epoch', score.epoch],
    ['points', points(score.points)],
    ...Object.entries(score.points_by_kind ?? {}).map(([kind, value]): [string, unknown] => [
      `  ${kind}`,
      points(value),
    ]),
    ['valid jobs', score.valid_jobs],
    ['win rate', score.win_rate],
    ['rank', `${score.rank} of ${score.of}`],
    ['weight (u16)', score.u16],
  ];
}

function quarantineRow({ lifted, ...row }: AccountQuarantine): object {
  return { ...row, lifted: lifted ? `${lifted.cause}, ${lifted.at}` : '' };
}

/** Millionths as a decimal number. */
function points(millionths: string | null | undefined): string {
  if (millionths == null) return '';
  const digits = millionths.padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`;
}

function list(title: string, rows: readonly object[] | undefined, columns: string[] | undefined): string | undefined {
  if (!rows) return undefined;
  if (rows.length === 0) return section(title, 'none');
  const shown = rows
    .slice(0, ROWS)
    .map((row) => ('points' in row ? { ...row, points: points(row.points as string) } : row));
  const more = rows.length > ROWS ? `\n… and ${rows.length - ROWS} more: --json` : '';
  return section(title, listTable(shown, columns ?? Object.keys(shown[0]!)) + more);
}

function section(title: string, text: string): string {
  return `${title}\n${text}`;
}
