/**
 * Recomputes an export line by line: the file is read once, and what is kept of it grows with the miners and with the jobs of
 * one epoch, not with the log.
 */
import type { DrawExportHeader } from '@studio/shared/contract/draws';
import type { ExportedDraw, ExportHeader, SignedHead } from '@studio/shared/contract/exports';
import type { ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { completePolicy, type Policy } from '@studio/shared/domain/policy';
import { canonicalJson, sha256Hex } from '@studio/shared/protocol/canonical';
import { GrowingTree, leafHash } from '@studio/shared/protocol/merkle';
import { DrawVerifier } from '../verify-draws/draw-verifier';
import { Findings as DrawFindings } from '../verify-draws/findings';
import { Unreadable } from '../verify-draws/unreadable';
import { Findings } from './checks';
import { EventLog } from './event-log';
import { checkChain, checkHeader, checkSignature, type Expected } from './head-check';
import { pointsProblem } from './points-check';
import { readLine, type ReadLine } from './read-line';
import { firstDifference, recomposed } from './recompose';

/** What may follow what. */
type Section = 'header' | 'event' | 'draws' | 'draw' | 'snapshot' | 'head';
type Order = Record<Section | 'start', readonly Section[]>;
const OF_EPOCH: Order = {
  start: ['header'],
  header: ['event'],
  event: ['event', 'draws'],
  draws: ['draw', 'snapshot'],
  draw: ['draw', 'snapshot'],
  snapshot: ['head'],
  head: [],
};
const OF_HOUR: Order = { ...OF_EPOCH, event: ['event', 'head'], draws: [], draw: [], snapshot: [] };

const HOUR_HAS_NONE = 'an hour has none: the export of an epoch has';

export class ExportVerifier {
  readonly findings = new Findings();
  readonly tree = new GrowingTree();
  header: ExportHeader | undefined;
  signed: SignedHead | undefined;
  private log: EventLog | undefined;
  private policy: Policy | undefined;
  private draws: DrawExportHeader | undefined;
  private drawVerifier: DrawVerifier | undefined;
  private readonly drawFindings = new DrawFindings();
  private last: Section | 'start' = 'start';
  private number = 0;

  /** @param from where the lines come from, for messages. */
  constructor(
    private readonly from: string,
    private readonly expected: Expected = {},
  ) {}

  /** @throws Unreadable for what is no line of an export. */
  add(text: string): ReadLine {
    this.number += 1;
    const { findings } = this;
    const line = readLine(text, `line ${this.number} of ${this.from}`);
    const section = sectionOf(line);
    const order = this.header?.kind === 'hour' ? OF_HOUR : OF_EPOCH;
    this.at(this.number);
    findings.look(
      'form',
      canonicalJson(line) !== text && 'it is not canonical JSON',
      !order[this.last].includes(section) && `${section} cannot come after ${this.last}`,
    );
    this.last = section;
    if (section !== 'head') this.tree.add(leafHash(text));
    this.take(line, text);
    return line;
  }

  /** @throws Unreadable when the file ends too early. */
  end(): Findings {
    const { findings, header, signed } = this;
    if (!header || !signed) {
      const where = `after line ${this.number}`;
      throw new Unreadable(`${this.from} ends ${where}, without a signed head: it is cut off; fetch it again`);
    }
    this.at(undefined);
    if (header.kind === 'hour')
      for (const name of ['points', 'draws', 'snapshot'] as const) findings.skip(name, HOUR_HAS_NONE);
    return findings;
  }

  private at(line: number | undefined): void {
    const place = line === undefined ? '' : `line ${line}: `;
    this.findings.place = place;
    this.drawFindings.place = place;
  }

  private take(line: ReadLine, text: string): void {
    if ('header' in line) this.takeHeader(line.header);
    else if (!this.header || !this.log) throw new Unreadable(`${this.from} is no export: its first line is no header`);
    else if ('event' in line) this.log.add(line.event, this.number);
    else if ('draws' in line) this.takeDraws(line.draws, this.log);
    else if ('draw' in line) this.takeDraw(line.draw, this.log);
    else if ('snapshot' in line) this.takeSnapshot(line.snapshot, text, this.log);
    else this.takeHead(line, this.header, this.log);
  }

  private takeHeader(header: ExportHeader): void {
    this.header ??= header;
    this.log ??= new EventLog(this.header, this.findings);
  }

  private takeDraws(draws: DrawExportHeader, log: EventLog): void {
    if (this.draws) return;
    const own = this.header?.policies.find(({ version }) => version === draws.policy.version);
    this.draws = draws;
    this.policy = own ?? draws.policy;
    this.findings.look(
      'draws',
      String(draws.epoch) !== this.header?.name && `epoch is ${draws.epoch}, in the header ${this.header?.name}`,
      firstDifference(draws.policy, own, 'policy', 'in the header on line 1'),
    );
    log.end(draws.policy.windowEpochs);
    this.drawVerifier = new DrawVerifier(draws, new Map(log.awards), this.drawFindings);
  }

  private takeDraw(row: ExportedDraw, log: EventLog): void {
    const award = log.awards.get(row.job_id);
    if (award) this.drawFindings.place = `line ${this.number}, award on line ${award.line}: `;
    this.drawVerifier?.add(row);
    const policy = completePolicy(this.policy ?? ({ audit: {} } as Policy));
    this.findings.look('points', pointsProblem(row, award, policy));
  }

  private takeSnapshot(snapshot: Snapshot, text: string, log: EventLog): void {
    this.endDraws();
    const { policy, draws, findings } = this;
    const announced: ScoreEvent | undefined = log.last;
    if (!policy || !draws || !announced) return findings.fail('snapshot', 'there is nothing to recompute it from');
    const body = text.slice('{"snapshot":'.length, -1);
    findings.look(
      'snapshot',
      announced.sha256 !== sha256Hex(body) &&
        `its SHA-256 is ${sha256Hex(body)}, the log announced ${announced.sha256}`,
    );
    const basis = { epoch: draws.epoch, ledgerSeq: announced.seq - 1, policy, draws, sums: log.sums };
    try {
      const own = recomposed(basis, snapshot);
      const difference = firstDifference(snapshot, JSON.parse(own), 'snapshot', 'recomputed');
      findings.look('snapshot', own !== body && (difference ?? 'it is not the text that was recomputed'));
    } catch (error) {
      // Policies reach the formulas as they came.
      findings.fail('snapshot', `it cannot be recomputed: ${(error as Error).message}`);
    }
  }

  private endDraws(): void {
    this.at(undefined);
    for (const check of this.drawVerifier?.end().list() ?? []) this.findings.takeOver('draws', check);
    this.at(this.number);
  }

  private takeHead(signed: SignedHead, header: ExportHeader, log: EventLog): void {
    this.signed = signed;
    const { findings, tree } = this;
    const { head } = signed;
    const root = tree.root().toString('hex');
    if (header.kind === 'hour') log.end(undefined);
    findings.look(
      'root',
      head.root !== root && `root is ${head.root}, recomputed ${root}: some line before it was changed`,
      head.lines !== tree.size && `lines is ${head.lines}, there are ${tree.size}`,
    );
    checkHeader(head, header, findings);
    checkSignature(signed, this.expected, findings);
    checkChain(head, this.expected, findings);
  }
}

function sectionOf(line: ReadLine): Section {
  return 'head' in line ? 'head' : (Object.keys(line)[0] as Section);
}
