/** `npm run verify:scores`: whether an export's scores are what they had to be. See `--help`. */
import 'reflect-metadata';
import { verifyScoresCommand } from './command';

const to = (stream: NodeJS.WriteStream) => (text: string) => void stream.write(`${text}\n`);

void verifyScoresCommand(process.argv.slice(2), { print: to(process.stdout), tell: to(process.stderr) }).then(
  (status) => (process.exitCode = status),
);
