/**
 * What ComfyUI's answers mean. Facts as of its server.py and execution.py, 2024 to 2026:
 *
 * - 400 to `POST /prompt`: `{error: {type, message, details} | string, node_errors: {<node>: {class_type, errors:
 *   [{type, message, details}]}}}`; `node_errors` is an empty list where no node is to blame.
 * - `GET /history/{id}`: `{}` until it is done, then `{<id>: {outputs: {<node>: {images: [{filename, subfolder, type}]}},
 *   status: {status_str: "success" | "error", completed, messages: [[event, data], …]}}}`. Old versions have no status.
 */
import { quote } from './http-exchange';
import type { PlacedLora } from './lora-folder';

/** Where `GET /view` finds a picture; `type` is `output` (SaveImage) or `temp` (PreviewImage). */
export interface PictureRef {
  filename: string;
  subfolder: string;
  type: string;
}

export type WhatCame = { pictures: PictureRef[] } | { failure: string };

/** Why a workflow was refused, node by node, with what to do about it. */
export function refusal(name: string, body: unknown, lora: PlacedLora): string {
  const { error, node_errors: nodes } = record(body);
  const complaints = Object.entries(record(nodes)).flatMap(([id, node]) =>
    list(record(node).errors).map((fault) => `node ${id} ${text(record(node).class_type)}: ${sentence(fault)}`),
  );
  const all = complaints.length > 0 ? complaints : [typeof error === 'string' ? error : sentence(error)];
  const said = quote(all.join('; '));
  const hint = said.includes(lora.file)
    ? '. It does not find the LoRA: is MINER_HTTP_LORA_DIR one of its folders for LoRA files?'
    : '. Load MINER_HTTP_WORKFLOW in its editor to see what is missing';
  return `${name} refused the workflow: ${said}${hint}`;
}

/** The entry of this prompt in a history, or undefined while it is not done. */
export function readEntry(history: unknown, id: string): WhatCame | undefined {
  const entry = record(history)[id];
  if (entry === undefined) return undefined;
  const { outputs, status } = record(entry);
  if (record(status).status_str === 'error') return { failure: failure(list(record(status).messages)) };
  const pictures = Object.values(record(outputs)).flatMap((output) => list(record(output).images).map(picture));
  return { pictures };
}

function failure(messages: unknown[]): string {
  const last = (event: string) => messages.findLast((message) => list(message)[0] === event);
  const error = last('execution_error');
  if (error) {
    const { node_id: id, node_type: type, exception_type: kind, exception_message: message } = record(list(error)[1]);
    return `failed at node ${text(id)} ${text(type)}: ${quote(`${text(kind)}: ${text(message)}`)}`;
  }
  if (last('execution_interrupted')) return 'was interrupted while it drew: did somebody press cancel in its editor?';
  return 'failed without saying why: see its own log';
}

function picture(value: unknown): PictureRef {
  const { filename, subfolder, type } = record(value);
  return { filename: text(filename), subfolder: text(subfolder), type: text(type) || 'output' };
}

/** `message: details`, as far as there are such. */
function sentence(fault: unknown): string {
  const { message, details } = record(fault);
  return [text(message), text(details)].filter(Boolean).join(': ') || 'no reason given';
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
