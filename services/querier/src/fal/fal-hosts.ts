/**
 * fal's clients know three hosts and no other. Here the host is a prefix of the path: a client maps it itself (request middleware, its
 * own `fetch`), or sends everything to the proxy door with the URL that it meant in a header. Nothing is ever fetched from there.
 */
export const TARGET_HEADER = 'x-fal-target-url';
export const PROXY_PATH = '/fal/proxy';

const PREFIX_OF_HOST: Readonly<Record<string, string>> = {
  'queue.fal.run': '/queue',
  'fal.run': '/run',
  'rest.fal.ai': '/rest',
  // Of clients before 1.10.
  'rest.alpha.fal.ai': '/rest',
};

const FAL_PATH = /^\/(?:queue|run|rest|fal)\//;

/** Whether errors on this path have fal's form. */
export function isFalPath(url: string): boolean {
  return FAL_PATH.test(url);
}

/** The path that a request to the proxy door is meant for; any other request keeps its own. */
export function routedUrl(url: string, target: string | string[] | undefined): string {
  if (url.split('?', 1)[0] !== PROXY_PATH || typeof target !== 'string') return url;
  if (!URL.canParse(target)) return url;
  const { host, pathname, search } = new URL(target);
  const prefix = PREFIX_OF_HOST[host];
  return prefix === undefined ? url : `${prefix}${pathname}${search}`;
}
