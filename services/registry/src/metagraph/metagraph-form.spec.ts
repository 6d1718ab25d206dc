import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { readMetagraph } from './metagraph-form';

const [ADA, BEN, COLD] = ['01', '02', '03'].map((byte) => hotkeyFromSeed(byte.repeat(32)).address) as [
  string,
  string,
  string,
];

const neuron = (hotkey: string, uid: number, fields: object = {}): object => ({
  hotkey,
  uid,
  coldkey: COLD,
  stake: '10.5',
  ...fields,
});

/** A neuron as bittensor-pylon describes it, with what is not read. */
const ofPylon = (hotkey: string, uid: number): object => ({
  ...neuron(hotkey, uid, { stake: 10.5 }),
  active: true,
  axon_info: { ip: '192.0.2.1', port: 8091, protocol: 4 },
  rank: 0,
  incentive: 0.1,
  validator_permit: false,
  stakes: { alpha: 9, tao: 1.5, total: 10.5 },
});

describe('a metagraph', () => {
  it('reads alike from a list and from what the sidecar answers', () => {
    const expected = {
      block: 7_000_000,
      neurons: [
        { hotkey: ADA, uid: 3, coldkey: COLD, stake: '10.5' },
        { hotkey: BEN, uid: 0, coldkey: COLD, stake: '10.5' },
      ],
    };
    expect(readMetagraph({ block: 7_000_000, neurons: [neuron(ADA, 3), neuron(BEN, 0)] })).toEqual(expected);
    const sidecar = {
      block: { number: 7_000_000, hash: `0x${'ab'.repeat(32)}` },
      neurons: { [ADA]: ofPylon(ADA, 3), [BEN]: ofPylon(BEN, 0) },
    };
    expect(readMetagraph(sidecar)).toEqual(expected);
  });

  it('may lack its block, and give the stake in all its parts', () => {
    const { block, neurons } = readMetagraph({
      neurons: [neuron(ADA, 1, { stake: undefined, stakes: { total: 2e-9 } })],
    });
    expect(block).toBeNull();
    expect(neurons[0]?.stake).toBe('2e-9');
  });

  it.each<[string, unknown, string]>([
    ['not an object', [], 'metagraph: '],
    ['without neurons', { block: 1 }, 'metagraph.neurons: '],
    ['empty', { neurons: [] }, 'no members'],
    ['empty in the form of the sidecar', { neurons: {} }, 'no members'],
    ['with a hotkey that is none', { neurons: [neuron('5Fake', 1)] }, 'neurons.0.hotkey'],
    ['with a coldkey that is none', { neurons: [neuron(ADA, 1, { coldkey: 7 })] }, 'neurons.0.coldkey'],
    ['with a uid beyond the chain', { neurons: [neuron(ADA, 65_536)] }, 'neurons.0.uid'],
    ['with a uid twice', { neurons: [neuron(ADA, 1), neuron(BEN, 1)] }, 'uid twice'],
    ['with a hotkey twice', { neurons: [neuron(ADA, 1), neuron(ADA, 2)] }, 'hotkey twice'],
    ['with a negative stake', { neurons: [neuron(ADA, 1, { stake: -1 })] }, 'neurons.0.stake'],
    ['without a stake', { neurons: [neuron(ADA, 1, { stake: undefined })] }, 'neurons.0.stake'],
    ['with a neuron that is none', { neurons: [null] }, 'neurons.0'],
    ['with a neuron under another key', { neurons: { [ADA]: ofPylon(BEN, 1) } }, `neurons.${ADA}.hotkey`],
    ['with a block that is no number', { block: 'latest', neurons: [neuron(ADA, 1)] }, 'metagraph.block'],
  ])('is refused %s', (_what, said, problem) => {
    expect(() => readMetagraph(said)).toThrow(problem);
  });
});
