/** A miner's word against an invalid verdict: `POST /v1/miners/{hotkey}/appeals`, signed by that hotkey. */
import { IsString, IsUUID, Length } from 'class-validator';

export class AppealFiling {
  /** The job whose verdict is objected to, as in the miner's account. */
  @IsUUID()
  job_id!: string;

  /** For whoever looks into it; it stands beside the verdict in the miner's account. */
  @IsString()
  @Length(1, 1_000)
  reason!: string;
}

/** The appeal as it is stored: the same filing again gets the same. */
export interface AppealReply {
  job_id: string;
  filed_at: string;
  /** `decided`: the audit was done again; what came of it is in the miner's account. */
  state: 'open' | 'decided';
}
