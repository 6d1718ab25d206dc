import type { MinerDetails } from '@studio/shared/contract/miners';
import { accountText } from './status';

const view: MinerDetails = {
  hotkey: '5Own',
  operator: '5Cold',
  uid: 7,
  endpoint: 'http://192.0.2.7:8080',
  dialect: 'native',
  offers: [{ kind: 'lora-training', engine: 'ref-sep-v1', slots: 2 }],
  trusted: false,
  registered_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
  withdrawn_at: null,
};

const attempt = (n: number) => ({
  job_id: `job-${n}`,
  attempt: 1,
  kind: 'lora-training' as const,
  engine: 'ref-sep-v1' as const,
  state: 'accepted' as const,
  blame: 'none' as const,
  reason: null,
  hedge: false,
  sent_at: '2026-01-01T00:00:00.000Z',
  finished_at: null,
  raw_ms: 1234.5678,
  credit_ms: 10,
  net_ms: 1224.5678,
  network: null,
  void: false,
  points: '612345',
});

describe('the status of a miner', () => {
  it('shows points as numbers, and of a long list the newest', () => {
    const text = accountText({
      ...view,
      account: {
        score: {
          epoch: 3,
          points: '1612345',
          points_by_kind: { 'lora-training': '1612345', 'lora-inference': '0' },
          valid_jobs: 3,
          win_rate: 0.75,
          u16: 65535,
          rank: 1,
          of: 4,
        },
        lanes: [],
        jobs: Array.from({ length: 20 }, (_, n) => attempt(n)),
        missed: [],
        measurement: null,
        blocked: null,
        quarantines: [],
        verdicts: [],
      },
    });
    for (const shown of ['5Own', '1.612345', '0.612345', '0.000000', '1 of 4', '1234.568', '… and 5 more: --json']) {
      expect(text).toContain(shown);
    }
    expect(text).toContain('missed\nnone');
  });

  it('shows the whole id of a job that went wrong, which an appeal needs, and whether a quarantine was lifted', () => {
    const job_id = '0190a0b0-0000-7000-8000-000000000001';
    const verdicts = [{ epoch: 2, job_id, outcome: 'invalid', reason: 'the image differs' }];
    const lifted = { cause: 'amnesty', at: '2026-01-02T00:00:00.000Z' };
    const quarantines = [{ kind: 'lora-training', from_epoch: 2, until_epoch: 22, reason: null, lifted }];
    const text = accountText({ ...view, account: { verdicts, quarantines } as unknown as MinerDetails['account'] });
    for (const shown of [job_id, 'the image differs', 'amnesty, 2026-01-02']) expect(text).toContain(shown);
  });

  it('shows what is there of a registry that is older or newer', () => {
    expect(accountText(view)).toContain('this registry shows no account');
    const partial = { score: null, jobs: [{ state: 'accepted' }] } as unknown as MinerDetails['account'];
    expect(accountText({ ...view, account: partial! })).toContain('no valid job in this window yet');
  });
});
