import { Turns } from './turns';

const NEVER = new AbortController().signal;

/** A piece of work that ends when the test says so. */
function piece(name: string, started: string[]): { act: () => Promise<string>; end: () => void } {
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  return { act: () => (started.push(name), ended.then(() => name)), end: () => end() };
}

describe('turns', () => {
  it('are taken one after the other, in the order of asking, whatever becomes of one', async () => {
    const turns = new Turns();
    const started: string[] = [];
    const [a, c] = [piece('a', started), piece('c', started)];
    const results = [
      turns.take(NEVER, a.act),
      turns.take(NEVER, () => (started.push('b'), Promise.reject(new Error('b failed')))),
      turns.take(NEVER, c.act),
    ];
    const failed = expect(results[1]).rejects.toThrow('b failed');
    await Promise.resolve();
    expect(started).toEqual(['a']);
    a.end();
    await failed;
    c.end();
    expect([await results[0], await results[2]]).toEqual(['a', 'c']);
    expect(started).toEqual(['a', 'b', 'c']);
  });

  it('are never given to who has left, and not before those in front have ended', async () => {
    const turns = new Turns();
    const started: string[] = [];
    const a = piece('a', started);
    const first = turns.take(NEVER, a.act);
    const leaving = new AbortController();
    const second = turns.take(leaving.signal, piece('b', started).act);
    const third = turns.take(NEVER, async () => void started.push('c'));
    leaving.abort('left');
    await expect(second).rejects.toBe('left');
    expect(started).toEqual(['a']);
    a.end();
    await Promise.all([first, third]);
    expect(started).toEqual(['a', 'c']);
  });

  it('end when their work ends, also for who leaves meanwhile', async () => {
    const turns = new Turns();
    const started: string[] = [];
    const a = piece('a', started);
    const leaving = new AbortController();
    const first = turns.take(leaving.signal, a.act);
    await Promise.resolve();
    leaving.abort('left');
    a.end();
    expect(await first).toBe('a');
  });
});
