import { ValidatorSessions } from './validator-session';

const NOON = Date.UTC(2026, 0, 1, 12);
const SECOND = 1_000;

describe('sessions of one hotkey', () => {
  it('are twelve in a minute, whatever others take, and twelve more in the next', () => {
    const sessions = new ValidatorSessions(null, { current: () => Promise.resolve(null) });
    for (let taken = 0; taken < 12; taken += 1) sessions.count('ada', NOON + taken * SECOND);
    expect(() => sessions.count('ada', NOON + 59 * SECOND)).toThrow(/ada has had 12 sessions in this minute/);
    sessions.count('ben', NOON + 59 * SECOND);
    sessions.count('ada', NOON + 60 * SECOND);
  });
});
