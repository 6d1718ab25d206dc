/** A client meets a code and looks it up: docs/errors.md lists exactly the codes of the registry, with their status. */
import { isEntryPoint, readText, report } from './repository.mjs';

const REGISTRY = 'libs/shared/src/domain/errors.ts';
const DOCUMENT = 'docs/errors.md';

/** `  CODE: { status: 404,` in the registry; `| `CODE` | 404 |` in the document's tables. */
const REGISTERED = /^\s*([A-Z][A-Z0-9_]+):\s*\{\s*status:\s*(\d{3})\b/gm;
const DOCUMENTED = /^\|\s*`([A-Z][A-Z0-9_]+)`\s*\|\s*(\d{3})\s*\|/gm;

/**
 * @param {string} registry TypeScript source
 * @param {string} document Markdown
 * @returns {string[]} problems
 */
export function errorCodeProblems(registry, document) {
  const registered = [...registry.matchAll(REGISTERED)].map(([, code, status]) => ({ code, status }));
  const documented = [...document.matchAll(DOCUMENTED)].map(([, code, status]) => ({ code, status }));
  if (registered.length === 0) return [`${REGISTRY}: no error code found: has the form of the registry changed?`];

  const statusOf = (list, code) => list.find((entry) => entry.code === code)?.status;
  const repeated = documented.filter(({ code }, at) => documented.findIndex((entry) => entry.code === code) !== at);
  return [
    ...registered
      .filter(({ code }) => statusOf(documented, code) === undefined)
      .map(({ code }) => `${DOCUMENT}: ${code} is not explained: add a row`),
    ...documented
      .filter(({ code }) => statusOf(registered, code) === undefined)
      .map(({ code }) => `${DOCUMENT}: ${code} is not in ${REGISTRY}: remove the row`),
    ...registered
      .filter(({ code, status }) => ![undefined, status].includes(statusOf(documented, code)))
      .map(({ code, status }) => `${DOCUMENT}: ${code} has status ${status} in ${REGISTRY}`),
    ...repeated.map(({ code }) => `${DOCUMENT}: ${code} is listed twice`),
  ];
}

if (isEntryPoint(import.meta.url)) report(errorCodeProblems(readText(REGISTRY), readText(DOCUMENT)));
