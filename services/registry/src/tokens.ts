/** Names for what is injected but has no class. */

/** This registry's hotkey (SS58). */
export const IDENTITY = Symbol('identity');

/** Says a hint on NATS; never fails. */
export type Hint = (subject: string) => void;
export const HINT = Symbol('hint');

/** Wakes what follows the log of score events: relay and streams. Losing a call costs a second. */
export type News = () => void;
export const NEWS = Symbol('news');

/** The operators' key. */
export const ADMIN_KEY = Symbol('admin key');
