/**
 * Loaded into a service before its own code (`node --require`): profiles its main thread and writes the profile when it
 * ends. Node's own --cpu-prof cannot be given through NODE_OPTIONS, and the services are started by the supervisor.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { isMainThread } from 'node:worker_threads';
import { profilePath } from './env';

if (isMainThread) {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.start');
  // A session within its own thread answers before `post` returns, so this works at exit.
  process.once('exit', () =>
    session.post('Profiler.stop', (_error, { profile }) => writeFileSync(profilePath(), JSON.stringify(profile))),
  );
}
