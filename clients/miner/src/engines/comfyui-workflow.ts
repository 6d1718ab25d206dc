/**
 * A ComfyUI workflow in API format (the menu's "Export (API)"): `{"<node>": {"class_type": …, "inputs": {…}}, …}`, with
 * placeholders where a job's values go. A text that is nothing but a placeholder becomes the value, a number where the
 * value is one: "{{seed}}" becomes 42. Within a longer text it becomes text: "photo of {{prompt}}".
 */
import { readFile } from 'node:fs/promises';
import { EnvError } from '../env';

/** What a job can put into a workflow. `seed`: 0 to 2³² − 1. `lora_name`: the file in the server's LoRA folder. */
export interface WorkflowValues {
  prompt: string;
  seed: number;
  width: number;
  height: number;
  lora_name: string;
  lora_scale: number;
  steps: number;
  guidance: number;
  warp: number;
}

type Name = keyof WorkflowValues;

/** A workflow without one of these would draw something else than was asked for: an audit would find it out. */
const NEEDED: readonly Name[] = ['prompt', 'seed', 'width', 'height', 'lora_name', 'lora_scale'];
const OPTIONAL: readonly Name[] = ['steps', 'guidance', 'warp'];
const NAMES: readonly string[] = [...NEEDED, ...OPTIONAL];

export interface WorkflowNode {
  class_type: string;
  inputs: Record<string, unknown>;
}

export type Workflow = Readonly<Record<string, WorkflowNode>>;

const PLACEHOLDER = /\{\{\s*(\w+)\s*\}\}/g;
const ONLY_PLACEHOLDER = /^\{\{\s*(\w+)\s*\}\}$/;

/** @throws EnvError naming what is wrong with the file. */
export async function loadWorkflow(path: string): Promise<Workflow> {
  try {
    return readWorkflow(await readFile(path, 'utf8'));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EnvError(`MINER_HTTP_WORKFLOW (${path}): ${why}`, { cause: error });
  }
}

/** @throws Error naming what is wrong. */
export function readWorkflow(text: string): Workflow {
  const workflow: unknown = JSON.parse(text);
  if (!isRecord(workflow)) throw new Error('the file must hold one JSON object');
  if (Array.isArray(workflow.nodes))
    throw new Error('this is the format of the editor: export the workflow with "Export (API)"');
  for (const [id, node] of Object.entries(workflow)) {
    if (!isRecord(node) || typeof node.class_type !== 'string' || !isRecord(node.inputs))
      throw new Error(`node ${id} needs class_type and inputs: export the workflow with "Export (API)"`);
  }
  const used = new Set(placeholders(Object.values(workflow).map((node) => (node as WorkflowNode).inputs)));
  const unknown = [...used].filter((name) => !NAMES.includes(name));
  if (unknown.length > 0)
    throw new Error(`{{${unknown[0]}}} is no placeholder; these are: ${NAMES.map((name) => `{{${name}}}`).join(' ')}`);
  const missing = NEEDED.filter((name) => !used.has(name));
  if (missing.length > 0)
    throw new Error(`without ${missing.map((name) => `{{${name}}}`).join(' ')} it would not draw what a job asks for`);
  return workflow as Workflow;
}

/** Only inputs are filled, and each value once: a prompt that reads "{{seed}}" stays as it is. */
export function fillWorkflow(workflow: Workflow, values: WorkflowValues): Workflow {
  return Object.fromEntries(
    Object.entries(workflow).map(([id, node]) => [id, { ...node, inputs: fill(node.inputs, values) as never }]),
  );
}

function fill(value: unknown, values: WorkflowValues): unknown {
  if (typeof value === 'string') {
    const only = ONLY_PLACEHOLDER.exec(value)?.[1];
    if (only !== undefined) return values[only as Name];
    return value.replace(PLACEHOLDER, (_, name: Name) => String(values[name]));
  }
  if (Array.isArray(value)) return value.map((item) => fill(item, values));
  if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, values)]));
  return value;
}

function placeholders(value: unknown): string[] {
  if (typeof value === 'string') return [...value.matchAll(PLACEHOLDER)].map(([, name]) => name!);
  if (Array.isArray(value)) return value.flatMap(placeholders);
  return isRecord(value) ? Object.values(value).flatMap(placeholders) : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
