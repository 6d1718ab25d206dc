import 'reflect-metadata';
import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import fc from 'fast-check';
import { readCommandLine } from './command-line';
import { EngineEnv, programEnv } from './env';

const wrong = (variables: Record<string, string>): string[] =>
  validateSync(plainToInstance(EngineEnv, variables)).map(({ property }) => property);

const HTTP = {
  MINER_ENGINE: 'http',
  MINER_HTTP_URL: 'http://127.0.0.1:8188',
  MINER_HTTP_LORA_DIR: 'loras',
  MINER_HTTP_WORKFLOW: 'w.json',
};

describe("the engine's environment", () => {
  it.each<[string, Record<string, string>, string[]]>([
    ['nothing for the built-in engine', {}, []],
    ['an engine that exists', { MINER_ENGINE: 'magic' }, ['MINER_ENGINE']],
    [
      'address, workflow and folder for ComfyUI',
      { MINER_ENGINE: 'http' },
      ['MINER_HTTP_URL', 'MINER_HTTP_WORKFLOW', 'MINER_HTTP_LORA_DIR'],
    ],
    ['no workflow for Automatic1111', { ...HTTP, MINER_HTTP_API: 'automatic1111', MINER_HTTP_WORKFLOW: '' }, []],
    ['no password in the address', { ...HTTP, MINER_HTTP_URL: 'http://me:secret@127.0.0.1:1' }, ['MINER_HTTP_URL']],
    ['a program for the command engine', { MINER_ENGINE: 'command' }, ['MINER_COMMAND_TRAIN']],
    ['either program', { MINER_ENGINE: 'command', MINER_COMMAND_RENDER: 'python render.py' }, []],
    [
      'programs that can be read',
      { MINER_ENGINE: 'command', MINER_COMMAND_TRAIN: '["python"' },
      ['MINER_COMMAND_TRAIN'],
    ],
    [
      'a trainer beside the image server that can be read',
      { ...HTTP, MINER_COMMAND_TRAIN: "'x" },
      ['MINER_COMMAND_TRAIN'],
    ],
    [
      "none of the miner's own variables for programs",
      { MINER_COMMAND_PASS_ENV: 'HF_TOKEN,MINER_SEED' },
      ['MINER_COMMAND_PASS_ENV'],
    ],
    [
      'numbers within their bounds',
      { MINER_HTTP_STEPS: '0', MINER_COMMAND_GRACE_MS: '-1' },
      ['MINER_HTTP_STEPS', 'MINER_COMMAND_GRACE_MS'],
    ],
  ])('asks for %s', (_, variables, problems) => {
    expect(wrong(variables)).toEqual(problems);
  });
});

describe("a program's environment", () => {
  it('has what was asked for, and of the rest neither keys nor tokens', () => {
    const source = {
      PATH: '/bin',
      CUDA_VISIBLE_DEVICES: '0',
      LC_ALL: 'C',
      HF_TOKEN: 'asked for',
      MINER_SEED: '11'.repeat(32),
      MINER_KEY_FILE: 'key.json',
      NVIDIA_API_KEY: 'secret',
      AWS_SECRET_ACCESS_KEY: 'secret',
      DATABASE_URL: 'postgres://u:p@h/d',
    };
    expect(programEnv('HF_TOKEN', source)).toEqual({
      PATH: '/bin',
      CUDA_VISIBLE_DEVICES: '0',
      LC_ALL: 'C',
      HF_TOKEN: 'asked for',
    });
  });

  it('never has a variable of the miner, even one that is asked for', () => {
    const names = fc.stringMatching(/^MINER_[A-Z_]{1,12}$/);
    fc.assert(
      fc.property(names, fc.string(), (name, value) => expect(programEnv(name, { [name]: value })).toEqual({})),
    );
  });
});

describe('a command line', () => {
  it.each([
    ['python train.py --fast', ['python', 'train.py', '--fast']],
    [
      `  /opt/my\\tools/run "two words" 'and "quotes"' --a="b c"d `,
      ['/opt/my\\tools/run', 'two words', 'and "quotes"', '--a=b cd'],
    ],
    ['["python", "a b", ""]', ['python', 'a b', '']],
    ['echo $(reboot) ; `x` * > y', ['echo', '$(reboot)', ';', '`x`', '*', '>', 'y']],
    ['""', undefined],
    ['', undefined],
    ['[]', undefined],
    ['["python", 1]', undefined],
    ['python "open', undefined],
  ])('%s is read as %j', (text, words) => {
    expect(readCommandLine(text)).toEqual(words);
  });

  it('gives back every word that was quoted, whatever it holds', () => {
    const word = fc.string({ minLength: 1 });
    const quoted = (text: string) => (text.includes("'") ? `"${text}"` : `'${text}'`);
    const quotable = word.filter((text) => !(text.includes("'") && text.includes('"')));
    fc.assert(
      fc.property(fc.array(quotable, { minLength: 1 }), (words) => {
        expect(readCommandLine(words.map(quoted).join(' '))).toEqual(words);
        expect(readCommandLine(JSON.stringify(words))).toEqual(words);
      }),
    );
  });
});
