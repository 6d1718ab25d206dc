/**
 * Lets a thread that a test starts load TypeScript sources: `execArgv: ['--conditions=studio-src', '--require', <this file>]`.
 * Not @swc-node/register: terminating a thread in which swc's native code is loaded ends the whole process with a
 * segmentation fault (9 of 9 times, @swc/core 1.16.18, Node 20.20). TypeScript's own compiler is plain JavaScript.
 */
const { readFileSync } = require('node:fs');
const ts = require('typescript');

const compilerOptions = {
  module: ts.ModuleKind.CommonJS,
  target: ts.ScriptTarget.ES2022,
  esModuleInterop: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  useDefineForClassFields: false,
  inlineSourceMap: true,
};

require.extensions['.ts'] = (module, fileName) => {
  const { outputText } = ts.transpileModule(readFileSync(fileName, 'utf8'), { compilerOptions, fileName });
  module._compile(outputText, fileName);
};
