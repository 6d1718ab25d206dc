import { isFalPath, routedUrl } from './fal-hosts';
import { asciiJson } from './fal-json';

describe('the proxy door', () => {
  it.each([
    ['https://queue.fal.run/studio/lora/requests/1/status?logs=1', '/queue/studio/lora/requests/1/status?logs=1'],
    ['https://fal.run/studio/lora', '/run/studio/lora'],
    [
      'https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3',
      '/rest/storage/upload/initiate?storage_type=fal-cdn-v3',
    ],
  ])('leads what is meant for %s to %s', (target, path) => {
    expect(routedUrl('/fal/proxy', target)).toBe(path);
    expect(routedUrl('/fal/proxy?x=1', target)).toBe(path);
  });

  it.each([
    'https://example.com/v1/jobs',
    'http://169.254.169.254/',
    'https://queue.fal.run.evil.com/a/b',
    'no URL',
    '',
  ])('leads nobody to %p', (target) => expect(routedUrl('/fal/proxy', target)).toBe('/fal/proxy'));

  it('changes no other path, whatever its headers say', () => {
    for (const path of ['/v1/jobs', '/fal/proxyx', '/queue/a/b', '/metrics'])
      expect(routedUrl(path, 'https://queue.fal.run/a/b')).toBe(path);
    expect(routedUrl('/fal/proxy', ['https://fal.run/a/b', 'https://fal.run/c/d'])).toBe('/fal/proxy');
  });
});

it("fal's form of errors is kept to its own paths", () => {
  expect(['/queue/a/b', '/run/a/b', '/rest/storage', '/fal/proxy'].map(isFalPath)).toEqual([true, true, true, true]);
  expect(['/v1/jobs', '/queuex/a', '/'].map(isFalPath)).toEqual([false, false, false]);
});

it('an event is ASCII alone, and means the same', () => {
  const value = { prompt: 'Käse ☕ 🐈 "x"' };
  expect(asciiJson(value)).toMatch(/^[\x20-\x7e]+$/);
  expect(JSON.parse(asciiJson(value))).toEqual(value);
});
