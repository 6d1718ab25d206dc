/**
 * Fields that the API server does not know, and values that it refuses. Two sources: the types of `@kubernetes/client-node` know
 * every field, the schemas of `kubernetes-models` know what is required, which words are allowed and how a quantity is written.
 */
import { createRequire } from 'node:module';
import { CUSTOM_KINDS, type FieldType } from './custom-kinds';
import { problem, type Problem, type Resource } from './resource';

interface ModelClass {
  getAttributeTypeMap(): { baseName: string; type: string }[];
}
type Models = Record<string, ModelClass>;

const load = createRequire(__filename);

export type SchemaRule = (resources: readonly Resource[]) => Problem[];

export async function schemaRule(): Promise<SchemaRule> {
  const models = (await import('@kubernetes/client-node/dist/gen/models/all.js')) as unknown as Models;
  return (resources) => resources.flatMap((resource) => schemaProblems(resource, models));
}

function schemaProblems(resource: Resource, models: Models): Problem[] {
  const custom = CUSTOM_KINDS[`${resource.apiVersion} ${resource.kind}`];
  if (custom) return customProblems(resource, custom, resource, '');
  const type = `${versionOf(resource)}${resource.kind}`;
  if (!models[type]) {
    return [problem(resource, 'kind', `there is no ${resource.apiVersion} ${resource.kind}: correct it`)];
  }
  return [...fieldProblems(resource, type, resource, '', models), ...valueProblems(resource)];
}

/** `apps/v1` → `V1`, as the classes are called. */
function versionOf({ apiVersion }: Resource): string {
  const version = apiVersion.split('/').at(-1) ?? '';
  return version.charAt(0).toUpperCase() + version.slice(1);
}

/** Walks a value along its type. */
function fieldProblems(resource: Resource, type: string, value: unknown, path: string, models: Models): Problem[] {
  if (value === undefined || value === null) return [];
  const [, item] = /^(?:Array|Set)<(.+)>$/.exec(type) ?? [];
  if (item !== undefined) {
    if (!Array.isArray(value)) return [problem(resource, path, `has to be a list, is ${shown(value)}`)];
    return value.flatMap((each, at) => fieldProblems(resource, item, each, `${path}[${at}]`, models));
  }
  const [, entry] = /^\{ \[key: string\]: (.+); \}$/.exec(type) ?? [];
  if (entry !== undefined) {
    if (!isObject(value)) return [problem(resource, path, `has to be a map, is ${shown(value)}`)];
    return Object.entries(value).flatMap(([key, each]) =>
      fieldProblems(resource, entry, each, join(path, key), models),
    );
  }
  const model = models[type];
  if (!model) return scalarProblems(resource, type, value, path);
  if (!isObject(value)) return [problem(resource, path, `has to be an object, is ${shown(value)}`)];
  const types = new Map(model.getAttributeTypeMap().map(({ baseName, type: of }) => [baseName, of]));
  return Object.entries(value).flatMap(([key, each]) => {
    const of = types.get(key);
    return of === undefined
      ? [problem(resource, join(path, key), 'is no field of the API: remove it or correct its name')]
      : fieldProblems(resource, of, each, join(path, key), models);
  });
}

const SCALARS: Record<string, (value: unknown) => boolean> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  IntOrString: (value) => typeof value === 'number' || typeof value === 'string',
};

function scalarProblems(resource: Resource, type: string, value: unknown, path: string): Problem[] {
  const accepts = SCALARS[type];
  if (!accepts || accepts(value)) return [];
  return [problem(resource, path, `has to be a ${type}, is ${shown(value)}`)];
}

interface Validated {
  validate(): void;
}

/** Required fields, words, quantities. */
function valueProblems(resource: Resource): Problem[] {
  const { apiVersion, kind } = resource;
  try {
    const name = `kubernetes-models/${apiVersion}/${kind}`;
    const found = load(name) as Record<string, new (data: Resource) => Validated>;
    const Model = found[kind];
    if (Model) new Model(resource).validate();
    return [];
  } catch (error) {
    const { errors, message } = error as { errors?: { instancePath: string; message: string }[]; message: string };
    if (!errors) return [problem(resource, 'kind', message)];
    return errors.map((each) => problem(resource, each.instancePath.replaceAll('/', '.').slice(1), each.message));
  }
}

/** For kinds that an operator of ours brings along. */
function customProblems(resource: Resource, type: FieldType, value: unknown, path: string): Problem[] {
  if (type === 'any') return [];
  if (typeof type === 'string') return scalarProblems(resource, type, value, path);
  if (Array.isArray(type)) {
    if (!Array.isArray(value)) return [problem(resource, path, `has to be a list, is ${shown(value)}`)];
    return value.flatMap((each, at) => customProblems(resource, type[0], each, `${path}[${at}]`));
  }
  if (!isObject(value)) return [problem(resource, path, `has to be an object, is ${shown(value)}`)];
  const missing = Object.keys(type).filter((key) => !key.endsWith('?') && !(key in value));
  return [
    ...missing.map((key) => problem(resource, join(path, key), 'is required: add it')),
    ...Object.entries(value).flatMap(([key, each]) => {
      const of = type[key] ?? type[`${key}?`];
      return of === undefined
        ? [problem(resource, join(path, key), 'is no field of the API: remove it or correct its name')]
        : customProblems(resource, of, each, join(path, key));
    }),
  ];
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const shown = (value: unknown): string => JSON.stringify(value);
