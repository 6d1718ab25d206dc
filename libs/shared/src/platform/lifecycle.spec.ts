import { EventEmitter } from 'node:events';
import { EX_SOFTWARE, installLifecycle } from './lifecycle';

class FakeProcess extends EventEmitter {
  readonly exits: number[] = [];
  connected = true;
  private readonly waiters: ((code: number) => void)[] = [];

  exit(code: number): void {
    this.exits.push(code);
    this.waiters.splice(0).forEach((resolve) => resolve(code));
  }

  exited(): Promise<number> {
    return new Promise((resolve) => this.waiters.push(resolve));
  }
}

function install(close: () => Promise<void>, { graceMs = 60_000, connected = true } = {}) {
  const host = new FakeProcess();
  host.connected = connected;
  const log = { info: jest.fn(), fatal: jest.fn() };
  installLifecycle({ log, close, graceMs, process: host });
  return { host, log };
}

describe('the lifecycle of a process', () => {
  it.each(['SIGTERM', 'SIGINT', 'disconnect'])('closes and exits 0 on %s', async (event) => {
    const close = jest.fn(async () => undefined);
    const { host } = install(close);
    const exited = host.exited();
    host.emit(event);
    expect(await exited).toBe(0);
    expect(close).toHaveBeenCalledTimes(1);
  });

  it('takes a second signal for the same order', async () => {
    let finish = (): void => undefined;
    const close = jest.fn(() => new Promise<void>((resolve) => (finish = resolve)));
    const { host } = install(close);
    const exited = host.exited();
    host.emit('SIGINT');
    host.emit('SIGTERM');
    finish();
    expect(await exited).toBe(0);
    expect(close).toHaveBeenCalledTimes(1);
    expect(host.exits).toEqual([0]);
  });

  it('does not wait for a parent it never had', () => {
    const { host } = install(async () => undefined, { connected: false });
    expect(host.listenerCount('disconnect')).toBe(0);
  });

  it('exits 70 when closing fails, and says why', async () => {
    const { host, log } = install(() => Promise.reject(new Error('stuck')));
    const exited = host.exited();
    host.emit('SIGTERM');
    expect(await exited).toBe(EX_SOFTWARE);
    expect(log.fatal).toHaveBeenCalledWith({ err: new Error('stuck') }, 'closing failed');
  });

  it('exits 70 when closing takes longer than the grace', async () => {
    jest.useFakeTimers();
    const { host, log } = install(() => new Promise(() => undefined), { graceMs: 1_500 });
    host.emit('SIGTERM');
    jest.advanceTimersByTime(1_499);
    expect(host.exits).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(host.exits).toEqual([EX_SOFTWARE]);
    expect(log.fatal).toHaveBeenCalledWith({ err: undefined }, 'not closed after 1500 ms');
    jest.useRealTimers();
  });

  it.each(['uncaughtException', 'unhandledRejection'])('exits 70 at once on %s, without closing', (event) => {
    const close = jest.fn(async () => undefined);
    const { host, log } = install(close);
    host.emit(event, new Error('bug'));
    expect(host.exits).toEqual([EX_SOFTWARE]);
    expect(log.fatal).toHaveBeenCalledWith({ err: new Error('bug') }, expect.any(String));
    expect(close).not.toHaveBeenCalled();
  });
});
