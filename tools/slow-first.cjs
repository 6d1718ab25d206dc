const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * What takes a minute begins first, or the last of it would run alone at the end. Jest goes by the times of the last run, and where there was
 * none, by the size of files, which says nothing of a test that waits for an epoch.
 */
const SLOW =
  /\.e2e\.ts$|conformance\/native-checks|canaries\.db|comparators\/functional|fuzz\.spec|fal-door|refusals\.db/;

module.exports = class SlowFirst extends Sequencer {
  sort(tests) {
    const sorted = super.sort(tests);
    return [...sorted.filter(({ path }) => SLOW.test(path)), ...sorted.filter(({ path }) => !SLOW.test(path))];
  }
};
