import { firstAlternatives } from './debian-packages';

const listing = `redis-tools
  Depends: libatomic1
  Depends: libc6
  Depends: adduser
 |Depends: libsystemd0
  Depends: libelogind0
 |Depends: libfirst
  Depends: libsecond
  PreDepends: libearly
`;

describe('firstAlternatives', () => {
  it('takes the libraries that are not installed, the first of each choice, and nothing else', () => {
    expect(firstAlternatives(listing, new Set(['libc6', 'libelogind0']))).toEqual([
      'libatomic1',
      'libfirst',
      'libearly',
    ]);
  });

  it('takes nothing when everything is installed', () => {
    const installed = new Set(['libatomic1', 'libc6', 'libsystemd0', 'libsecond', 'libearly']);
    expect(firstAlternatives(listing, installed)).toEqual([]);
  });
});
