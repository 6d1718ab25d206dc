import { Controller } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import { SubmitJobCommand, type SubmitJobReply } from '@studio/shared/contract/submit-job';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { validated } from '@studio/shared/contract/validated';
import { Submissions } from './submit';

/** The auditor's jobs: the same path as a client's. */
@Controller()
export class SubmitConsumer {
  constructor(private readonly submissions: Submissions) {}

  @MessagePattern(SUBJECTS.submitJob.subject)
  async submit(@Payload() body: unknown): Promise<SubmitJobReply> {
    const job = await this.submissions.submitCommand(validated(SubmitJobCommand, body));
    return { jobId: job.id, state: job.state };
  }
}
