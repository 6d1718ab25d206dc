/** A strategy over many epochs: what it did, what it kept. */
import type { Chance } from '../chance';
import { AuditedMiner, epochTime, type Rules } from './audited-miner';
import type { Move, Player, Strategy } from './strategies';

export interface Course extends Rules {
  epochs: number;
  jobsPerEpoch: number;
  /** Share of copies whose original is still remembered. */
  remembered: number;
}

/** In jobs; `kept` and `awarded` in rewards of an honest one. */
export interface Earnings {
  offered: number;
  worked: number;
  cheated: number;
  kept: number;
  awarded: number;
  hotkeys: number;
  quarantines: number;
}

interface Seat {
  miner: AuditedMiner;
  player: Player;
  done: number;
}

export function play(strategy: Strategy, course: Course, chance: Chance): Earnings {
  return new Play(strategy, course, chance).run();
}

class Play {
  private readonly tally = { offered: 0, worked: 0, cheated: 0, hotkeys: 0 };
  private readonly seats: Seat[] = [];
  private readonly past: AuditedMiner[] = [];
  private seat: Seat;

  constructor(
    private readonly strategy: Strategy,
    private readonly course: Course,
    private readonly chance: Chance,
  ) {
    this.seat = this.newSeat();
  }

  run(): Earnings {
    const { epochs, policy } = this.course;
    for (let epoch = 1; epoch <= epochs; epoch += 1) {
      this.offerJobs(epoch);
      this.close(epoch);
    }
    for (let after = 1; after <= policy.finalityEpochs + 1; after += 1) this.close(epochs + after);
    const total = (of: (miner: AuditedMiner) => number): number => this.past.reduce((sum, miner) => sum + of(miner), 0);
    return {
      ...this.tally,
      kept: total(({ kept }) => kept),
      awarded: total(({ awarded }) => awarded),
      quarantines: total(({ quarantines }) => quarantines),
    };
  }

  private newSeat(): Seat {
    this.tally.hotkeys += 1;
    const player = this.strategy.player();
    const miner = new AuditedMiner(`miner-${this.tally.hotkeys}`, this.course, this.chance, (news) =>
      player.settled?.(news),
    );
    const seat = { miner, player, done: 0 };
    this.seats.push(seat);
    this.past.push(miner);
    return seat;
  }

  private offerJobs(epoch: number): void {
    const { jobsPerEpoch, policy } = this.course;
    for (let i = 0; i < jobsPerEpoch; i += 1) {
      const through = (i + this.chance.next()) / jobsPerEpoch;
      this.offer(epoch, through, epochTime(epoch, through, policy));
    }
  }

  private offer(epoch: number, through: number, at: number): void {
    this.tally.offered += 1;
    this.seat.miner.advance(at);
    if (this.seat.miner.isOut(epoch)) {
      if (this.strategy.whenOut === 'wait') return;
      this.seat = this.newSeat();
    }
    let move = this.moveAt(epoch, through);
    if (move === 'renew') {
      this.seat = this.newSeat();
      move = 'work';
    }
    this.do(move, at, epoch);
  }

  private moveAt(epoch: number, through: number): Move {
    const { player, done, miner } = this.seat;
    return player.move({ job: this.tally.offered, through, epoch, done, live: miner.record }, this.chance);
  }

  private do(move: Move, at: number, epoch: number): void {
    if (move === 'skip') return;
    this.seat.done += 1;
    if (move === 'work') this.tally.worked += 1;
    else this.tally.cheated += 1;
    const isRecognised = move === 'copy' && this.chance.happens(this.course.remembered);
    this.seat.miner.file(move === 'work' ? 'right' : isRecognised ? 'recognised-copy' : 'wrong', at, epoch);
  }

  private close(epoch: number): void {
    const { policy } = this.course;
    for (const { miner } of this.seats) miner.close(epoch, epochTime(epoch, 1, policy));
    const live = this.seats.filter((seat) => seat === this.seat || !seat.miner.isOver);
    this.seats.splice(0, this.seats.length, ...live);
  }
}
