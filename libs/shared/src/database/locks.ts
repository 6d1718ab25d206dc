/**
 * Advisory locks that two services must agree on.
 *
 * The auditor takes `EPOCH_BOUNDARY` shared while it files finished jobs under the open epoch; the registry takes it
 * exclusively to move an epoch from open to closing. When the registry holds it, nothing more can join that epoch.
 */
export const EPOCH_BOUNDARY_LOCK = 7_301_002;

/** Held by the one registry replica that publishes score events. */
export const SCORE_RELAY_LOCK = 7_301_003;

/** Held by the one auditor replica that sends ledger entries, takes in finished jobs, or closes an epoch. */
export const LEDGER_RELAY_LOCK = 7_301_004;
export const AUDIT_INTAKE_LOCK = 7_301_005;
export const EPOCH_CLOSE_LOCK = 7_301_006;
/** Likewise, by the one that plans canaries. */
export const CANARY_PLAN_LOCK = 7_301_008;

/** Held by the one worker that archives jobs and removes what nothing names. */
export const RETENTION_LOCK = 7_301_010;

/** Held by the one registry replica that stores what it read of the metagraph. */
export const METAGRAPH_LOCK = 7_301_007;

/** Only one migration may run at a time, however many replicas start together; held until the privileges are given too. */
export const MIGRATION_LOCK = 7_301_001;
