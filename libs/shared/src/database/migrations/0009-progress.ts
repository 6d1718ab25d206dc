import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Progress1796400000009 implements MigrationInterface {
  readonly name = 'Progress1796400000009';

  /** What a miner says of its steps: `AttemptProgress` in domain/job.ts. In no index, so that reports are cheap updates. */
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE studio.attempts ADD COLUMN progress jsonb');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE studio.attempts DROP COLUMN progress');
  }
}
