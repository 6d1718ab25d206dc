import { RegistryEnv, type Variables, readEnv } from '../env';
import { loadHotkey } from '../key-file';
import { RegistryClient } from '../registry-client';
import { say, tell } from './say';

/** Objects to an invalid verdict: the audit is done again, by judges that are free to differ. Repeating it changes nothing. */
export async function appeal(variables: Variables, jobId: string, reason: string): Promise<void> {
  const env = readEnv(RegistryEnv, variables);
  const hotkey = await loadHotkey(env);
  const { filed_at, state } = await new RegistryClient(env.REGISTRY_URL, hotkey).appeal(jobId, reason);
  say(`the appeal against the verdict on job ${jobId} was filed at ${filed_at}`);
  tell(state === 'decided' ? 'it is decided: `status` shows what came of it' : 'what comes of it will be in `status`');
}
