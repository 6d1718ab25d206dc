/**
 * Programs of our own that a contender runs as processes: forked with their configuration as the one argument, ready
 * when they say so, ended with the benchmark, even when that is killed (they watch the channel to it).
 */
import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';

export interface Child<Config> {
  pid: number;
  /** Configures it anew while it runs; resolves when it has taken effect. */
  configure(config: Partial<Config>): Promise<void>;
  /** Hears what it sends beyond the handshake. */
  listen(hear: (message: unknown) => void): void;
  stop(): Promise<void>;
}

/** From a child to us. */
type Signal = { signal: 'ready' } | { signal: 'configured' } | { signal: 'news'; news: unknown };

/** Starts `bench/dist/<program>.js`; resolves when it has called `serve`. */
export async function startChild<Config extends object>(program: string, config: Config): Promise<Child<Config>> {
  const child = fork(join(__dirname, `${program}.js`), [JSON.stringify(config)], { stdio: ['ignore', 2, 2, 'ipc'] });
  await signalFrom(child, program, 'ready');
  return {
    pid: child.pid!,
    configure: async (changes) => {
      child.send(changes);
      await signalFrom(child, program, 'configured');
    },
    listen: (hear) => {
      child.on('message', (message: Signal) => message.signal === 'news' && hear(message.news));
    },
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once('exit', () => resolve());
        child.disconnect();
      }),
  };
}

/** Starts a run in a child that answers each with one outcome. */
export function outcomesOf<Run, Outcome>(child: Child<{ run: Run | null }>): (run: Run) => Promise<Outcome> {
  let hear: (outcome: Outcome) => void = () => undefined;
  child.listen((message) => hear(message as Outcome));
  return async (run) => {
    const heard = new Promise<Outcome>((resolve) => (hear = resolve));
    await child.configure({ run });
    return heard;
  };
}

function signalFrom(child: ChildProcess, program: string, wanted: Signal['signal']): Promise<void> {
  return new Promise((resolve, reject) => {
    const onMessage = ({ signal }: Signal): void => {
      if (signal === wanted) settle(resolve);
    };
    const onExit = (code: number | null): void => settle(() => reject(new Error(`${program} ended (status ${code})`)));
    const settle = (then: () => void): void => {
      child.off('message', onMessage).off('exit', onExit);
      then();
    };
    child.on('message', onMessage).on('exit', onExit);
  });
}

/** The child's side: reads its configuration, starts, says so, and ends when the benchmark does. */
export async function serve<Config extends object>(start: (config: Config) => Promise<void>): Promise<void> {
  process.once('disconnect', () => process.exit(0));
  // A terminal's Ctrl-C reaches the whole group; when to end is the benchmark's decision.
  process.on('SIGINT', () => undefined);
  const config = JSON.parse(process.argv[2]!) as Config;
  process.on('message', (changes: Partial<Config>) => {
    Object.assign(config, changes);
    signal({ signal: 'configured' });
  });
  await start(config);
  signal({ signal: 'ready' });
}

/** From a child to whoever listens to it. */
export function tell(news: unknown): void {
  signal({ signal: 'news', news });
}

function signal(message: Signal): void {
  process.send?.(message);
}
