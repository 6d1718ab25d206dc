/**
 * fast-check as the tests see it: with one seed, so that a run of all tests is the same run every time and a change is blamed only
 * for what it changed. A counterexample that this seed does not meet is looked for with another one, by hand and before a release.
 */
const fastCheck = require('../node_modules/fast-check/lib/cjs/fast-check.js');

/** Any number. */
const SEED = 20_260_101;
fastCheck.configureGlobal({ seed: Number(process.env.FAST_CHECK_SEED ?? SEED) });

module.exports = fastCheck;
