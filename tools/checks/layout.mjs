/** The tree itself is documentation: no barrels, no buckets, no folder for one file (see CONTRIBUTING.md). */
import { posix } from 'node:path';
import { isEntryPoint, listFiles, report } from './repository.mjs';

const SOURCE = /\.([cm]?[jt]sx?|sql|sh)$/;
const BARREL = /(^|\/)index\.[cm]?[jt]sx?$/;

/** Names that say nothing about what is inside, so that everything ends up inside. */
const BUCKETS = new Set(['utils', 'util', 'helpers', 'helper', 'common', 'manager', 'managers', 'lib', 'types']);
const BUCKET_ENDING = /-(utils?|helpers?|managers?)$/;

/** Folders whose place is given by the layout or by a tool, so that they may begin with one file. */
const GIVEN_FOLDERS = [
  /^[^/]+$/, // top level
  /^(apps|clients|engines|libs|services|tools)\/[^/]+(\/src)?$/, // a project and its sources
  /^libs\/shared\/src\/[^/]+$/, // the layers
  /^deploy\/[^/]+$/,
  /^deploy\/k8s\/overlays\/[^/]+$/, // kustomize wants a folder for each
  /^docs\/(decisions|reports)$/,
  /(^|\/)migrations$/,
  /(^|\/)fixtures$/,
];

/**
 * @param {string[]} files paths from the root
 * @returns {string[]} problems, each `path: what is wrong and what to do`
 */
export function layoutProblems(files) {
  return [...files.flatMap(nameProblems), ...lonelyFiles(files)].sort();
}

function nameProblems(file) {
  const problems = [];
  if (BARREL.test(file)) {
    problems.push(`${file}: no barrels: import names from the file that defines them`);
  }
  const bucket = SOURCE.test(file) && bucketIn(file);
  if (bucket) {
    problems.push(`${file}: "${bucket}" is a bucket: name it after what it does`);
  }
  return problems;
}

/** The first folder, or part of the file's name, that is a bucket. */
function bucketIn(file) {
  const { dir, name } = posix.parse(file);
  const words = [...dir.split('/'), ...name.split('.')];
  return words.find((word) => BUCKETS.has(word) || BUCKET_ENDING.test(word));
}

function lonelyFiles(files) {
  const childrenOf = new Map();
  for (const file of files) {
    for (let path = file; path !== '.'; path = posix.dirname(path)) {
      const folder = posix.dirname(path);
      childrenOf.set(folder, (childrenOf.get(folder) ?? new Set()).add(path));
    }
  }
  const all = new Set(files);
  return [...childrenOf]
    .filter(([folder, [first, ...others]]) => others.length === 0 && all.has(first) && !isGiven(folder))
    .map(([folder, [file]]) => `${file}: no folder for one file: move it out of ${folder}/`);
}

const isGiven = (folder) => GIVEN_FOLDERS.some((pattern) => pattern.test(folder));

if (isEntryPoint(import.meta.url)) report(layoutProblems(listFiles()));
