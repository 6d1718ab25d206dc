import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  atLeast,
  binariesOnPath,
  compareVersions,
  inspect,
  resolveBinary,
  type BinaryFinder,
  type ServerBinary,
} from './server-binary';
import { missingServer } from './server-error';

const binary = (path: string, version = '2.10.0'): ServerBinary => ({ path, version, source: 'path', env: {} });
const finding =
  (...binaries: ServerBinary[]): BinaryFinder =>
  async () => ({ binaries });
const refusing =
  (refused: string): BinaryFinder =>
  async () => ({ binaries: [], refused });

describe('resolveBinary', () => {
  it('takes the first finder that has one, and does not ask the next', async () => {
    const download = jest.fn(finding(binary('/cache/nats-server')));
    await expect(resolveBinary('nats', [finding(binary('/usr/sbin/nats-server')), download])).resolves.toMatchObject({
      path: '/usr/sbin/nats-server',
    });
    expect(download).not.toHaveBeenCalled();
  });

  it('asks the next finder when the first has none', async () => {
    const found = await resolveBinary('nats', [refusing('no nats-server on PATH'), finding(binary('/cache/nats'))]);
    expect(found.path).toBe('/cache/nats');
  });

  it('passes over a binary that is too old', async () => {
    const finders = [finding(binary('/old', '2.8.4'), binary('/new', '2.9.10'))];
    await expect(resolveBinary('nats', finders, atLeast('2.9'))).resolves.toMatchObject({ path: '/new' });
  });

  it('names what was tried, why it was refused, the command that installs and the variable', async () => {
    const finders = [finding(binary('/old', '2.8.4')), refusing('apt-get download nats-server: no apt')];
    const failure = resolveBinary('nats', finders, atLeast('2.9'));
    await expect(failure).rejects.toMatchObject({ code: 'missing' });
    await expect(failure).rejects.toThrow(/\/old \(2\.8\.4\): 2\.9 or newer is needed\n.*no apt\n.*STUDIO_NATS_URL/s);
  });
});

describe('missingServer', () => {
  it.each([
    ['postgres', 'linux', 'sudo apt-get install -y postgresql'],
    ['nats', 'linux', 'sudo apt-get install -y nats-server'],
    ['redis', 'linux', 'sudo apt-get install -y redis-server'],
    ['postgres', 'darwin', 'brew install postgresql@17'],
    ['nats', 'darwin', 'brew install nats-server'],
    ['redis', 'darwin', 'brew install redis'],
  ] as const)('tells how to install %s on %s', (name, platform, command) => {
    expect(missingServer(name, [], platform).message).toContain(command);
  });
});

describe('versions', () => {
  it.each([
    ['2.9.10', '2.9', 1],
    ['2.9', '2.10', -1],
    ['2.10.0', '2.10', 0],
    ['15.18', '15', 1],
    ['7.0.15', '6.0', 1],
  ])('%s compared with %s is %i', (a, b, expected) => {
    expect(compareVersions(a, b)).toBe(expected);
  });
});

describe('binaries on PATH and in usual places', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'studio-binary-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  const program = (text: string, mode = 0o755): string => {
    const path = join(dir, 'redis-server');
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };

  it('are found with their version', async () => {
    const path = program('#!/bin/sh\necho "Redis server v=7.0.15 sha=00000000:0"\n');
    const { binaries } = await binariesOnPath('redis-server', [], dir)();
    expect(binaries).toEqual([{ path, version: '7.0.15', source: 'path', env: {} }]);
  });

  it('are found in a usual place that PATH lacks', async () => {
    program('#!/bin/sh\necho v7.2.0\n');
    const { binaries } = await binariesOnPath('redis-server', [dir], '')();
    expect(binaries).toHaveLength(1);
  });

  it('that do not run are passed over', async () => {
    await expect(inspect(program('#!/bin/sh\nexit 127\n'), 'path', {})).resolves.toBeNull();
    await expect(inspect(program('not a program', 0o644), 'path', {})).resolves.toBeNull();
    await expect(inspect(join(dir, 'absent'), 'path', {})).resolves.toBeNull();
  });
});
