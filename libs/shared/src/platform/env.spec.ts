import {
  ChoiceVar,
  DurationVar,
  EnvError,
  FlagVar,
  IntegerVar,
  NotInProduction,
  OptionalVar,
  PortVar,
  ProcessEnv,
  SecretVar,
  TextVar,
  UrlVar,
  loadEnv,
  variablesOf,
} from './env';

class SampleEnv extends ProcessEnv {
  @PortVar() PORT = 3000;
  @UrlVar(['postgres', 'postgresql']) DATABASE_URL!: string;
  @SecretVar() LINK_SECRET!: string;
  @DurationVar() LEASE = 15_000;
  @FlagVar() @NotInProduction() ALLOW_PRIVATE_EGRESS = false;
  @IntegerVar({ min: 1, max: 64, example: 4 }) SLOTS = 4;
  @ChoiceVar(['api', 'worker']) ROLE = 'api';
  @OptionalVar() @TextVar() NOTE?: string;
}

const valid = { DATABASE_URL: 'postgres://querier:pw@db/studio', LINK_SECRET: 'ab'.repeat(32) };

/** The lines about single variables. */
function problems(source: Record<string, string>): readonly string[] {
  try {
    loadEnv(SampleEnv, source);
  } catch (error) {
    if (error instanceof EnvError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadEnv', () => {
  it('fills in defaults and ignores variables nobody declared', () => {
    const env = loadEnv(SampleEnv, { ...valid, HOME: '/root' });
    expect({ ...env }).toEqual({
      ...valid,
      NODE_ENV: 'development',
      LOG_LEVEL: 'info',
      PORT: 3000,
      LEASE: 15_000,
      ALLOW_PRIVATE_EGRESS: false,
      SLOTS: 4,
      ROLE: 'api',
      NOTE: undefined,
    });
  });

  it('gives numbers, milliseconds and booleans their types', () => {
    const env = loadEnv(SampleEnv, { ...valid, PORT: '0', LEASE: '2m', ALLOW_PRIVATE_EGRESS: 'true', SLOTS: ' 8 ' });
    expect(env).toMatchObject({ PORT: 0, LEASE: 120_000, ALLOW_PRIVATE_EGRESS: true, SLOTS: 8 });
  });

  it('takes an empty variable for an unset one', () => {
    expect(loadEnv(SampleEnv, { ...valid, PORT: '' }).PORT).toBe(3000);
    expect(problems({ ...valid, DATABASE_URL: '' })).toEqual([expect.stringContaining('DATABASE_URL is not set')]);
  });

  it('lists every wrong variable at once, with what it is, what is expected and an example', () => {
    expect(() => loadEnv(SampleEnv, { LINK_SECRET: valid.LINK_SECRET, PORT: '70000', ROLE: 'both' })).toThrow(
      new EnvError([
        'PORT is "70000": expected a TCP port from 0 (any free one) to 65535, for example 3000',
        'DATABASE_URL is not set: expected a URL starting with postgres:// or postgresql://, for example postgres://127.0.0.1:4000',
        'ROLE is "both": expected one of api, worker, for example api',
      ]),
    );
  });

  it('never shows a secret, not even a wrong one or one inside a URL', () => {
    const [url, secret] = problems({ DATABASE_URL: 'mysql://root:hunter2@db', LINK_SECRET: 'hunter2' });
    expect(url).toMatch(/^DATABASE_URL is "mysql:\/\/root:\[redacted\]@db"/);
    expect(secret).toMatch(/^LINK_SECRET is \[redacted\] \(7 characters\)/);
  });

  it.each([
    ['PORT', '3e3'],
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['LEASE', '15'],
    ['LEASE', '15 s'],
    ['LEASE', '48h'],
    ['ALLOW_PRIVATE_EGRESS', '1'],
    ['ALLOW_PRIVATE_EGRESS', 'TRUE'],
    ['SLOTS', '65'],
    ['LOG_LEVEL', 'loud'],
    ['LINK_SECRET', 'zz'.repeat(32)],
  ])('refuses %s=%s', (name, value) => {
    expect(problems({ ...valid, [name]: value })).toEqual([expect.stringContaining(`${name} is `)]);
  });

  it('refuses in production what takes a protection away', () => {
    const source = { ...valid, ALLOW_PRIVATE_EGRESS: 'true' };
    expect(problems(source)).toEqual([]);
    expect(problems({ ...source, NODE_ENV: 'production' })).toEqual([
      'ALLOW_PRIVATE_EGRESS is "true": expected false when NODE_ENV=production',
    ]);
  });
});

class FileEnv extends ProcessEnv {
  @SecretVar() LINK_SECRET!: string;
  @OptionalVar() @TextVar() MAP?: string;
  /** A file that the program reads by itself. */
  @OptionalVar() @TextVar() MAP_FILE?: string;
}

describe('a variable given as a file', () => {
  const secret = 'ab'.repeat(32);
  const files: Record<string, string> = { '/run/secret': `${secret}\n`, '/run/empty': '\n' };
  const read = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error('ENOENT');
    return text;
  };
  const load = (source: Record<string, string>): FileEnv => loadEnv(FileEnv, source, read);

  it('has the content of the file, without the end of its line', () => {
    expect(load({ LINK_SECRET_FILE: '/run/secret' }).LINK_SECRET).toBe(secret);
  });

  it('is judged by its content, which is not shown', () => {
    files['/run/short'] = 'hunter2';
    expect(() => load({ LINK_SECRET_FILE: '/run/short' })).toThrow(
      /LINK_SECRET is \[redacted\] \(7 characters\): expected/,
    );
  });

  it('is refused beside the variable itself', () => {
    expect(() => load({ LINK_SECRET: secret, LINK_SECRET_FILE: '/run/secret' })).toThrow(
      'LINK_SECRET and LINK_SECRET_FILE are both set: unset one of them',
    );
  });

  it.each([
    ['/run/gone', 'LINK_SECRET_FILE is "/run/gone", which cannot be read: expected a file that holds LINK_SECRET'],
    ['/run/empty', 'LINK_SECRET_FILE is "/run/empty", which is empty: expected a file that holds LINK_SECRET'],
  ])('says what is wrong with %s', (path, message) => {
    expect(() => load({ LINK_SECRET_FILE: path })).toThrow(message);
  });

  it('is left to the program where it declares the name of the file itself', () => {
    const env = load({ LINK_SECRET: secret, MAP_FILE: '/etc/map.json' });
    expect(env).toMatchObject({ MAP: undefined, MAP_FILE: '/etc/map.json' });
  });

  it('is read from the disk', () => {
    expect(loadEnv(SampleEnv, { ...valid, NOTE_FILE: __filename }).NOTE).toContain('is read from the disk');
  });
});

describe('variablesOf', () => {
  it('names what a class reads, what it inherits included', () => {
    const names = ['NODE_ENV', 'LOG_LEVEL', 'LINK_SECRET', 'MAP', 'MAP_FILE'];
    expect([...variablesOf(FileEnv)].sort()).toEqual(names.sort());
  });
});
