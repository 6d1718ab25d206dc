/** What a miner's author copies from the document has to be right. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readAnySignedRequest } from './epistula';
import { hotkeyFromSeed } from './hotkey';
import { checkClaimNow } from './signatures';

const DOCUMENT = readFileSync(join(__dirname, '../../../../docs/protocol-signatures.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...DOCUMENT.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)\n\`\`\`$`, 'gm'))].map(([, block]) => block!);

function parse(example: string) {
  const [head, body] = example.split('\n\n') as [string, string];
  const [first, ...lines] = head.split('\n') as [string, ...string[]];
  const [method, path] = first.split(' ') as [string, string];
  const headers = Object.fromEntries(lines.map((line) => line.split(': ') as [string, string]));
  return { method, path, headers, body };
}

describe('the documented examples', () => {
  const signer = hotkeyFromSeed('02'.repeat(32)).address;
  const recipient = hotkeyFromSeed('01'.repeat(32)).address;
  const verdicts = blocks('http').map((example) =>
    checkClaimNow(readAnySignedRequest({ ...parse(example), recipient, nowMs: 1_760_000_000_000 })),
  );

  it('verify, one in each form, as signed by whom the document says', () => {
    expect(verdicts).toMatchObject([
      { ok: true, form: 'native', hotkey: signer },
      { ok: true, form: 'epistula-2', hotkey: signer },
      { ok: true, form: 'epistula-dippy', hotkey: signer },
    ]);
  });

  it('sign the texts that are written below them', () => {
    const [native, epistula] = blocks('text');
    expect(verdicts.map((verdict) => verdict.ok && verdict.message)).toEqual([native, epistula, epistula]);
  });
});
