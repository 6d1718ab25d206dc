import { readFileSync } from 'node:fs';
import type { Logger } from '@studio/shared/platform/logger';
import type { RegistryEnv } from './env';
import { ScoresLink } from './scores-link';
import { ValidatorTokens } from './validator-tokens';

/** The account SCORES as this registry holds it: a connection for itself, tokens for validators. */
export interface ScoresDoor {
  link: ScoresLink;
  tokens: ValidatorTokens;
  /** Where validators reach it. */
  servers: string[];
  sessionMs: number;
  /** Copies of the stream in its cluster. */
  replicas: number;
}

/** Null without SCORES_NATS_URL. Connects nowhere yet. @throws Error naming the file that cannot be read. */
export async function openScoresDoor(env: RegistryEnv, log: Logger): Promise<ScoresDoor | null> {
  const { SCORES_NATS_URL: url, SCORES_NATS_PUBLIC_URL: publicUrl } = env;
  // The environment has been validated: with the URL the others are there.
  const { SCORES_NATS_CREDS: registryCreds = '', SCORES_NATS_SIGNING_KEY: signingKey = '' } = env;
  if (url === undefined) return null;
  return {
    link: new ScoresLink({ url, creds: readFileSync(registryCreds), log }),
    tokens: await ValidatorTokens.read({ registryCreds, signingKey }),
    servers: [publicUrl ?? url],
    sessionMs: env.SCORES_SESSION,
    replicas: env.SCORES_NATS_REPLICAS,
  };
}
