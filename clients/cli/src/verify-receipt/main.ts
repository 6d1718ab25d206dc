/** `npm run verify:receipt`: whether a job's receipt is genuine, from the file alone. See `--help`. */
import 'reflect-metadata';
import { verifyReceiptCommand } from './command';

const to = (stream: NodeJS.WriteStream) => (text: string) => void stream.write(`${text}\n`);

void verifyReceiptCommand(process.argv.slice(2), { print: to(process.stdout), tell: to(process.stderr) }).then(
  (status) => (process.exitCode = status),
);
