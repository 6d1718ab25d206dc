/** How well peers judge each other while some of them vouch for each other. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { Chance } from '../chance';
import { COLLUDING_SHARES } from './profiles';
import { Peers } from './quorum';
import { shareOf, type Share } from './statistics';

export interface QuorumPower {
  /** Of the operators, those that collude. */
  share: number;
  /** Of the audited wrong results of a colluding miner, the share that is convicted. */
  power: Share;
  kappa: number;
  /** Of audited right results, the share that is convicted when all colluding peers answer wrongly and alike. */
  framed: Share;
  /** Honest peers convicted of a wrong replay, per audited wrong result of a colluding miner. */
  honestReplayers: Share;
}

export function quorumPowers(audits: number, chance: Chance): QuorumPower[] {
  return COLLUDING_SHARES.map((share) => {
    const [own, others] = [new Peers(share, true), new Peers(share, false)];
    let [convicted, framed, replayers] = [0, 0, 0];
    for (let i = 0; i < audits; i += 1) {
      const { outcome, honestConvicted } = own.audit('wrong', true, chance);
      if (outcome === 'invalid') convicted += 1;
      replayers += honestConvicted;
      if (others.audit('right', true, chance).outcome === 'invalid') framed += 1;
    }
    return {
      share,
      power: shareOf(convicted, audits),
      kappa: DEFAULT_POLICY.audit.kappaQuorum,
      framed: shareOf(framed, audits),
      honestReplayers: shareOf(replayers, audits),
    };
  });
}
