/** A document that names a file or a command which does not exist misleads: the reader trusts the rest less. */
import { posix } from 'node:path';
import { isEntryPoint, listFiles, readJson, readText, report } from './repository.mjs';

const CHECKED = /^(ARCHITECTURE|README|CONTRIBUTING)\.md$|^docs\/.*\.md$|^[^/]+\/([^/]+\/)*README\.md$/;

const FENCED = /^(```|~~~)[\s\S]*?^\1/gm;
const CODE_SPAN = /`([^`\n]+)`/g;
const LINK = /\]\(([^()\s]+)(?:\s+"[^"]*")?\)/g;

/** Written by the programs, so absent from a fresh clone. */
const GENERATED = /^(\.cache|\.data|\.nx|out|dist|node_modules|coverage)(\/|$)|\/(dist|node_modules)(\/|$)/;
/**
 * A name that does not begin at the root is taken for a file of ours only with these endings (`weights.json` may be
 * something that a program writes), and not when it stands for a kind of file (`*.store.ts`, the forbidden `index.ts`).
 */
const OUR_FILE = /^(?!index\.ts$)[^*]+\.(ts|mjs|cjs|sql|md)$/;
const PATH_LIKE = /^[\w.*@-]+(\/[\w.*@-]+)*\/?$/;

/** @typedef {{files: string[], scripts: Record<string, string[]>}} Tree `scripts` by package; the root's under '' */

/**
 * @param {string} document path from the root
 * @param {string} text its Markdown
 * @param {Tree} tree
 * @returns {string[]} problems
 */
export function documentProblems(document, text, tree) {
  const prose = text.replace(FENCED, '');
  const spans = [...prose.matchAll(CODE_SPAN)].map(([, span]) => span);
  const blocks = [...text.matchAll(FENCED)].map(([block]) => block);
  const problems = [
    ...spans.filter((span) => !isThere(span, tree)).map((path) => `\`${path}\` does not exist`),
    ...[...prose.matchAll(LINK)]
      .map(([, target]) => target)
      .filter((target) => !linkIsAlive(document, target, tree))
      .map((target) => `the link to ${target} is dead`),
    ...[...spans, ...blocks].flatMap((code) => commandProblems(code, tree)),
  ];
  return [...new Set(problems)].map((problem) => `${document}: ${problem}`);
}

/** True for everything that is not meant as a path in the repository. */
function isThere(span, { files }) {
  const path = span.replace(/(:\d+)?(#.*)?$/, '');
  if (!PATH_LIKE.test(path) || GENERATED.test(path)) return true;
  const [first] = path.split('/');
  const fromRoot = path.includes('/') && files.some((file) => file.startsWith(`${first}/`));
  if (!fromRoot && !OUR_FILE.test(path)) return true;
  const pattern = patternFor(path, fromRoot);
  return files.some((file) => pattern.test(file));
}

/** `*` stands for any name, or none; a folder stands for what is in it; a path not from the root for the end of one. */
function patternFor(path, fromRoot) {
  const escaped = path
    .replace(/\/$/, '')
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, '[^/]*');
  return new RegExp(`${fromRoot ? '^' : '(^|/)'}${escaped}(/|$)`);
}

function linkIsAlive(document, target, { files }) {
  if (/^([a-z]+:|#)/.test(target)) return true;
  const path = posix.join(posix.dirname(document), decodeURI(target.replace(/#.*$/, ''))).replace(/\/$/, '');
  return path === '.' || files.some((file) => file === path || file.startsWith(`${path}/`));
}

function commandProblems(code, { scripts }) {
  return code.split('\n').flatMap((line) => {
    const workspace = /\s(?:-w|--workspace)[ =](\S+)/.exec(line)?.[1] ?? '';
    const known = scripts[workspace];
    if (known === undefined) return [`there is no package ${workspace}`];
    return [...line.matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)]
      .map(([, named, short]) => named ?? short)
      .filter((script) => !known.includes(script))
      .map((script) => `package.json${workspace && ` of ${workspace}`} has no script "${script}"`);
  });
}

function scriptsByPackage(files) {
  const packages = files.filter((file) => /(^|\/)package\.json$/.test(file)).map((file) => [file, readJson(file)]);
  return Object.fromEntries(
    packages.map(([file, { name, scripts = {} }]) => [file === 'package.json' ? '' : name, Object.keys(scripts)]),
  );
}

if (isEntryPoint(import.meta.url)) {
  const files = listFiles();
  const tree = { files, scripts: scriptsByPackage(files) };
  report(
    files
      .filter((file) => CHECKED.test(file))
      .flatMap((document) => documentProblems(document, readText(document), tree)),
  );
}
