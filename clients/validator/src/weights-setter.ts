import type { Clock } from './clock';
import { spoken } from './clock';
import { blockSlot, epochSlot, nextAct, type Act, type Rhythm, type Slot } from './rhythm';
import type { CheckedSnapshot } from './snapshot-check';
import { isPassing, type WeightsTarget } from './weights-target';
import { WeightsState, type GoodWeights } from './weights-state';

/** A sidecar that restarts is back within seconds; one that is gone for an hour need not be asked each second. */
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;

/**
 * How long a vector is held back at most because the log may have a newer one: while old snapshots are read, only the newest
 * counts, and the chain takes a validator's weights only so often.
 */
const READING_MS = 60_000;

export interface SetterOptions {
  target: WeightsTarget;
  rhythm: Rhythm;
  /** Weights older than this are not handed over again. */
  maxAgeEpochs: number;
  /** The chain's block, for a rhythm of blocks. @throws an error that `isPassing` while it cannot be told. */
  block?: () => Promise<number>;
  clock: Clock;
  say: (text: string) => void;
}

type HandOver = Extract<Act, { act: 'hand-over' }>;

/**
 * Hands weights over in their rhythm: each slot once, tried again until the slot ends. What checks out is offered by whoever
 * follows the log; when nothing new comes, the last good vector is handed over again once in every epoch, up to its
 * greatest age. An epoch without scores hands over nothing: the chain keeps what it has.
 */
export class WeightsSetter {
  /** Slot that the target refused or that ran out: not tried again. Forgotten by a restart. */
  private lostSlot: string | null = null;
  private refusedEpoch: number | null = null;
  private toldSlot: string | null = null;
  private readingUntil = 0;
  /** The log was read to its end once: what is missing now is missing. */
  private isRead = false;
  private news = 0;
  private wake: () => void = () => undefined;

  private constructor(
    readonly state: WeightsState,
    private readonly options: SetterOptions,
  ) {}

  static async open(stateDir: string, options: SetterOptions): Promise<WeightsSetter> {
    return new WeightsSetter(await WeightsState.open(stateDir, options.say), options);
  }

  /** A snapshot that was found right. @param at when the log says that it was made. */
  async offer({ weights, miners, epochMs, emptyBecause }: CheckedSnapshot, at: string): Promise<void> {
    const { clock, say, target } = this.options;
    this.readingUntil = clock.now() + READING_MS;
    this.refusedEpoch = null;
    if (emptyBecause !== null) {
      say(`epoch ${weights.epoch}: nothing to set, because ${emptyBecause}; the weights in force stay`);
      await target.nothing(weights);
      await this.state.learnEmpty(weights.epoch);
      return this.wakeUp();
    }
    // Another machine's clock: never from the future, or weights would stay young for ever.
    const closedMs = Math.min(Date.parse(at) || clock.now(), clock.now());
    const shares = miners.map(({ hotkey, weight }) => ({ hotkey, share: weight }));
    await this.state.learn({ weights, shares, epoch: weights.epoch, closedMs, epochMs });
    this.wakeUp();
  }

  /** A snapshot that was not right: the last good weights stay. */
  refuse(epoch: number): void {
    this.refusedEpoch = epoch;
  }

  /** The log has no more: what was offered last is the newest. */
  caughtUp(): void {
    if (this.isRead && this.readingUntil === 0) return;
    this.isRead = true;
    this.readingUntil = 0;
    this.wakeUp();
  }

