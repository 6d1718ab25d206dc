/**
 * Reads a program and its arguments: a JSON array of strings, or words with spaces between them, where single or double
 * quotes keep spaces. Nothing else is special (no variables, no wildcards, no backslash): there is no shell, so that
 * nothing of a job can ever be read as a command.
 *
 * @returns the words, at least one; undefined where it is neither.
 */
export function readCommandLine(text: string): string[] | undefined {
  const words = text.trimStart().startsWith('[') ? fromJson(text) : fromWords(text);
  return words && words[0] ? words : undefined;
}

function fromJson(text: string): string[] | undefined {
  try {
    const words: unknown = JSON.parse(text);
    return Array.isArray(words) && words.every((word) => typeof word === 'string') ? words : undefined;
  } catch {
    return undefined;
  }
}

/** A word is a run of quoted and unquoted pieces: --name="two words" is one. */
const WORD = /(?:"[^"]*"|'[^']*'|[^\s"'])+/g;
const PIECE = /"([^"]*)"|'([^']*)'|([^\s"']+)/g;

function fromWords(text: string): string[] | undefined {
  // What is left beside the words may only be space: anything else is a quote that was not closed.
  if (text.replace(WORD, '').trim() !== '') return undefined;
  return [...text.matchAll(WORD)].map(([word]) =>
    word.replace(PIECE, (_, double, single, bare) => pick(double, single, bare)),
  );
}

function pick(...pieces: unknown[]): string {
  return pieces.find((piece) => typeof piece === 'string') ?? '';
}
