/** fal's training apps take a zip of photographs; training from a single image, it is the one in it. Runs in a worker thread. */
import { unzipSync } from 'fflate';
import { firstLine, refuse, type Checked } from './checked';
import { sniffImage } from './image-format';

/** As large as a photograph that is uploaded by itself. */
const MAX_PHOTO_BYTES = 16 * 1024 * 1024;
/** What an archive may hold beside the photograph: captions, a system's own files. */
const MAX_ENTRIES = 1_000;
/** Of all entries that are unpacked: a check thread holds them at the same time. */
const MAX_UNPACKED_BYTES = 64 * 1024 * 1024;

const ZIP = [0x50, 0x4b, 0x03, 0x04];

export function isZip(bytes: Uint8Array): boolean {
  return ZIP.every((byte, index) => bytes[index] === byte);
}

/** The only picture in a zip; bytes that are none as they are. Reasons complete the sentence "the photograph …". */
export function onlyPhotograph(bytes: Uint8Array): Checked<Uint8Array> {
  if (!isZip(bytes)) return { ok: true, value: bytes };
  try {
    const photographs = Object.values(unzipped(bytes)).filter((file) => sniffImage(file) !== undefined);
    const [photograph] = photographs;
    if (photograph && photographs.length === 1) return { ok: true, value: photograph };
    return refuse(
      `is a zip with ${photographs.length} pictures (PNG, JPEG or WebP) that are read: send one with a single picture`,
    );
  } catch (error) {
    return refuse(`is a zip that cannot be read (${firstLine(error)}): send a whole one, or the picture itself`);
  }
}

/** An entry is given exactly the memory that its header names, and one that names too much is not unpacked at all. */
function unzipped(bytes: Uint8Array): Record<string, Uint8Array> {
  let [entries, unpacked] = [0, 0];
  return unzipSync(bytes, {
    filter: ({ name, originalSize }) => {
      if ((entries += 1) > MAX_ENTRIES) throw new RangeError(`more than ${MAX_ENTRIES} entries`);
      const isTaken = originalSize > 0 && originalSize <= MAX_PHOTO_BYTES && !/(^|\/)(\.|__MACOSX\/)/.test(name);
      if (isTaken && (unpacked += originalSize) > MAX_UNPACKED_BYTES)
        throw new RangeError(`more than ${MAX_UNPACKED_BYTES} bytes unpacked`);
      return isTaken;
    },
  });
}
