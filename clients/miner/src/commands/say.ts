/** Results to stdout, where a script reads them; remarks to stderr. */
export const say = (text: string): void => void process.stdout.write(`${text}\n`);
export const tell = (text: string): void => void process.stderr.write(`${text}\n`);
