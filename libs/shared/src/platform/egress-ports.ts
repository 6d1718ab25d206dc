/** Ports as an operator lists them: numbers and ranges, `80,443,1024-65535`. Read once, asked for every request. */
export interface PortList {
  has(port: number): boolean;
}

const MAX_PORT = 65_535;

/** @throws RangeError naming the part that is no port and no range */
export function parsePorts(text: string): PortList {
  const ranges = text.split(',').map((part) => parseRange(part.trim()));
  return { has: (port) => ranges.some(([from, to]) => port >= from && port <= to) };
}

function parseRange(part: string): readonly [from: number, to: number] {
  const [, first = '', last = first] = /^(\d{1,5})(?:\s*-\s*(\d{1,5}))?$/.exec(part) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (first === '' || from < 1 || to > MAX_PORT || from > to)
    throw new RangeError(`${JSON.stringify(part)} is no port and no range from 1 to ${MAX_PORT}`);
  return [from, to];
}
