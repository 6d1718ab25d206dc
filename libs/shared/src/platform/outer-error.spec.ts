import { StudioError } from '../domain/errors';
import { outerError } from './outer-error';

describe('an error that leaves a service', () => {
  it('stays itself when it is one of ours', () => {
    const own = new StudioError('NOT_FOUND', 'no such job of yours');
    expect(outerError(own)).toBe(own);
  });

  it.each([
    [Object.assign(new Error('too large'), { statusCode: 413 }), 'BODY_TOO_LARGE'],
    [Object.assign(new Error('Cannot GET /x'), { getStatus: () => 404 }), 'NOT_FOUND'],
    [Object.assign(new Error('x'), { code: '57P01' }), 'DEPENDENCY_DOWN'],
    [Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), 'DEPENDENCY_DOWN'],
    [new Error('Connection terminated unexpectedly'), 'DEPENDENCY_DOWN'],
    [new Error('timeout exceeded when trying to connect'), 'DEPENDENCY_DOWN'],
    [Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' }), 'DEPENDENCY_DOWN'],
  ])('is named for what it is: %s', (error, code) => {
    expect(outerError(error).code).toBe(code);
  });

  it('says when to ask again where that may help', () => {
    expect(outerError(Object.assign(new Error('x'), { code: '57014' })).retryAfterS).toBe(1);
    expect(outerError(new Error('x')).retryAfterS).toBeUndefined();
  });

  it.each([new Error('relation "studio.jobs" does not exist'), 'text', null])('tells nothing internal: %p', (error) => {
    expect(outerError(error).toBody()).toEqual({
      error: { code: 'INTERNAL', message: expect.stringMatching(/^a fault of ours/), fields: [] },
    });
  });
});
