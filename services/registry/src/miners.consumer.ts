import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import type { RoutableMiners } from '@studio/shared/contract/miners';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { MinerStore } from './miner.store';

/** Workers ask at their start, on the hint that miners changed, and every few seconds. */
@Controller()
export class MinersConsumer {
  constructor(private readonly miners: MinerStore) {}

  @MessagePattern(SUBJECTS.routableMiners.subject)
  async routable(): Promise<RoutableMiners> {
    return { miners: await this.miners.routable() };
  }
}
