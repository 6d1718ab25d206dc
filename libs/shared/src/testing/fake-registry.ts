import { JSONCodec, type NatsConnection } from 'nats';
import type { RoutableMiner } from '../contract/miners';
import { SUBJECTS } from '../contract/subjects';

export interface FakeRegistry {
  /** Changes what the next question is answered with, and says so. */
  announce(miners: RoutableMiner[]): void;
  close(): void;
}

/** Answers `registry.miners.routable` in Nest's wire form, in place of a registry. */
export function startFakeRegistry(nats: NatsConnection, initial: RoutableMiner[]): FakeRegistry {
  const json = JSONCodec<unknown>();
  let miners = initial;
  const subscription = nats.subscribe(SUBJECTS.routableMiners.subject, {
    callback: (_error, message) => void message.respond(json.encode({ response: { miners }, isDisposed: true })),
  });
  return {
    announce: (next) => {
      miners = next;
      nats.publish(SUBJECTS.minersChanged.subject, json.encode({}));
    },
    close: () => subscription.unsubscribe(),
  };
}
