/** Every overlay, or those named, with compose.yaml and the Dockerfile; or the manifests of `--file`, as overlay `dev` would hold them. */
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { composeProblems } from './compose';
import { dockerfileProblems, lintProblems } from './dockerfile';
import { overlayNames, parseManifests, renderOverlays } from './render';
import { problemsOf } from './rules';
import { schemaRule } from './schema';

async function main([option, file, ...rest]: string[]): Promise<void> {
  const schema = await schemaRule();
  if (option === '--file' && file)
    return finish(schema(parseManifests(readFileSync(file, 'utf8'))).map(lineOf('file')));
  const names = [option, file, ...rest].filter((name) => name !== undefined);
  const rendered = await renderOverlays(names.length > 0 ? names : overlayNames());
  const lines = [...rendered].flatMap(([name, resources]) => {
    return [...schema(resources.filter(isNew)), ...problemsOf(resources, name)].map(lineOf(name));
  });
  finish([...lines, ...composeProblems(), ...dockerfileProblems(), ...lintProblems()]);
}

const seen = new Set<string>();
/** Most of what an overlay holds is in another one to the letter: the schema need not look twice. */
function isNew(resource: object): boolean {
  const text = JSON.stringify(resource);
  const first = !seen.has(text);
  seen.add(text);
  return first;
}

const lineOf =
  (overlay: string) =>
  ({ resource, field, message }: { resource: string; field: string; message: string }): string =>
    `${overlay}: ${resource}: ${field}: ${message}`;

function finish(lines: readonly string[]): void {
  for (const line of new Set(lines)) process.stderr.write(`${line}\n`);
  process.exitCode = lines.length === 0 ? 0 : 1;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
