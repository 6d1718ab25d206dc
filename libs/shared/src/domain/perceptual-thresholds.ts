/**
 * When two pictures of the same job are the same work, where engines are not bit-equal across machines. Every figure is
 * symmetric: exchanging the pictures changes no decision. What each one caught, on photographs of 64² to 512², is in the
 * table that services/auditor/src/comparators/perceptual.spec.ts prints.
 */
export interface PerceptualThresholds {
  /** Most of the 256 DCT hash's bits that may differ by more than noise. Another picture: 116 and more; JPEG 80: 6 at most. */
  dctDistance: number;
  /** Least structural similarity of the whole. JPEG 80: 0.95 and more. */
  ssim: number;
  /**
   * Least structural similarity of any sixteenth by sixteenth of the picture. A logo of a tenth of the side passes `ssim` and
   * both cosines, and on some photographs the hash; it has 0.35 at most, JPEG 80 0.81 (0.55 in crops of 64 pixels).
   */
  localSsim: number;
  /**
   * Most by which the mean of a colour channel may differ in any eighth by eighth, of 255. The other figures see no colour: a
   * hue turned by 40° passes them all and has 38 and more; JPEG 80 has 5 at most.
   */
  colourDifference: number;
  /** Bounds of the ratio of the two Laplacian fields' energies, either way round. Half size scaled up: 0.08–0.50. */
  laplacianRatioMin: number;
  laplacianRatioMax: number;
  /** Least cosine of the two Laplacian fields. Half size scaled up (linear, cubic) and sharpened: 0.52 at most; JPEG 80: 0.76. */
  laplacianCosine: number;
  /**
   * Mean square of a Laplacian field up to which it is noise: where both have no more, ratio and cosine are not judged. ±1
   * noise adds 6. In soft pictures of up to 43, one JPEG 80 and one with ±1 noise have cosines down to 0.56 and ratios down to
   * 0.48; the softest of the photographs, enlarged 1.7 times, has 85.
   */
  detailFloor: number;
  /**
   * Least cosine of the fields of fourth differences, which look higher up. Half size scaled up by an exact Lanczos kernel and
   * sharpened has a Laplacian cosine of up to 0.74 where the photograph was itself enlarged; here it has 0.33, JPEG 80 0.51.
   */
  fineCosine: number;
  /** As `detailFloor`, for `fineCosine`: of the fourth differences, which are not judged in soft pictures at all. */
  fineFloor: number;
}

/** Measured on photographs; `npm run calibrate` derives others from honest pairs of an engine. */
export const PERCEPTUAL_THRESHOLDS: PerceptualThresholds = {
  dctDistance: 31,
  ssim: 0.9,
  localSsim: 0.5,
  colourDifference: 12,
  laplacianRatioMin: 0.6,
  laplacianRatioMax: 1.6,
  laplacianCosine: 0.65,
  detailFloor: 45,
  fineCosine: 0.37,
  fineFloor: 120,
};
