/** A line of the export becomes a header or a row, or is refused: the file may be any file, the registry anybody's. */
import {
  AUDITED_BECAUSE,
  AUDIT_OUTCOMES,
  type DrawExportHeader,
  type DrawExportRow,
  type DrawnFrom,
  type RecordRewrite,
} from '@studio/shared/contract/draws';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { completePolicy, type Policy } from '@studio/shared/domain/policy';
import { Unreadable } from './unreadable';

export type Unknown<T> = { [K in keyof T]?: unknown };

/** @param from where it was read, for the message. */
export function readHeader(line: string, from: string): DrawExportHeader {
  const header = parse<DrawExportHeader>(line);
  if (header && isHeader(header)) return header as unknown as DrawExportHeader;
  throw new Unreadable(
    `${from} is no export of draws: its first line is no header; get one from GET /v1/epochs/{epoch}/draws of a registry`,
  );
}

/** @param number of the line, the header's being 1. */
export function readRow(line: string, number: number, from: string): DrawExportRow {
  const row = parse<DrawExportRow>(line);
  if (row && isRow(row)) return row as unknown as DrawExportRow;
  throw new Unreadable(
    `line ${number} of ${from} is no row of an export of draws: read the export again from the registry`,
  );
}

/** Undefined for what is no JSON object. */
function parse<T>(line: string): Unknown<T> | undefined {
  try {
    const value = JSON.parse(line) as unknown;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const JOB_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown, form: RegExp): boolean => typeof value === 'string' && form.test(value);
const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const isOneOf = (value: unknown, of: readonly unknown[]): boolean => of.includes(value);

export function isHeader({ epoch, commitment, secret, policy, rows, rewrites }: Unknown<DrawExportHeader>): boolean {
  return (
    Number.isSafeInteger(epoch) &&
    Number.isSafeInteger(rows) &&
    typeof commitment === 'string' &&
    typeof secret === 'string' &&
    isPolicy(policy) &&
    Array.isArray(rewrites) &&
    rewrites.every((rewrite) => isObject(rewrite) && isRewrite(rewrite))
  );
}

function isRewrite({ hotkey, at }: Unknown<RecordRewrite>): boolean {
  return typeof hotkey === 'string' && isText(at, TIME);
}

/** The figures that draws depend on. */
export function isPolicy(policy: unknown): boolean {
  if (!isObject(policy) || !isObject((policy as Unknown<Policy>).audit)) return false;
  const { version, audit } = completePolicy(policy as Policy);
  const { probationJobs, baseRate, trustedRate, trustedWilson, wilsonZ, floorPerEpoch } = audit;
  return [version, probationJobs, baseRate, trustedRate, trustedWilson, wilsonZ, floorPerEpoch].every(isNumber);
}

export function isRow(row: Unknown<DrawExportRow>): boolean {
  return (
    isText(row.job_id, JOB_ID) &&
    typeof row.hotkey === 'string' &&
    isOneOf(row.kind, JOB_KINDS) &&
    isText(row.points, /^\d{1,18}$/) &&
    isNumber(row.policy_version) &&
    (row.q === null || isNumber(row.q)) &&
    (row.u === null || isText(row.u, /^\d{1,20}$/)) &&
    (row.record === null || (isObject(row.record) && isRecord(row.record))) &&
    typeof row.drawn === 'boolean' &&
    (row.audited === null || isOneOf(row.audited, AUDITED_BECAUSE)) &&
    (row.outcome === null || isOneOf(row.outcome, AUDIT_OUTCOMES)) &&
    (row.replay_of === null || isText(row.replay_of, JOB_ID)) &&
    isText(row.finished_at, TIME) &&
    isText(row.taken_at, TIME)
  );
}

function isRecord({ jobs_seen: seen, audits, passes, cusum }: Unknown<DrawnFrom>): boolean {
  return [seen, audits, passes, cusum].every(isNumber);
}
