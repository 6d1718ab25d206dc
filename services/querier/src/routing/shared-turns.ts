/** Puts the turns of one process together: the board, its store behind Redis, and for workers the sweeper of holds. */
import type { RoutingPolicy } from '@studio/shared/domain/policy';
import type { Logger } from '@studio/shared/platform/logger';
import type { Redis } from 'ioredis';
import { FallbackLanes } from './fallback-lanes';
import { HoldSweeper } from './hold-sweeper';
import type { MinerDirectory } from './miner-directory';
import { RedisLanes } from './redis-lanes';
import { TurnBoard } from './turn-board';
import { TurnStore } from './turn.store';

export interface SharedTurnsParts {
  redis: Redis;
  db: ConstructorParameters<typeof TurnStore>[0];
  directory: Pick<MinerDirectory, 'every'>;
  policy: () => RoutingPolicy;
  /** Hears that a slot has become free. */
  onFree?: () => void;
  log: Pick<Logger, 'error' | 'warn' | 'info'>;
}

export interface SharedTurns {
  board: TurnBoard;
  /** Only workers start it. */
  sweeper: HoldSweeper;
}

export function shareTurns({ redis, db, directory, policy, onFree, log }: SharedTurnsParts): SharedTurns {
  const rows = new TurnStore(db);
  const store = new FallbackLanes(new RedisLanes(redis), log, () => void board.refresh(0));
  const board: TurnBoard = new TurnBoard({ store, rows, directory, policy, onFree, log });
  return { board, sweeper: new HoldSweeper({ board, store, rows, log }) };
}
