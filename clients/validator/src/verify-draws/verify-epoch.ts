/** One epoch's draws, verified from everything that is public about them. */
import type { DrawExportHeader } from '@studio/shared/contract/draws';
import { canonicalHash } from '@studio/shared/protocol/canonical';
import { RegistryClient } from '../registry-client';
import { DrawVerifier } from './draw-verifier';
import { epochFacts, latestEpoch, type EpochFacts } from './epoch-facts';
import { exportInFile, exportOfRegistry } from './export-reader';
import type { Check, Findings } from './findings';
import { Unreadable } from './unreadable';

/** A commitment as somebody saw it while the epoch was open. */
export interface KnownCommitment {
  commitment: string;
  /** Where it was kept. */
  from: string;
}

export interface Question {
  /** Undefined: the file's, or the newest closed one. */
  epoch?: number;
  /** Undefined: the file alone, without snapshot and ledger. */
  registryUrl?: string;
  /** Instead of the registry's export. */
  file?: string;
  known: (epoch: number) => Promise<KnownCommitment[]>;
}

export interface DrawReport {
  epoch: number;
  /** Nothing that was checked is wrong. What was not checked says so itself. */
  ok: boolean;
  rows: number;
  seconds: number;
  checks: Check[];
}

/** @throws Unreadable */
export async function verifyEpoch({ epoch, registryUrl, file, known }: Question): Promise<DrawReport> {
  const startedAt = performance.now();
  const registry = registryUrl === undefined ? undefined : new RegistryClient(registryUrl);
  const { header, rows } = await openExport({ epoch, registryUrl, file });
  const facts = registry && (await epochFacts(registry, header.epoch));
  const verifier = new DrawVerifier(header, facts?.awards);
  const { findings } = verifier;
  compareCommitments(header, await known(header.epoch), findings);
  if (facts) compareSnapshot(header, facts, findings);
  else for (const name of ['snapshot', 'awards'] as const) findings.skip(name, 'no registry: give one with --registry');
  for await (const row of rows) verifier.add(row);
  const checks = verifier.end().list();
  return {
    epoch: header.epoch,
    ok: checks.every(({ failures }) => failures === 0),
    rows: header.rows,
    seconds: Math.round(performance.now() - startedAt) / 1_000,
    checks,
  };
}

async function openExport({ epoch, registryUrl, file }: Omit<Question, 'known'>) {
  if (file === undefined) {
    if (registryUrl === undefined)
      throw new Unreadable(
        'no registry to read the draws from, and none of `npm start` here: give one with --registry, or a --file',
      );
    return exportOfRegistry(registryUrl, epoch ?? (await latestEpoch(new RegistryClient(registryUrl))));
  }
  const opened = await exportInFile(file);
  if (epoch !== undefined && opened.header.epoch !== epoch) {
    throw new Unreadable(
      `${file} holds the draws of epoch ${opened.header.epoch}, not of ${epoch}: give the other file, or --epoch ${opened.header.epoch}`,
    );
  }
  return opened;
}

function compareCommitments(
  { epoch, commitment }: DrawExportHeader,
  known: readonly KnownCommitment[],
  findings: Findings,
): void {
  for (const one of known) {
    const differs = one.commitment !== commitment;
    findings.look(
      'secret',
      differs && `the export says that ${commitment} was published, ${one.from} has ${one.commitment}`,
    );
  }
  const compared = known.map(({ from }) => from).join(' and ');
  findings.note(
    'secret',
    compared ? `also as kept in ${compared}` : `nobody here kept what was published when epoch ${epoch} opened`,
  );
}

function compareSnapshot(
  header: DrawExportHeader,
  { snapshot, served, announced }: EpochFacts,
  findings: Findings,
): void {
  const { draw, policy, epoch } = snapshot;
  const differs = (what: string, own: unknown, theirs: unknown): string | false =>
    own !== theirs && `${what} is ${String(own)} in the export, ${String(theirs)} in the snapshot`;
  findings.look(
    'snapshot',
    served !== announced && `the snapshot's SHA-256 is ${served}, the log announced ${announced ?? 'none'}`,
    differs('epoch', header.epoch, epoch),
    differs('commitment', header.commitment, draw.commitment),
    differs('secret', header.secret, draw.secret),
    differs('SHA-256 of the policy', canonicalHash(header.policy), canonicalHash(policy)),
  );
}
