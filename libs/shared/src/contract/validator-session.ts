/** How a validator gets to listen to the stream SCORES: `POST /v1/validators/{hotkey}/session`, signed by that hotkey. */
import { IsInt, Matches, Max, Min } from 'class-validator';

export class ValidatorSessionRequest {
  /** Public user key of NATS, whose seed stays with the validator: the token is worth nothing without it. */
  @Matches(/^U[A-Z2-7]{55}$/, {
    message: 'nkey is a public user key of NATS: U and 55 characters, as createUser() makes',
  })
  nkey!: string;

  /** Number of the last event already known; 0 for all. */
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER - 1)
  after!: number;
}

export interface ValidatorSession {
  /** Token for the nkey. The server closes a connection whose token has expired. */
  jwt: string;
  expires_at: string;
  /** The same from now on, for whose clock is wrong. */
  expires_in_s: number;
  /** URLs of NATS. */
  servers: string[];
  /** All that the token allows to listen to. Events come in order from `after + 1`; nothing is acknowledged. */
  deliver_subject: string;
  /** A silence of several of these means: ask for a new session. */
  heartbeat_ms: number;
}
