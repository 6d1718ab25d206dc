import { startS3, type TestS3 } from '@studio/shared/testing/s3';
import { WorkerRig, type Json } from './worker.rig';

jest.setTimeout(60_000);

let s3: TestS3;
let rig: WorkerRig;

beforeAll(async () => {
  s3 = await startS3();
  const { endpoint, region, bucket, accessKeyId, secretAccessKey } = s3.options;
  rig = await WorkerRig.open(
    {},
    {
      ARTIFACTS_DRIVER: 's3',
      S3_ENDPOINT: endpoint,
      S3_PUBLIC_ENDPOINT: endpoint,
      S3_REGION: region,
      S3_BUCKET: bucket,
      S3_ACCESS_KEY_ID: accessKeyId,
      S3_SECRET_ACCESS_KEY: secretAccessKey,
    },
  );
});
afterAll(async () => {
  await rig.close();
  await s3.close();
});

const upload = async (): Promise<{ status: number; body: Json }> => {
  const answer = await fetch(`${rig.api.url}/v1/artifacts`, {
    method: 'POST',
    headers: { authorization: `Key ${rig.client.key}`, 'content-type': 'image/png' },
    body: new Uint8Array(rig.image),
  });
  return { status: answer.status, body: await answer.json() };
};
/** The link that clients and miners get, asked at the api under test. */
const ours = (url: string): string => url.replace('http://studio.test', rig.api.url);

describe('the api over a bucket', () => {
  it('sends whoever has a link of ours on to the bucket, for no longer than the link lives', async () => {
    const { body } = await upload();
    const redirect = await fetch(ours(body.url), { redirect: 'manual' });
    expect(redirect.status).toBe(302);
    expect(redirect.headers.get('cache-control')).toBe('no-store');
    const target = new URL(redirect.headers.get('location')!);
    expect(target.origin).toBe(s3.options.endpoint);
    expect(Number(target.searchParams.get('X-Amz-Expires'))).toBe(300);
    const followed = await fetch(ours(body.url));
    expect(followed.headers.get('content-type')).toBe('image/png');
    expect(Buffer.from(await followed.arrayBuffer())).toEqual(rig.image);
  });

  it('sends nobody on whose link is not ours', async () => {
    const { body } = await upload();
    const refused = await fetch(ours(body.url).replace(/sig=./, 'sig=x'), { redirect: 'manual' });
    expect(refused.status).toBe(403);
  });

  it('is not ready and answers 503 while the bucket is away, and is ready again when it is back', async () => {
    const ready = async () => (await fetch(`${rig.api.url}/health/ready`)).status;
    expect(await ready()).toBe(200);
    await s3.kill();
    expect(await upload()).toMatchObject({ status: 503, body: { error: { code: 'DEPENDENCY_DOWN' } } });
    const answer = await fetch(`${rig.api.url}/health/ready`);
    expect(answer.status).toBe(503);
    expect(JSON.stringify(await answer.json())).toContain('"artifacts":"does not answer"');
    await s3.start();
    expect(await ready()).toBe(200);
    expect((await upload()).status).toBe(201);
  });
});