  /** Until the signal. */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const news = this.news;
      const act = await this.look(signal);
      if (!act || signal.aborted) continue;
      if (act.act === 'wait') this.explain(act);
      else await this.handOver(act, signal);
      const untilMs = act.act === 'wait' ? act.untilMs : 0;
      // Whatever was decided: never round and round without a pause.
      await this.pause(Math.max(untilMs - this.options.clock.now(), FIRST_PAUSE_MS), news, signal);
    }
  }

  /** The work of one slot. @returns whether its weights are handed over, now or before. */
  async once(signal: AbortSignal): Promise<boolean> {
    this.isRead = true;
    const act = nextAct(this.situation(), await this.slot(), this.options.clock.now());
    if (act.act === 'hand-over') return this.handOver(act, signal);
    this.explain(act);
    if (act.because === 'done' && this.lostSlot === null) {
      this.options.say(
        `the weights of epoch ${this.state.doneEpoch} are handed over already: nothing to do before the next`,
      );
      return true;
    }
    return false;
  }

  /** Undefined where it has to be asked again: the block is not known, or the log is still being read. */
  private async look(signal: AbortSignal): Promise<Act | undefined> {
    const { clock, say } = this.options;
    const news = this.news;
    if (this.readingUntil > clock.now()) {
      await this.pause(this.readingUntil - clock.now(), news, signal);
      return undefined;
    }
    try {
      return nextAct(this.situation(), await this.slot(), clock.now());
    } catch (error) {
      if (!isPassing(error)) throw error;
      say(`the block is not known: ${(error as Error).message}; trying again`);
      await this.pause(MAX_PAUSE_MS, news, signal);
      return undefined;
    }
  }

  private situation() {
    const { good, emptyEpoch, doneSlot } = this.state;
    const { maxAgeEpochs } = this.options;
    return { good, emptyEpoch, doneSlot: this.lostSlot ?? doneSlot, maxAgeEpochs };
  }

  private async slot(): Promise<Slot | null> {
    const { rhythm, block, clock } = this.options;
    const { good } = this.state;
    if (rhythm.every === 'epoch') return good && epochSlot(good, clock.now());
    if (!block) throw new TypeError('a rhythm of blocks needs to know the block');
    return blockSlot(await block(), clock.now(), rhythm);
  }

  /** @returns whether the target has the weights. */
  private async handOver({ slot, ageEpochs }: HandOver, signal: AbortSignal): Promise<boolean> {
    const { target, clock, say } = this.options;
    const good = this.state.good!;
    if (this.state.doneEpoch === good.epoch) say(this.again(good, ageEpochs));
    let pause = FIRST_PAUSE_MS;
    for (let tries = 1; this.isNewest(good) && !signal.aborted; tries += 1, pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      const news = this.news;
      const problem = await this.attempt(slot, good);
      if (problem === null) return true;
      const text = `weights of epoch ${good.epoch} are not handed over: ${problem.message}`;
      if (!isPassing(problem) || clock.now() + pause >= slot.untilMs) {
        this.lostSlot = slot.id;
        say(isPassing(problem) ? `${text}. The epoch ends after ${tries} tries; next time in the next one` : text);
        return false;
      }
      if (tries === 1) say(`${text}; trying again until ${new Date(slot.untilMs).toISOString()}, to ${target.name}`);
      await this.pause(pause, news, signal);
    }
    return false;
  }

  /** Null when it went well. @throws what is neither the target's nor the disk's fault. */
  private async attempt(slot: Slot, good: GoodWeights): Promise<Error | null> {
    const { target, clock, say } = this.options;
    try {
      const did = await target.set(good);
      this.lostSlot = null;
      await this.state.finish(slot.id, good.epoch, clock.now());
      say(`weights of epoch ${good.epoch}: ${did}`);
      return null;
    } catch (error) {
      return error as Error;
    }
  }

  private isNewest(good: GoodWeights): boolean {
    return this.state.good === good && (this.state.emptyEpoch ?? 0) <= good.epoch;
  }

  private again({ epoch, closedMs }: GoodWeights, ageEpochs: number): string {
    const why =
      this.refusedEpoch === null
        ? 'the registry has published no newer snapshot, or does not answer'
        : `the snapshot of epoch ${this.refusedEpoch} was refused`;
    const age = `${spoken(this.options.clock.now() - closedMs)} ago (${ageEpochs} epochs)`;
    return `${why}: the last good weights, of epoch ${epoch}, closed ${age}, are handed over again`;
  }

  private explain({ because, ageEpochs }: Extract<Act, { act: 'wait' }>): void {
    const { say, maxAgeEpochs } = this.options;
    const { good } = this.state;
    const told = `${because} ${good?.epoch ?? '-'} ${because === 'too-old' ? ageEpochs : ''}`;
    if (told === this.toldSlot || (because === 'no-weights' && !this.isRead)) return;
    this.toldSlot = told;
    if (because === 'no-weights') say('there are no weights yet: the first snapshot that checks out brings them');
    if (because === 'too-old') {
      say(
        `NO WEIGHTS ARE SET: the last good ones, of epoch ${good?.epoch}, are ${ageEpochs} epochs old, more than ` +
          `--max-age-epochs ${maxAgeEpochs}. See that the registry answers and that its snapshots are not refused`,
      );
    }
  }

  /** @param news what was known before it was decided to pause: if more came since, there is no pause. */
  private async pause(ms: number, news: number, signal: AbortSignal): Promise<void> {
    if (this.news !== news || signal.aborted) return;
    const woken = new AbortController();
    this.wake = () => woken.abort();
    await this.options.clock.wait(ms, AbortSignal.any([signal, woken.signal]));
  }

  private wakeUp(): void {
    this.news += 1;
    this.wake();
  }
}
