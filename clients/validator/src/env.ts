/** Secrets have no flag: command lines are seen by every user of a machine. All else is an option, which --help names. */
export interface Secrets {
  /** 64 hex digits of the validator's hotkey. */
  seed?: string;
  pylonToken?: string;
}

export function secretsOf(env: NodeJS.ProcessEnv = process.env): Secrets {
  const { VALIDATOR_SEED, PYLON_TOKEN } = env;
  return { ...(VALIDATOR_SEED && { seed: VALIDATOR_SEED }), ...(PYLON_TOKEN && { pylonToken: PYLON_TOKEN }) };
}
