/** Virtual time: what is to happen when. Of events at one time the one that was planned first comes first. */
interface Event {
  atMs: number;
  order: number;
  run: () => Promise<void> | void;
}

export class EventQueue {
  nowMs: number;
  private readonly heap: Event[] = [];
  private planned = 0;

  constructor(startMs: number) {
    this.nowMs = startMs;
  }

  in(ms: number, run: Event['run']): void {
    this.heap.push({ atMs: this.nowMs + ms, order: (this.planned += 1), run });
    this.rise(this.heap.length - 1);
  }

  /** Runs what comes before `endMs`, each event to its end before the next. */
  async runUntil(endMs: number): Promise<void> {
    for (let event = this.heap[0]; event && event.atMs <= endMs; event = this.heap[0]) {
      this.removeFirst();
      this.nowMs = event.atMs;
      await event.run();
    }
    this.nowMs = endMs;
  }

  private removeFirst(): void {
    const last = this.heap.pop();
    if (!last || this.heap.length === 0) return;
    this.heap[0] = last;
    this.sink(0);
  }

  private rise(at: number): void {
    const parent = (at - 1) >> 1;
    if (at === 0 || !this.isBefore(at, parent)) return;
    this.swap(at, parent);
    this.rise(parent);
  }

  private sink(at: number): void {
    let first = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      if (child < this.heap.length && this.isBefore(child, first)) first = child;
    }
    if (first === at) return;
    this.swap(at, first);
    this.sink(first);
  }

  private isBefore(one: number, other: number): boolean {
    const [a, b] = [this.heap[one]!, this.heap[other]!];
    return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
  }

  private swap(one: number, other: number): void {
    [this.heap[one], this.heap[other]] = [this.heap[other]!, this.heap[one]!];
  }
}
