/** `npm run verify:draws`: whether an epoch's draws are what they had to be. See `--help`. */
import 'reflect-metadata';
import { verifyDrawsCommand } from './command';

const to = (stream: NodeJS.WriteStream) => (text: string) => void stream.write(`${text}\n`);

void verifyDrawsCommand(process.argv.slice(2), { print: to(process.stdout), tell: to(process.stderr) }).then(
  (status) => (process.exitCode = status),
);
