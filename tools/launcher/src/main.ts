/** `npm start`: the whole system on one machine. See `--help`. */
import 'reflect-metadata';
import { CommanderError } from 'commander';
import { resolve } from 'node:path';
import colors from 'picocolors';
import { Demo } from './demo/run-demo';
import { wholePhoto } from './demo/photos';
import { Progress } from './demo/progress';
import { composeReport, printReport, type Report } from './demo/report';
import { parseOptions, type LauncherOptions } from './options';
import { claimDataDir } from './system/data-lock';
import { clearData } from './system/clear-data';
import { apiUrl, registryUrl } from './system/processes';
import { doorsOf, startSystem, type System } from './system/start-system';
import type { Supervisor } from './system/supervisor';

const ROOT = resolve(__dirname, '../../..');
const EXIT_FAILED = 1;
const EXIT_INTERRUPTED = 130;

const say = (line: string): void => void process.stderr.write(`${colors.dim('·')} ${line}\n`);

class Launcher {
  private supervisor: Supervisor | null = null;
  private release: () => void = () => undefined;
  private ending: Promise<never> | null = null;

  constructor(private readonly options: LauncherOptions) {}

  async run(): Promise<void> {
    const startedAt = performance.now();
    const { options } = this;
    // Before anything starts: a wrong file is known at once.
    await wholePhoto(options.photo);
    this.release = claimDataDir(options.dataDir);
    if (options.fresh) await clearData(options.dataDir, say);
    const system = await startSystem(options, ROOT, {
      say,
      onFatal: (error) => void this.end(EXIT_FAILED, error),
      onSupervisor: (supervisor) => (this.supervisor = supervisor),
    });
    const report = await this.mainJob(system, startedAt);
    const sound = Object.values(report.invariants).every(Boolean);
    if (options.once) return this.end(sound ? 0 : EXIT_FAILED, undefined, report);
    if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    stayUp(system);
  }

  private async mainJob(system: System, startedAt: number): Promise<Report> {
    const progress = new Progress();
    try {
      const demo = new Demo(doorsOf(system), this.options, progress);
      const outcome = await demo.run();
      progress.stop();
      const report = await composeReport(system, demo.operator, outcome, startedAt);
      await printReport(report, outcome, system, this.options);
      return report;
    } finally {
      progress.stop();
    }
  }

  /** Ends every process, then this one. With `--json` the report is the last line. */
  end(status: number, error?: unknown, report?: Report): Promise<never> {
    this.ending ??= this.shutDown(status, error, report);
    return this.ending;
  }

  private async shutDown(status: number, error: unknown, report?: Report): Promise<never> {
    if (error) process.stderr.write(`${colors.red('✗')} ${describe(error)}\n`);
    say('stopping');
    await this.supervisor?.stop();
    this.release();
    if (report && this.options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    process.exit(status);
  }
}

function stayUp(system: System): void {
  const api = apiUrl(system.endpoints);
  process.stdout.write(
    [
      '',
      `API       ${api}/v1/jobs   (authorization: Key ${system.apiKey})`,
      `docs      ${api}/docs`,
      `registry  ${registryUrl(system.endpoints)}/v1/scores`,
      '',
      'Running. Ctrl-C ends everything.',
      '',
    ].join('\n'),
  );
}

/** The message with its causes, without a stack: what to do stands in the message. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause ? `${error.message}\n    because: ${describe(error.cause)}` : error.message;
}

async function main(): Promise<void> {
  const launcher = new Launcher(parseOptions(process.argv.slice(2), ROOT));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void launcher.end(EXIT_INTERRUPTED));
  }
  await launcher.run().catch((error: unknown) => launcher.end(EXIT_FAILED, error));
}

main().catch((error: unknown) => {
  // Commander has printed its message and the usage.
  if (!(error instanceof CommanderError)) process.stderr.write(`${describe(error)}\n`);
  process.exitCode = EXIT_FAILED;
});
