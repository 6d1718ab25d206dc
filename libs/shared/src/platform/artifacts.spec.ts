/** What every driver promises, on both. */
import { once } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { startS3, type TestS3 } from '../testing/s3';
import { ArtifactCorruptError, type ArtifactStore } from './artifacts';
import { FileArtifactStore } from './artifacts-fs';
import { S3ArtifactStore } from './artifacts-s3';

const MiB = 1024 * 1024;
const options = { contentType: 'image/png', maxBytes: 64 * MiB };
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const absent = 'ab'.repeat(32);

interface Ground {
  store: ArtifactStore;
  /** Writes other bytes under a name, as a disk or a person may. */
  spoil(sha256: string, bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

async function onDisk(): Promise<Ground> {
  const root = await mkdtemp(join(tmpdir(), 'artifacts-'));
  const spoil = (sha256: string, bytes: Buffer) =>
    writeFile(join(root, sha256.slice(0, 2), sha256.slice(2, 4), sha256), bytes);
  return { store: new FileArtifactStore(root), spoil, close: () => rm(root, { recursive: true }) };
}

async function inABucket(): Promise<Ground> {
  const s3 = await startS3();
  const spoil = (sha256: string, bytes: Buffer) =>
    writeFile(join(s3.directory, s3.options.bucket, `${sha256}._S3rver_object`), bytes);
  return { store: new S3ArtifactStore(s3.options), spoil, close: () => s3.close() };
}

async function all(names: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const name of names) found.push(name);
  return found.sort();
}

describe.each([
  ['files in a directory', onDisk],
  ['objects in a bucket', inABucket],
])('artifacts as %s', (_, open) => {
  let ground: Ground;
  let store: ArtifactStore;
  beforeAll(async () => {
    ground = await open();
    store = ground.store;
  });
  afterAll(() => ground.close());

  it('come back under their hash, whole and as a stream', async () => {
    const bytes = randomBytes(300_000);
    const ref = await store.put(bytes, options);
    expect(ref).toEqual({ sha256: hashOf(bytes), bytes: 300_000, contentType: 'image/png' });
    expect(await store.has(ref.sha256)).toBe(true);
    expect(await store.read(ref.sha256)).toEqual(bytes);
    const opened = await store.stream(ref.sha256);
    expect(opened?.bytes).toBe(300_000);
    expect(opened && (await buffer(opened.body))).toEqual(bytes);
  });

  it('may come as a stream, and may have no bytes', async () => {
    const chunks = [randomBytes(10), randomBytes(70_000), Buffer.alloc(0)];
    const { sha256 } = await store.put(Readable.from(chunks), options);
    expect(await store.read(sha256)).toEqual(Buffer.concat(chunks));
    expect((await store.put(Buffer.alloc(0), options)).bytes).toBe(0);
  });

  it('are the same when they are put again, also at the same time', async () => {
    const bytes = randomBytes(1_000);
    const refs = await Promise.all(Array.from({ length: 8 }, () => store.put(bytes, options)));
    expect(new Set(refs.map(({ sha256 }) => sha256))).toEqual(new Set([hashOf(bytes)]));
    expect(await store.read(hashOf(bytes))).toEqual(bytes);
  });

  it('are refused whole with one byte too many', async () => {
    const bytes = randomBytes(10_001);
    const tooMany = { ...options, maxBytes: 10_000 };
    await expect(store.put(bytes, tooMany)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
    await expect(store.put(Readable.from([bytes]), tooMany)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
    expect(await store.has(hashOf(bytes))).toBe(false);
  });

  it('leave nothing behind when their source breaks off', async () => {
    const half = randomBytes(100_000);
    const broken = async function* () {
      yield half;
      throw new Error('socket closed');
    };
    const before = await all(store.list(''));
    await expect(store.put(broken(), options)).rejects.toThrow('socket closed');
    expect(await all(store.list(''))).toEqual(before);
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('artifact-'))).toEqual([]);
  });

  it('can be left in the middle of a read, more often than there are connections', async () => {
    const { sha256 } = await store.put(randomBytes(4 * MiB), options);
    for (let reader = 0; reader < 60; reader++) {
      const opened = await store.stream(sha256);
      await once(opened!.body, 'readable');
      opened!.body.destroy();
    }
    expect((await store.read(sha256))?.byteLength).toBe(4 * MiB);
  });

  it('are known to be spoiled when they no longer have their hash', async () => {
    const { sha256 } = await store.put(randomBytes(100), options);
    await ground.spoil(sha256, Buffer.from('something else'));
    await expect(store.read(sha256)).rejects.toThrow(ArtifactCorruptError);
    expect(await store.read(sha256, { verify: false })).toEqual(Buffer.from('something else'));
  });

  it.each([absent, '../secret', '', 'incoming', 'AB'.repeat(32), `${absent}0`])('know no %p', async (name) => {
    expect(await store.has(name)).toBe(false);
    expect(await store.read(name)).toBeNull();
    expect(await store.stream(name)).toBeNull();
    expect(await store.remove(name, new Date(Date.now() + 60_000))).toBe(false);
  });

  it('are listed by how their names begin', async () => {
    const refs = await Promise.all(Array.from({ length: 20 }, () => store.put(randomBytes(20), options)));
    const listed = await all(store.list(''));
    expect(listed).toEqual(expect.arrayContaining(refs.map(({ sha256 }) => sha256)));
    const prefix = refs[0]!.sha256.slice(0, 2);
    expect(await all(store.list(prefix))).toEqual(listed.filter((name) => name.startsWith(prefix)));
  });

  it('are removed when they were put before a moment, and stay when later', async () => {
    const bytes = randomBytes(50);
    const { sha256 } = await store.put(bytes, options);
    expect(await store.remove(sha256, new Date(Date.now() - 60_000))).toBe(false);
    expect(await store.has(sha256)).toBe(true);
    expect(await store.remove(sha256, new Date(Date.now() + 60_000))).toBe(true);
    expect(await store.has(sha256)).toBe(false);
    await store.put(bytes, options);
    expect(await store.read(sha256)).toEqual(bytes);
  });

  it('of 64 MiB pass through without being held in memory', async () => {
    const chunk = randomBytes(64 * 1024);
    let peak = 0;
    const held = () => process.memoryUsage().arrayBuffers;
    const before = held();
    const watch = () => (peak = Math.max(peak, held() - before));
    const source = async function* () {
      for (let sent = 0; sent < 64 * MiB; sent += chunk.byteLength) {
        watch();
        yield chunk;
      }
    };
    const { sha256, bytes } = await store.put(source(), options);
    expect(bytes).toBe(64 * MiB);
    const opened = await store.stream(sha256);
    let read = 0;
    for await (const part of opened!.body) {
      read += (part as Buffer).byteLength;
      watch();
    }
    expect(read).toBe(64 * MiB);
    // Some 30 MiB on a quiet machine: buffers that were read wait for the collector.
    expect(peak).toBeLessThan(48 * MiB);
  });
});

describe('a bucket', () => {
  let s3: TestS3;
  let store: S3ArtifactStore;
  beforeAll(async () => {
    s3 = await startS3();
    store = new S3ArtifactStore({ ...s3.options, publicEndpoint: s3.options.endpoint });
  });
  afterAll(() => s3.close());
  const problem = (changed: object): Promise<string> =>
    new S3ArtifactStore({ ...s3.options, ...changed }).check().then(
      () => 'none',
      (error: Error) => error.message,
    );

  it('gives a link that anybody can follow, for so long and to this file alone', async () => {
    const bytes = randomBytes(1_000);
    const { sha256 } = await store.put(bytes, options);
    const { sha256: other } = await store.put(randomBytes(10), options);
    const link = await store.link(sha256, {
      contentType: 'application/octet-stream',
      disposition: 'attachment; filename="a.safetensors"',
      seconds: 1,
    });
    const answer = await fetch(link!);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes);
    expect(answer.headers.get('content-type')).toBe('application/octet-stream');
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="a.safetensors"');
    expect((await fetch(link!.replace(sha256, other))).status).toBe(403);
    expect(link).toContain('X-Amz-Expires=1&');
  });

  it('gives no link where nobody outside reaches it', async () => {
    const inside = new S3ArtifactStore(s3.options);
    expect(await inside.link(absent, { contentType: 'x', seconds: 1 })).toBeNull();
  });

  it('takes no bytes but those of the name', async () => {
    const bytes = randomBytes(100);
    // What an interface card or a proxy on the way may do.
    const changing = new S3ArtifactStore(s3.options);
    type Stack = { middlewareStack: { add(step: unknown, where: object): void } };
    const { client } = changing as unknown as { client: Stack };
    const change = (next: (args: unknown) => unknown) => (args: { request: { method: string; body: unknown } }) => {
      if (args.request.method === 'PUT') args.request.body = Buffer.alloc(100);
      return next(args);
    };
    client.middlewareStack.add(change, { step: 'finalizeRequest', priority: 'low' });
    await expect(changing.put(bytes, options)).rejects.toMatchObject({ code: 'DEPENDENCY_DOWN' });
    expect(await store.has(hashOf(bytes))).toBe(false);
  });

  it('that is missing, or refuses the key, says which variable to correct', async () => {
    expect(await problem({})).toBe('none');
    expect(await problem({ bucket: 'another' })).toMatch(/^S3_BUCKET: there is no bucket "another" at http.*create it/);
    expect(await problem({ secretAccessKey: 'wrong' })).toMatch(
      /^S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY are refused/,
    );
    expect(await problem({ endpoint: 'http://127.0.0.1:1' })).toMatch(
      /^S3_ENDPOINT: .* does not answer \(.*ECONNREFUSED/,
    );
  });

  it('can be used again when it comes back, and is a 503 until then', async () => {
    const { sha256 } = await store.put(Buffer.from('before'), options);
    await s3.kill();
    await expect(store.read(sha256)).rejects.toMatchObject({ code: 'DEPENDENCY_DOWN', status: 503 });
    await expect(store.put(Buffer.from('away'), options)).rejects.toMatchObject({ code: 'DEPENDENCY_DOWN' });
    await expect(store.check()).rejects.toThrow('S3_ENDPOINT');
    await s3.start();
    await store.check();
    expect(await store.read(sha256)).toEqual(Buffer.from('before'));
    expect(await store.has((await store.put(Buffer.from('away'), options)).sha256)).toBe(true);
  });
});
