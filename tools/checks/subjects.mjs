/** Every NATS subject has one owner and is written once: two spellings, or two who answer, show only in production. */
import { isEntryPoint, listFiles, readText, report } from './repository.mjs';

const REGISTRY = 'libs/shared/src/contract/subjects.ts';
const CHECKED = /^(services|clients|libs|tools)\/.*(?<!\.spec|\.e2e|\.rig)\.ts$/;

/** `  name: { subject: 'a.b', form: 'hint', owner: 'querier',` */
const ENTRY = /^\s*(\w+):\s*\{\s*subject:\s*'([^']+)',\s*form:\s*'(\w+)',\s*owner:\s*'(\w+)'/gm;
/** Acting as the owner: answering a command, saying a hint, publishing to a stream. */
const OWNING_USE = /\b(?:MessagePattern|publish\w*|emit)\(\s*SUBJECTS\.(\w+)/g;
const COMMENT = /\/\*[\s\S]*?\*\/|\/\/.*$/gm;

/**
 * @param {string} registry source of contract/subjects.ts
 * @param {Record<string, string>} sources text by path from the root
 * @returns {string[]} problems
 */
export function subjectProblems(registry, sources) {
  const entries = [...registry.matchAll(ENTRY)].map(([, name, subject, form, owner]) => ({
    name,
    subject,
    form,
    owner,
  }));
  if (entries.length === 0) return [`${REGISTRY}: no subject found: has the form of the registry changed?`];
  return [
    ...declaredTwice(entries),
    ...Object.entries(sources).flatMap(([file, text]) => [
      ...spelledOut(file, text, entries),
      ...usurped(file, text, entries),
    ]),
    ...answeredTwice(sources, entries),
  ];
}

function declaredTwice(entries) {
  return entries
    .filter(({ subject }, at) => entries.findIndex((other) => other.subject === subject) !== at)
    .map(({ name, subject }) => `${REGISTRY}: ${name} declares "${subject}" again`);
}

/** The fixed beginning of a subject, in quotes, anywhere but in the registry and in comments. */
function spelledOut(file, text, entries) {
  if (file === REGISTRY) return [];
  const code = text.replace(COMMENT, '');
  return entries
    .filter(({ subject }) => {
      const fixed = subject.replace(/\*.*$/, '');
      // "scores." alone is too short a beginning to tell a subject from another word.
      return fixed.split('.').length > 2 && new RegExp(`['"\`]${fixed.replaceAll('.', '\\.')}`).test(code);
    })
    .map(({ name, subject }) => `${file}: spells out "${subject}": use SUBJECTS.${name}`);
}

function usurped(file, text, entries) {
  const service = /^services\/([^/]+)\//.exec(file)?.[1];
  if (service === undefined) return [];
  return [...text.matchAll(OWNING_USE)]
    .map(([, used]) => entries.find(({ name }) => name === used))
    .filter((entry) => entry !== undefined && entry.owner !== service)
    .map(({ name, owner }) => `${file}: ${name} belongs to the ${owner}`);
}

function answeredTwice(sources, entries) {
  return entries.flatMap(({ name }) => {
    const answers = Object.entries(sources).filter(([, text]) => text.includes(`MessagePattern(SUBJECTS.${name}.`));
    return answers.slice(1).map(([file]) => `${file}: ${name} is already answered in ${answers[0][0]}`);
  });
}

if (isEntryPoint(import.meta.url)) {
  const checked = listFiles().filter((file) => CHECKED.test(file));
  report(subjectProblems(readText(REGISTRY), Object.fromEntries(checked.map((file) => [file, readText(file)]))));
}
