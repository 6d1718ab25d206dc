import type { MinerRegistration } from '@studio/shared/contract/miners';
import { StudioError, type FieldProblem } from '@studio/shared/domain/errors';
import { findTaskKind } from '@studio/shared/domain/task-kinds';

/**
 * What single fields cannot say: offers that exist, once each.
 * @throws StudioError INVALID_INPUT naming the offers.
 */
export function requireOffers({ offers }: MinerRegistration): void {
  const seen = new Set<string>();
  const fields: FieldProblem[] = [];
  offers.forEach(({ kind, engine }, index) => {
    const offer = `${kind} on ${engine}`;
    if (!findTaskKind(kind, engine)) fields.push({ path: `offers.${index}`, message: `there is no ${offer}` });
    if (seen.has(offer))
      fields.push({ path: `offers.${index}`, message: `${offer} is offered twice: add up its slots` });
    seen.add(offer);
  });
  if (fields.length > 0) {
    throw new StudioError('INVALID_INPUT', fields.map(({ path, message }) => `${path}: ${message}`).join('; '), fields);
  }
}
