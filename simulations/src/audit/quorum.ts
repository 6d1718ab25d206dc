/**
 * Peers that judge each other, with no reference: the auditor's own next step and judgment, on a population some of whom
 * hand in the same wrong result and vouch for each other whenever one of them is asked.
 */
import { judgmentOf } from '@studio/auditor/judgment';
import { nextStep } from '@studio/auditor/next-step';
import type { AuditCase, Replayer, ReplayRow } from '@studio/auditor/audit-case';
import { exact } from '@studio/auditor/comparators/exact';
import type { InferenceInput, JobResult } from '@studio/shared/domain/job';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { Chance } from '../chance';
import type { Judge, Ruling } from './judges';

/** Enough that a few operators more or less change nothing. */
const OPERATORS = 200;

const picture = (pixelHash: string): JobResult => ({
  images: [{ sha256: pixelHash, bytes: 1, contentType: 'image/png', width: 512, height: 512, pixelHash }],
});
const RIGHT = picture('a'.repeat(64));
const WRONG = picture('b'.repeat(64));
const LORA = { sha256: 'c'.repeat(64), bytes: 1, contentType: 'application/octet-stream', rank: 4, tensorHash: 'c' };
const INPUT: InferenceInput = {
  lora: LORA,
  prompt: '',
  width: 512,
  height: 512,
  seed: 1,
  loraScale: 1,
  warp: 0,
  numImages: 1,
};

/** The operators besides the target's own, the colluding ones first. */
export class Peers {
  private readonly replayers: Replayer[];
  private readonly colluding: number;

  /** @param share of all operators, the target's own included. */
  constructor(share: number, targetColludes: boolean) {
    this.colluding = Math.round(share * OPERATORS) - (targetColludes && share > 0 ? 1 : 0);
    this.replayers = Array.from({ length: OPERATORS - 1 }, (_, i) => ({
      hotkey: `peer-${i}`,
      operator: `peer-${i}`,
      trusted: false,
    }));
  }

  /**
   * One audit to its verdict. @param target what is audited. @param lie whether this is an input on which the colluding answer
   * wrongly.
   */
  audit(target: 'right' | 'wrong', lie: boolean, chance: Chance): Ruling & { honestConvicted: number } {
    let audit = caseOf(target === 'wrong' ? WRONG : RIGHT);
    for (;;) {
      const step = nextStep(audit, this.replayers, exact);
      if (step.do === 'wait') throw new Error('nobody is left to replay');
      if (step.do === 'replay') {
        audit = this.withReplay(audit, step.routing.excludeOperators ?? [], lie, chance);
        continue;
      }
      const { outcome, evidence, replicas } = judgmentOf(audit, step.verdict, exact);
      const convicted = replicas.filter(({ target: { hotkey } }) => !this.colludes(hotkey)).length;
      return { outcome, replays: audit.replays.length, kappa: evidence.kappa, honestConvicted: convicted };
    }
  }

  private withReplay(audit: AuditCase, exclude: readonly string[], lie: boolean, chance: Chance): AuditCase {
    let peer = this.any(chance);
    while (exclude.includes(peer.operator)) peer = this.any(chance);
    const { hotkey, operator } = peer;
    const result = lie && this.colludes(hotkey) ? WRONG : RIGHT;
    const replay: ReplayRow = {
      ordinal: audit.replays.length + 1,
      judge: 'peer',
      requestKey: hotkey,
      routing: {},
      jobId: hotkey,
      state: 'succeeded',
      failedMsAgo: null,
      done: { hotkey, operator, attemptNo: 1, epoch: 1, result },
    };
    return { ...audit, seenBy: [...audit.seenBy, operator], replays: [...audit.replays, replay] };
  }

  /** Routing goes by turns, and so by capacity: equal peers are equally likely. */
  private any(chance: Chance): Replayer {
    return this.replayers[chance.whole(0, this.replayers.length - 1)]!;
  }

  private colludes(hotkey: string): boolean {
    return Number(hotkey.slice('peer-'.length)) < this.colluding;
  }
}

/** Colluding operators vouch for wrong results of this share of all operators, and tell the truth about everybody else's. */
export function quorumJudge(share: number): Judge {
  const peers = new Peers(share, true);
  return (wrong, chance) => peers.audit(wrong ? 'wrong' : 'right', wrong, chance);
}

function caseOf(result: JobResult): AuditCase {
  return {
    id: 'audit',
    round: 1,
    why: 'draw',
    suspicion: null,
    jobId: 'job',
    attemptNo: 1,
    hotkey: 'target',
    operator: 'target',
    kind: 'lora-inference',
    engine: 'ref-sep-v1',
    epoch: 1,
    policy: DEFAULT_POLICY,
    q: DEFAULT_POLICY.audit.baseRate,
    u: '0',
    input: INPUT,
    result,
    private: false,
    closing: false,
    seenBy: ['target'],
    replays: [],
  };
}
