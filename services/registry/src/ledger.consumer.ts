import { Controller, Inject } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import { AppendLedgerCommand, type AppendLedgerReply } from '@studio/shared/contract/ledger';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { LedgerStore } from './ledger.store';
import { NEWS, type News } from './tokens';

/** The auditor's relay repeats a batch until it has this reply, so a repetition must give the same one. */
@Controller()
export class LedgerConsumer {
  constructor(
    private readonly ledger: LedgerStore,
    @Inject(NEWS) private readonly news: News,
  ) {}

  @MessagePattern(SUBJECTS.appendLedger.subject)
  async append(@Payload() { entries }: AppendLedgerCommand): Promise<AppendLedgerReply> {
    const seqs = await this.ledger.append(entries);
    this.news();
    return { seqs: Object.fromEntries(seqs) };
  }
}
