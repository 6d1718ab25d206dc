import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { EnvError } from '../env';
import { type WorkflowValues, fillWorkflow, loadWorkflow, readWorkflow } from './comfyui-workflow';

const ALL = ['prompt', 'seed', 'width', 'height', 'lora_name', 'lora_scale', 'steps', 'guidance', 'warp'] as const;
const VALUES: WorkflowValues = {
  prompt: 'a cat',
  seed: 42,
  width: 64,
  height: 80,
  lora_name: 'x.safetensors',
  lora_scale: 0.5,
  steps: 28,
  guidance: 7,
  warp: 0.25,
};
const complete = Object.fromEntries(ALL.map((name) => [name, `{{${name}}}`]));
const file = (inputs: object) => JSON.stringify({ 1: { class_type: 'Any', inputs } });

describe('a workflow', () => {
  it('gets numbers where a placeholder stands alone, and text within a text, at any depth', () => {
    const inputs = {
      ...complete,
      text: 'photo of {{prompt}}, {{ seed }}',
      deep: [{ at: ['{{seed}}'] }],
      kept: ['7', 0],
    };
    const filled = fillWorkflow(readWorkflow(file(inputs)), VALUES);
    expect(filled['1']!.inputs).toEqual({
      ...VALUES,
      text: 'photo of a cat, 42',
      deep: [{ at: [42] }],
      kept: ['7', 0],
    });
  });

  it('takes a prompt as it is, whatever it looks like', () => {
    const awkward = fc.oneof(
      fc.string(),
      fc.constantFrom(...ALL.map((name) => `{{${name}}}`), '$&', "$'", '"', '\\', '{{nothing}}'),
    );
    const workflow = readWorkflow(file({ ...complete, text: '<{{prompt}}>' }));
    fc.assert(
      fc.property(fc.array(awkward), (pieces) => {
        const prompt = pieces.join('');
        const { inputs } = fillWorkflow(workflow, { ...VALUES, prompt })['1']!;
        expect([inputs.prompt, inputs.text]).toEqual([prompt, `<${prompt}>`]);
      }),
    );
  });

  it('is not changed by being filled', () => {
    const workflow = readWorkflow(file(complete));
    fillWorkflow(workflow, VALUES);
    expect(workflow).toEqual(JSON.parse(file(complete)));
  });

  it.each(['prompt', 'seed', 'width', 'height', 'lora_name', 'lora_scale'])('is refused without {{%s}}', (name) => {
    const { [name]: _, ...rest } = complete;
    expect(() => readWorkflow(file(rest))).toThrow(`without {{${name}}} it would not draw what a job asks for`);
  });

  it('is refused with a placeholder that does not exist, naming those that do', () => {
    expect(() => readWorkflow(file({ ...complete, x: '{{negative}}' }))).toThrow(
      /\{\{negative\}\} is no placeholder; these are: \{\{prompt\}\} \{\{seed\}\}/,
    );
  });

  it.each([
    ['{"nodes": [], "links": []}', /format of the editor: export the workflow with "Export \(API\)"/],
    ['{"1": {"inputs": {}}}', /node 1 needs class_type and inputs/],
    ['[]', /one JSON object/],
    ['{', /JSON/],
  ])('is refused in the form %s', (text, message) => {
    expect(() => readWorkflow(text)).toThrow(message);
  });

  it('is a matter of the environment, with the variable and the path', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'workflow-'));
    const path = join(folder, 'w.json');
    await expect(loadWorkflow(path)).rejects.toThrow(EnvError);
    await writeFile(path, '[]');
    await expect(loadWorkflow(path)).rejects.toThrow(`MINER_HTTP_WORKFLOW (${path}): the file must hold`);
    await rm(folder, { recursive: true });
  });
});
