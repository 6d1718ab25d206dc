/**
 * Lets a thread that a test starts load TypeScript sources: `execArgv: ['--conditions=studio-src', '--require', <this file>]`.
 * Not @swc-node/register: terminating a thread in which swc's native code is loaded ends the whole process with a
 * segmentation fault (9 of 9 times, @swc/core 1.16.18, Node 20.20). TypeScript's own compiler is plain JavaScript.
 *
 * What was compiled once is kept by its content: a miner starts its threads anew after every pause, and to load the compiler
 * alone takes a second of a busy machine.
 */
const { createHash, randomUUID } = require('node:crypto');
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const KEPT = join(__dirname, '../../../../.cache/threads');

/** Changing it makes the kept files others'. */
const OPTIONS = {
  module: 'CommonJS',
  target: 'ES2022',
  esModuleInterop: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  useDefineForClassFields: false,
  inlineSourceMap: true,
};

function compile(source, fileName) {
  const ts = require('typescript');
  const compilerOptions = {
    ...OPTIONS,
    module: ts.ModuleKind[OPTIONS.module],
    target: ts.ScriptTarget[OPTIONS.target],
  };
  return ts.transpileModule(source, { compilerOptions, fileName }).outputText;
}

function compiled(fileName) {
  const source = readFileSync(fileName, 'utf8');
  const name = createHash('sha256')
    .update(JSON.stringify([OPTIONS, fileName, source]))
    .digest('hex');
  const path = join(KEPT, `${name}.js`);
  try {
    return readFileSync(path, 'utf8');
  } catch {
    const output = compile(source, fileName);
    // Whole or not at all, whoever else compiles it at the same time.
    const own = `${path}.${randomUUID()}`;
    mkdirSync(KEPT, { recursive: true });
    writeFileSync(own, output);
    renameSync(own, path);
    return output;
  }
}

require.extensions['.ts'] = (module, fileName) => module._compile(compiled(fileName), fileName);
