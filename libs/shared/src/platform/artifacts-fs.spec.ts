import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArtifactCorruptError } from './artifacts';
import { FileArtifactStore } from './artifacts-fs';

const options = { contentType: 'image/png', maxBytes: 1_000_000 };
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('FileArtifactStore', () => {
  let root: string;
  let store: FileArtifactStore;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'artifacts-'));
    store = new FileArtifactStore(root);
  });
  afterEach(() => rm(root, { recursive: true }));

  const pathOf = (sha256: string) => join(root, sha256.slice(0, 2), sha256.slice(2, 4), sha256);

  it('stores the same bytes once, also when they come at the same time', async () => {
    const bytes = randomBytes(1000);
    const refs = await Promise.all(Array.from({ length: 8 }, () => store.put(bytes, options)));
    expect(new Set(refs.map(({ sha256 }) => sha256)).size).toBe(1);
    expect(await readdir(join(root, 'incoming'))).toEqual([]);
  });

  it('refuses one byte too many and leaves nothing behind', async () => {
    const endless = async function* () {
      for (;;) yield Buffer.alloc(1000);
    };
    await expect(store.put(endless(), { ...options, maxBytes: 10_500 })).rejects.toMatchObject({
      code: 'BODY_TOO_LARGE',
    });
    expect((await store.put(Buffer.alloc(10_500), { ...options, maxBytes: 10_500 })).bytes).toBe(10_500);
    expect(await readdir(join(root, 'incoming'))).toEqual([]);
  });

  it('leaves nothing behind when the source breaks off', async () => {
    const broken = async function* () {
      yield Buffer.from('half');
      throw new Error('socket closed');
    };
    await expect(store.put(broken(), options)).rejects.toThrow('socket closed');
    expect(await readdir(join(root, 'incoming'))).toEqual([]);
    expect(await store.has(hashOf(Buffer.from('half')))).toBe(false);
  });

  it('notices bytes that changed on the disk', async () => {
    const { sha256 } = await store.put(randomBytes(100), options);
    await truncate(pathOf(sha256), 50);
    await expect(store.read(sha256)).rejects.toThrow(ArtifactCorruptError);
    expect((await store.read(sha256, { verify: false }))?.length).toBe(50);
  });

  it('knows nothing of an artifact that is not here', async () => {
    const absent = 'ab'.repeat(32);
    expect(await store.has(absent)).toBe(false);
    expect(await store.read(absent)).toBeNull();
    expect(await store.stream(absent)).toBeNull();
  });

  it.each(['../secret', '/etc/passwd', '', 'incoming', 'AB'.repeat(32), `${'ab'.repeat(31)}/.`, 'ab'.repeat(33)])(
    'never makes a file name of %p',
    async (name) => {
      expect(await store.has(name)).toBe(false);
      expect(await store.read(name, { verify: false })).toBeNull();
      expect(await store.stream(name)).toBeNull();
    },
  );
});
