/** A server this process needs: resolves when it answers. */
export type Probe = () => Promise<unknown>;

export interface Readiness {
  ready: boolean;
  /** `ok`, or why not. */
  dependencies: Record<string, string>;
}

/**
 * Readiness asks every dependency, liveness none: a restart of this process would not bring a database back.
 * Liveness fails only for what a restart does heal, such as a NATS connection that is closed for good.
 */
export class Health {
  constructor(
    private readonly probes: Record<string, Probe>,
    private readonly options: { timeoutMs: number; alive?: () => boolean },
  ) {}

  isAlive(): boolean {
    return this.options.alive?.() ?? true;
  }

  /** Never rejects; takes `timeoutMs` at most. */
  async readiness(): Promise<Readiness> {
    const names = Object.keys(this.probes);
    const answers = await Promise.all(Object.values(this.probes).map((probe) => this.ask(probe)));
    const dependencies = Object.fromEntries(names.map((name, index) => [name, answers[index] ?? 'not asked']));
    return { ready: answers.every((answer) => answer === 'ok'), dependencies };
  }

  private async ask(probe: Probe): Promise<string> {
    const { timeoutMs } = this.options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`no answer within ${timeoutMs} ms`), timeoutMs);
    });
    // The message of a driver may name hosts and users: the log has it, the public door does not.
    const answer = Promise.resolve()
      .then(probe)
      .then(
        () => 'ok',
        () => 'does not answer',
      );
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
