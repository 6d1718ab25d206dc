import { capacity } from './server-status';

it('lists every engine of a kind once, with the slots that they share', () => {
  expect(
    capacity([
      { kind: 'lora-inference', engine: 'ref-sep-v1', slots: 2 },
      { kind: 'lora-inference', engine: 'flux', slots: 4 },
      { kind: 'lora-training', engine: 'flux', slots: 1 },
    ]),
  ).toEqual({
    kinds: {
      'lora-inference': { engines: ['ref-sep-v1', 'flux'], slots: 4 },
      'lora-training': { engines: ['flux'], slots: 1 },
    },
  });
});
