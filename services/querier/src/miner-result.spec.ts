import fc from 'fast-check';
import { readMinerResult, ResultRefused, type ExpectedFiles } from './miner-result';

const BOUNDARY = 'edge';
const TYPE = `multipart/form-data; boundary=${BOUNDARY}`;
const EXPECTED: ExpectedFiles = { names: ['image_0'], maxBytesEach: 100_000 };
const MANIFEST = {
  job_id: '0198f2a0-0000-7000-8000-000000000001',
  attempt: 1,
  status: 'completed',
  files: ['image_0'],
};

function part(name: string, bytes: Buffer, type: string): Buffer {
  const head = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"; filename="${name}"\r\ncontent-type: ${type}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), bytes, Buffer.from('\r\n')]);
}

const manifest = part('manifest', Buffer.from(JSON.stringify(MANIFEST)), 'application/json');
const closing = Buffer.from(`--${BOUNDARY}--\r\n`);

/** The bytes as a network would bring them: in pieces of any length. */
async function* pieces(bytes: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

describe('readMinerResult', () => {
  const image = Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 7) % 256));
  const form = Buffer.concat([manifest, part('image_0', image, 'image/png'), closing]);

  it.each([form.length, 16_384, 997, 64])('reads the same from pieces of %i bytes', async (length) => {
    const result = await readMinerResult(pieces(form, length), TYPE, EXPECTED);
    expect(result.manifest).toMatchObject(MANIFEST);
    expect(result.files.get('image_0')?.equals(image)).toBe(true);
  });

  it.each(['Multipart/Form-Data; boundary=edge', 'multipart/form-data;charset=utf-8; boundary="edge"'])(
    'reads a form that calls itself %s',
    async (type) => {
      await expect(readMinerResult(pieces(form, 4_096), type, EXPECTED)).resolves.toMatchObject({ manifest: MANIFEST });
    },
  );

  it.each([
    ['ends in the middle of a part', form.subarray(0, form.length - 20_000)],
    ['ends before its first part', Buffer.from('nothing of the kind')],
    ['is empty', Buffer.alloc(0)],
    ['lacks the file', Buffer.concat([manifest, closing])],
    ['has a part that nobody asked for', Buffer.concat([manifest, part('other', image, 'image/png'), closing])],
    [
      'has a file that is too large',
      Buffer.concat([manifest, part('image_0', Buffer.alloc(200_000, 1), 'image/png'), closing]),
    ],
  ])('refuses a body that %s', async (_what, bytes) => {
    await expect(readMinerResult(pieces(bytes, 4_096), TYPE, EXPECTED)).rejects.toThrow(ResultRefused);
  });

  it('decides the same however a network cuts the bytes, sound or not', async () => {
    // An empty file is as good as a broken body: the checks refuse it. By the cut the parser says the one or the other of a body whose
    // last boundary runs into the file's own text.
    const nothing = /^files of 0 bytes$|^the multipart body is malformed/;
    const outcome = async (bytes: Buffer, length: number): Promise<string> => {
      const said = await saidOf(bytes, length);
      return nothing.test(said) ? 'nothing' : said;
    };
    const saidOf = (bytes: Buffer, length: number): Promise<string> =>
      readMinerResult(pieces(bytes, length), TYPE, EXPECTED).then(
        ({ files }) => `files of ${[...files.values()].map((file) => file.length).join()} bytes`,
        (error: unknown) => (error instanceof ResultRefused ? error.message : 'another error'),
      );
    const small = Buffer.concat([
      manifest,
      part('image_0', Buffer.from('\r\n--edge\r\r\n--edg'), 'image/png'),
      closing,
    ]);
    const junk = fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc.constantFrom('\r\n', '--edge', '--edge--', '\r\n--edge', ': ;="').map((text) => Buffer.from(text)),
    );
    const cut = fc.tuple(fc.nat(small.length), fc.nat(20), junk);
    await fc.assert(
      fc.asyncProperty(cut, fc.integer({ min: 1, max: 90 }), async ([at, without, what], length) => {
        const bytes = Buffer.concat([small.subarray(0, at), what, small.subarray(at + without)]);
        const whole = await outcome(bytes, bytes.length + 1);
        expect(whole).not.toBe('another error');
        expect(await outcome(bytes, length)).toBe(whole);
      }),
      { numRuns: 2_000 },
    );
  });

  it('throws a break of the connection as it is: the result is not to blame', async () => {
    const broken = new Error('the connection broke');
    async function* breaking(): AsyncGenerator<Buffer> {
      yield form.subarray(0, 1_000);
      throw broken;
    }
    await expect(readMinerResult(breaking(), TYPE, EXPECTED)).rejects.toBe(broken);
  });
});
