import fc from 'fast-check';
import type { EgressReply } from './egress';
import { readJson } from './egress-json';

/** A reply as it comes from the network: in pieces of any length. */
function reply(text: string | Buffer, piece = 7): EgressReply {
  const bytes = Buffer.from(text as string);
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
  }
  return {
    status: 200,
    headers: {},
    body: pieces(),
    discard: () => undefined,
    freshConnection: true,
    remoteAddress: '',
  };
}

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

describe('readJson', () => {
  it('reads what JSON.parse reads, whatever the pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.json({ maxDepth: 5 }), fc.integer({ min: 1, max: 50 }), async (text, piece) => {
        expect(await readJson(reply(text, piece))).toEqual(JSON.parse(text));
      }),
    );
  });

  it('reads 32 levels and refuses one more', async () => {
    expect(JSON.stringify(await readJson(reply(nested(32))))).toBe(nested(32));
    await expect(readJson(reply(nested(33)))).rejects.toMatchObject({ code: 'bad-reply', blame: 'miner' });
    await expect(readJson(reply('{"a":'.repeat(100_000), 4_096), { maxBytes: 1e6 })).rejects.toMatchObject({
      code: 'bad-reply',
    });
  });

  it('does not count brackets inside strings', async () => {
    const text = JSON.stringify({ 'a"[[': `${'['.repeat(100)}\\"${'{'.repeat(100)}\\` });
    expect(await readJson(reply(text))).toEqual(JSON.parse(text));
  });

  it('refuses more than 256 KiB and reads exactly so much', async () => {
    const text = JSON.stringify('x'.repeat(256 * 1024 - 2));
    expect(await readJson(reply(text, 4_096))).toHaveLength(256 * 1024 - 2);
    await expect(readJson(reply(`${text} `, 4_096))).rejects.toMatchObject({ code: 'too-large', blame: 'miner' });
  });

  it.each<[string | Buffer]>([[''], ['{'], ['nope'], [Buffer.from([0x22, 0xff, 0x22])]])(
    'calls %p a bad reply',
    async (text) => {
      await expect(readJson(reply(text))).rejects.toMatchObject({ code: 'bad-reply', blame: 'miner' });
    },
  );
});
