/** What the API server would refuse. In a process of its own: the types of the API are ES modules, which Jest does not load. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BROKEN = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: unknown-field }
spec:
  replica: 2
  selector: { matchLabels: { a: b } }
  template: { metadata: { labels: { a: b } }, spec: { containers: [{ name: c, image: i }] } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: wrong-type }
spec:
  replicas: two
  selector: { matchLabels: { a: b } }
  template: { metadata: { labels: { a: b } }, spec: { containers: { name: c, image: i } } }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: numbers-in-labels, labels: { version: 1 } }
spec: { maxUnavailable: 1 }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: no-quantity }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 20 Gigabytes } } }
---
apiVersion: batch/v1
kind: Job
metadata: { name: required }
spec: { backoffLimit: 2 }
---
apiVersion: apps/v2
kind: Deployment
metadata: { name: unknown-kind }
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: { name: numbers-for-keda }
spec:
  scaleTargetRef: { name: x }
  maxReplicas: 3
  triggers: [{ type: postgresql, metadata: { query: q, targetQueryValue: 44.8 } }]
`;

describe('the schema', () => {
  const folder = mkdtempSync(join(tmpdir(), 'k8s-check-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  let lines: string;

  beforeAll(() => {
    const file = join(folder, 'broken.yaml');
    writeFileSync(file, BROKEN);
    lines = spawnSync(process.execPath, [join(__dirname, 'run.mjs'), '--file', file], { encoding: 'utf8' }).stderr;
  });

  it.each([
    ['a field that the API does not have', 'Deployment/unknown-field: spec.replica: is no field of the API'],
    ['text for a number', 'Deployment/wrong-type: spec.replicas: has to be a number, is "two"'],
    ['an object for a list', 'Deployment/wrong-type: spec.template.spec.containers: has to be a list'],
    [
      'a number for a label',
      'PodDisruptionBudget/numbers-in-labels: metadata.labels.version: has to be a string, is 1',
    ],
    ['what is no quantity', 'PersistentVolumeClaim/no-quantity: spec.resources.requests.storage'],
    ['what is missing', 'Job/required: spec: must have required property'],
    ['a kind that is not there', 'Deployment/unknown-kind: kind: there is no apps/v2 Deployment'],
    ['a field that KEDA does not have', 'ScaledObject/numbers-for-keda: spec.maxReplicas: is no field of the API'],
    ['a number where KEDA wants text', 'spec.triggers[0].metadata.targetQueryValue: has to be a string, is 44.8'],
  ])('refuses %s', (_what, line) => {
    expect(lines).toContain(line);
  });
});
