import { isStudioError } from '../domain/errors';
import { SubmitJobCommand, TrainingRequest } from './submit-job';
import { validated } from './validated';

function fieldsOf(read: () => unknown): { path: string; message: string }[] {
  try {
    read();
  } catch (error) {
    if (isStudioError(error) && error.code === 'INVALID_INPUT') return [...error.fields];
    throw error;
  }
  return [];
}

const COMMAND = {
  idempotencyKey: '0190f0e0-0000-7000-8000-000000000000',
  kind: 'lora-training',
  engine: 'ref-sep-v1',
  input: {},
  routing: {},
};

describe('data from another process', () => {
  it('becomes an instance of its class', () => {
    expect(validated(TrainingRequest, { image_url: 'x', steps: 3 })).toBeInstanceOf(TrainingRequest);
  });

  it.each([undefined, null, 'text', 7, []])('that is no object (%p) is refused', (value) => {
    expect(fieldsOf(() => validated(TrainingRequest, value))).toEqual([
      { path: 'body', message: 'has to be a JSON object' },
    ]);
  });

  it('is refused with the path of every wrong field, as the sender wrote it', () => {
    const fields = fieldsOf(() => validated(TrainingRequest, { image_url: 1, seed: -1, sed: 4 }, 'input'));
    expect(fields.map(({ path }) => path).sort()).toEqual(['input.image_url', 'input.sed', 'input.seed']);
    expect(fields.find(({ path }) => path === 'input.sed')?.message).toMatch(/remove it/);
  });

  it('is told what is missing, not which rule nothing breaks first', () => {
    expect(fieldsOf(() => validated(TrainingRequest, {}, 'input'))).toEqual([
      { path: 'input.image_url', message: 'is missing: it has to be given' },
    ]);
  });

  it('is refused with the path inside nested messages', () => {
    const fields = fieldsOf(() => validated(SubmitJobCommand, { ...COMMAND, routing: { onlyHotkey: 4 } }));
    expect(fields.map(({ path }) => path)).toEqual(['routing.onlyHotkey']);
  });

  it('cannot reach the prototype', () => {
    const hostile = JSON.parse('{"image_url":"x","__proto__":{"steps":5}}') as unknown;
    expect(Object.getPrototypeOf(validated(TrainingRequest, hostile))).toBe(TrainingRequest.prototype);
  });
});
