/**
 * A workspace in miniature under the real rule files, where a source may break a rule without breaking our own check.
 * It lies inside the repository, so that the installed packages are found by walking up; `.cache/` is ignored by Git.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const repository = resolve(__dirname, '../..');
const RULE_FILES = ['eslint.config.mjs', '.dependency-cruiser.cjs', 'tsconfig.json', 'tsconfig.base.json', 'nx.json'];
const PROJECTS = [
  'libs/shared',
  'engines/ref-sep',
  'services/querier',
  'services/auditor',
  'services/registry',
  'clients/miner',
  'clients/validator',
  'tools/launcher',
];

/** What a tool found in one file: the rule's name and, where the tool has one, the message. */
export interface Finding {
  file: string;
  rule: string;
  message: string;
}

interface LintedFile {
  filePath: string;
  messages: { ruleId: string | null; message: string }[];
}

interface Cruise {
  summary: { violations: { from: string; rule: { name: string } }[] };
}

export class MiniWorkspace {
  private constructor(readonly root: string) {}

  /** @param sources text by path from the root */
  static async create(sources: Record<string, string>): Promise<MiniWorkspace> {
    const cache = join(repository, '.cache');
    await mkdir(cache, { recursive: true });
    const workspace = new MiniWorkspace(await mkdtemp(join(cache, 'rules-')));
    for (const file of ['package.json', ...RULE_FILES]) await workspace.copy(file);
    await mkdir(join(workspace.root, 'node_modules/@studio'), { recursive: true });
    for (const project of PROJECTS) {
      await workspace.copy(`${project}/package.json`);
      const name = project.replace(/.*\//, '');
      await symlink(join(workspace.root, project), join(workspace.root, 'node_modules/@studio', name));
    }
    for (const [file, text] of Object.entries(sources)) await workspace.write(file, text);
    return workspace;
  }

  async lint(): Promise<Finding[]> {
    // The graph goes where ESLint's Nx rule looks for it.
    await this.run('node_modules/nx/dist/bin/nx.js', ['graph', '--file=.nx/graph.json']);
    const linted = await this.run('node_modules/eslint/bin/eslint.js', ['--format=json', '.']);
    return (JSON.parse(linted) as LintedFile[]).flatMap(({ filePath, messages }) =>
      messages.map(({ ruleId, message }) => ({
        file: filePath.slice(this.root.length + 1),
        rule: ruleId ?? 'eslint',
        message,
      })),
    );
  }

  async cruise(): Promise<Finding[]> {
    const folders = [...new Set(PROJECTS.map((project) => project.replace(/\/.*/, '')))];
    const script = 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs';
    const cruised = await this.run(script, ['--output-type=json', ...folders]);
    return (JSON.parse(cruised) as Cruise).summary.violations.map(({ from, rule }) => ({
      file: from,
      rule: rule.name,
      message: '',
    }));
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  private async copy(file: string): Promise<void> {
    await mkdir(dirname(join(this.root, file)), { recursive: true });
    await cp(join(repository, file), join(this.root, file));
  }

  private async write(file: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.root, file)), { recursive: true });
    await writeFile(join(this.root, file), text);
  }

  /** Findings make both tools exit with a status of their own; what counts is that they printed a report. */
  private run(script: string, args: string[]): Promise<string> {
    return new Promise((done, fail) => {
      const options = { cwd: this.root, maxBuffer: 64 * 1024 * 1024 };
      execFile(process.execPath, [join(repository, script), ...args], options, (error, stdout, stderr) => {
        if (error !== null && stdout === '') fail(new Error(stderr, { cause: error }));
        else done(stdout);
      });
    });
  }
}
