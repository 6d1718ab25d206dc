/** `registry.ledger.append`: the auditor's entries, sent again until acknowledged, appended once each. */
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsIn,
  IsInt,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import type { JobKind } from '../domain/job';
import { LEDGER_ENTRY_TYPES, type LedgerEntryType } from '../domain/score-window';
import { JOB_KINDS } from '../domain/task-kinds';

/** One batch of the relay; append_ledger does 55–94 thousand entries a second in batches of a hundred. */
export const LEDGER_BATCH = 200;

/** What the ledger's integer columns hold. */
const INTEGER_MAX = 2_147_483_647;

export class LedgerEntryMessage {
  @IsUUID()
  id!: string;

  @IsIn(LEDGER_ENTRY_TYPES)
  type!: LedgerEntryType;

  @IsString()
  @Length(3, 64)
  hotkey!: string;

  @IsIn(JOB_KINDS)
  kind!: JobKind;

  @IsUUID()
  jobId!: string;

  /** Epoch of the award; its reversal and restoration carry the same. */
  @IsInt()
  @Min(1)
  @Max(INTEGER_MAX)
  epoch!: number;

  /** Millionths as a decimal string; a reversal's are the negative of its award's, a restoration's are the award's again. */
  @Matches(/^-?\d{1,18}$/)
  points!: string;

  @IsString()
  @Length(1, 1_000)
  reason!: string;

  @IsInt()
  @Min(1)
  @Max(INTEGER_MAX)
  policyVersion!: number;
}

export class AppendLedgerCommand {
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(LEDGER_BATCH)
  @ValidateNested({ each: true })
  @Type(() => LedgerEntryMessage)
  entries!: LedgerEntryMessage[];
}

export interface AppendLedgerReply {
  /** Entry id → its number in the log of score events. */
  seqs: Record<string, string>;
}
