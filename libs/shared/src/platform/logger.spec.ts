import { createLogger, frameworkLogger, type Logger } from './logger';
import { isSecretName } from './redact';

function capture(format: 'json' | 'line'): { log: Logger; text: () => string; last: () => Record<string, unknown> } {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const log = createLogger({ name: 'querier', level: 'trace', format, destination });
  return { log, text: () => lines.join(''), last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

describe('a log line', () => {
  it('keeps what is needed to find a job', () => {
    const { log, last } = capture('json');
    log.info({ jobId: 'j1', hotkey: '5Grw', monkey: 1, points: 10n }, 'submitted');
    expect(last()).toMatchObject({
      level: 'info',
      name: 'querier',
      msg: 'submitted',
      jobId: 'j1',
      hotkey: '5Grw',
      monkey: 1,
      points: '10',
    });
  });

  it.each([
    ['an API key', { apiKey: 'LEAK' }],
    ['a header', { headers: { authorization: 'LEAK', 'X-Callback-Secret': 'LEAK' } }],
    ['a signature', { request: { 'x-studio-signature': 'LEAK', sig: 'LEAK' } }],
    ['a prompt', { job: { input: { prompt: 'LEAK' } } }],
    ['a secret in a list', { list: [{ webhook: { signing_secret: 'LEAK' } }] }],
    ['a structured secret', { secret: { inner: ['LEAK'] } }],
    ['an error detail', { err: Object.assign(new Error('no'), { password: 'LEAK', parameters: ['LEAK'] }) }],
    ['a cause', { err: new Error('no', { cause: Object.assign(new Error('why'), { token: 'LEAK' }) }) }],
    ['bytes', { body: Buffer.from('LEAK') }],
    ['a URL password', { url: 'postgres://querier:LEAK@db/studio' }],
    ['a signed link', { link: 'http://x/v1/artifacts/ab?expires=1&sig=LEAK' }],
    ['a bearer token in text', { note: 'sent Bearer LEAKLEAKLEAKLEAK' }],
  ])('never carries %s in clear', (_, fields) => {
    for (const format of ['json', 'line'] as const) {
      const { log, text } = capture(format);
      log.info(fields, 'text');
      expect(text()).not.toContain('LEAK');
      expect(text()).toContain('text');
    }
  });

  it('is clean in child bindings and in the message too', () => {
    const { log, text } = capture('json');
    log
      .child({ adminKey: 'LEAK' })
      .child({ clientKey: 'LEAK' })
      .warn(`signed 0x${'ab'.repeat(64)} by Key LEAKLEAKLEAKLEAK`);
    expect(text()).not.toMatch(/LEAK|abab/);
    expect(text()).toContain('signed [redacted] by Key [redacted]');
  });

  it('survives an object that contains itself', () => {
    const loop: Record<string, unknown> = { name: 'loop' };
    loop.self = loop;
    const { log, text } = capture('json');
    log.info({ loop }, 'still here');
    expect(text()).toContain('still here');
  });

  it('is one readable line for people, with the stack below', () => {
    const { log, text } = capture('line');
    log.warn({ jobId: 'j1', attempts: [1] }, 'retry');
    expect(text()).toMatch(/^\d\d:\d\d:\d\d\.\d{3} WARN {2}querier {2}retry {2}jobId=j1 {2}attempts=\[1\]\n$/);
    log.error(new Error('boom'));
    expect(text()).toMatch(/ERROR querier {2}boom\n {4}Error: boom\n {8}at /);
  });
});

describe('isSecretName', () => {
  it.each([
    'API_KEY',
    'x-api-key',
    'callbackSecret',
    'Authorization',
    'prompt',
    'key',
    'DB_PASSWORD',
    'x-studio-signature',
  ])('hides %s', (name) => expect(isSecretName(name)).toBe(true));
  it.each(['hotkey', 'kind', 'monkey', 'signal', 'design', 'idempotent', 'seed', 'keys_seen'])('shows %s', (name) =>
    expect(isSecretName(name)).toBe(false),
  );
});

describe('frameworkLogger', () => {
  it('maps the levels and takes the last argument as the context', () => {
    const { log, last } = capture('json');
    const nest = frameworkLogger(log);
    nest.log('started', 'NestFactory');
    expect(last()).toMatchObject({ level: 'info', msg: 'started', context: 'NestFactory' });
    nest.error('failed', 'Error: x\n  at y', 'Handler');
    expect(last()).toMatchObject({ level: 'error', msg: 'failed', context: 'Handler', detail: 'Error: x\n  at y' });
    nest.verbose({ token: 'LEAK' }, 'Any');
    expect(last()).toMatchObject({ level: 'trace', msg: '{"token":"[redacted]"}' });
  });
});
