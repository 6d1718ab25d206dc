import type { MinerDialect, MinerOffer, MinerRegistration } from '@studio/shared/contract/miners';
import { refusal } from '@studio/shared/contract/validated';
import type { FieldProblem } from '@studio/shared/domain/errors';
import { findTaskKind } from '@studio/shared/domain/task-kinds';

/**
 * What single fields cannot say: offers that exist, once each, and that the dialect has words for.
 * @throws StudioError INVALID_INPUT naming the offers.
 */
export function requireOffers({ offers, dialect }: Pick<MinerRegistration, 'offers' | 'dialect'>): void {
  const seen = new Set<string>();
  const fields: FieldProblem[] = [];
  offers.forEach((offer, index) => {
    const name = `${offer.kind} on ${offer.engine}`;
    const message = problem(offer, name, dialect, seen.has(name));
    if (message) fields.push({ path: `offers.${index}`, message });
    seen.add(name);
  });
  if (fields.length > 0) throw refusal(fields);
}

function problem({ kind, engine }: MinerOffer, name: string, dialect: MinerDialect, isTwice: boolean): string | null {
  if (!findTaskKind(kind, engine)) return `there is no ${name}`;
  if (dialect === 'dippy' && (kind !== 'lora-inference' || engine !== 'flux')) {
    return `the dialect dippy cannot say ${name}: it has inference on flux only; offer that, or register as native`;
  }
  return isTwice ? `${name} is offered twice: add up its slots` : null;
}
