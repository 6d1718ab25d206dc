import type { MigrationInterface, QueryRunner } from 'typeorm';

const TABLES = `
-- Places for files that clients put by fal's storage protocol: named before the bytes are known. Names are kept by their SHA-256.
CREATE TABLE studio.upload_slots (
  writing    bytea PRIMARY KEY,
  reading    bytea NOT NULL UNIQUE,
  client_id  uuid NOT NULL,
  -- Null until the file came.
  sha256     text,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);
`;

export class UploadSlots1795800000004 implements MigrationInterface {
  readonly name = 'UploadSlots1795800000004';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(TABLES);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE studio.upload_slots');
  }
}
