/** What is needed to verify anything could not be read: the message says what, and what to do. Exit status 2. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}
