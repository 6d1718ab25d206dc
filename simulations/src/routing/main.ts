/** `npm run simulate:routing`: see `--help`; docs/routing.md has the last table. */
import { CommanderError } from 'commander';
import { parseOptions } from './options';
import { savings, tableOf } from './report';
import { simulate } from './simulate';

async function main(): Promise<void> {
  const { seed, miners, operators, length, json } = parseOptions(process.argv.slice(2));
  const size = { miners, operators: Math.min(miners, operators), spanJobs: length };
  const outcomes = await simulate(size, seed, ({ scenario, kind }) =>
    process.stderr.write(`· ${scenario}, ${kind}: done\n`),
  );
  const broken = outcomes.flatMap((outcome) =>
    outcome.broken.map((promise) => `${outcome.scenario}, ${outcome.kind}: ${promise}`),
  );
  if (json) process.stdout.write(`${JSON.stringify({ seed, ...size, outcomes, broken })}\n`);
  else process.stdout.write(`${[tableOf(outcomes), ...savings(outcomes)].join('\n')}\n`);
  for (const promise of broken) process.stderr.write(`✗ ${promise}\n`);
  process.exitCode = broken.length === 0 ? 0 : 1;
}

main().catch((error: unknown) => {
  // Commander has printed its message and the usage.
  if (!(error instanceof CommanderError))
    process.stderr.write(`✗ ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
