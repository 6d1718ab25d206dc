/** Files that clients hand in before a job names them. */
import type { UploadView } from '@studio/shared/contract/job-view';
import { StudioError } from '@studio/shared/domain/errors';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import type { ArtifactRows } from './artifact.store';
import type { CheckPool } from './checks/check-pool';
import { isZip } from './checks/archive';
import { sniffImage } from './checks/image-format';
import type { JobViews } from './job-view';
import { LORA_TYPE } from './result-intake';

export const MAX_IMAGE_UPLOAD = 16 * 1024 * 1024;
/** Read into memory to be checked; the adapters of ref-sep-v1 have some ten kB. */
export const MAX_LORA_UPLOAD = 64 * 1024 * 1024;

/** A LoRA of rank 16 for flux has 90 MB. Checking one of this size takes three times as much memory for some seconds. */
export const MAX_MULTIPART_UPLOAD = 128 * 1024 * 1024;

export class Uploads {
  constructor(
    private readonly artifacts: ArtifactStore,
    private readonly rows: ArtifactRows,
    private readonly checks: CheckPool,
    private readonly views: JobViews,
  ) {}

  /**
   * The bytes decide what it is, not the declared type.
   * @throws StudioError MALFORMED_BODY, BODY_TOO_LARGE, IMAGE_UNREADABLE, LORA_UNREADABLE
   */
  async add(body: unknown, declared: string | undefined): Promise<UploadView> {
    if (!Buffer.isBuffer(body) || body.byteLength === 0) {
      throw new StudioError(
        'MALFORMED_BODY',
        'send the file itself as the body, as image/* or application/octet-stream',
      );
    }
    if (isZip(body)) return this.addPhotograph(body, 'application/zip');
    const format = sniffImage(body);
    return format || declared?.startsWith('image/') ? this.addPhotograph(body, `image/${format}`) : this.addLora(body);
  }

  private async addPhotograph(bytes: Buffer, contentType: string): Promise<UploadView> {
    if (bytes.byteLength > MAX_IMAGE_UPLOAD) {
      throw new StudioError(
        'BODY_TOO_LARGE',
        `the photograph is larger than ${MAX_IMAGE_UPLOAD} bytes: send a smaller one`,
      );
    }
    const problem = await this.checks.photographUpload(bytes);
    if (problem) throw new StudioError('IMAGE_UNREADABLE', `the photograph ${problem}`);
    return this.store(bytes, contentType, {});
  }

  private async addLora(bytes: Buffer): Promise<UploadView> {
    const checked = await this.checks.loraUpload(bytes);
    if (!checked.ok) throw new StudioError('LORA_UNREADABLE', `the LoRA cannot be used: ${checked.reason}`);
    return this.store(bytes, LORA_TYPE, { ...checked.value });
  }

  private async store(bytes: Buffer, contentType: string, facts: Record<string, unknown>): Promise<UploadView> {
    const ref = await this.artifacts.put(bytes, { contentType, maxBytes: bytes.byteLength });
    await this.rows.add({ ...ref, facts });
    return this.views.file(ref);
  }
}
