import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Options } from '../platform/artifacts-s3';

/** The one account that s3rver knows. */
const ACCOUNT = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };

export interface TestS3 {
  options: S3Options;
  directory: string;
  /** As when its machine is away. */
  kill(): Promise<void>;
  /** At the same address again, with what it had. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** An S3 server with one empty bucket, for one test file. */
export async function startS3(bucket = 'artifacts'): Promise<TestS3> {
  const directory = await mkdtemp(join(tmpdir(), 's3-'));
  let child: ChildProcess | undefined;
  let port = 0;
  const start = async (): Promise<void> => {
    const script = join(__dirname, 's3-server.cjs');
    child = spawn(process.execPath, [script, directory, bucket, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = (await once(child.stdout!, 'data')) as [Buffer];
    port = Number(line.toString());
  };
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  await start();
  return {
    options: { endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', bucket, ...ACCOUNT, forcePathStyle: true },
    directory,
    kill,
    start,
    close: async () => {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
