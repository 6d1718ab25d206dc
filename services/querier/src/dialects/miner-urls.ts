/** Where miners are asked, and where they bring their results. */

export function minerUrl(endpoint: string, path: string): URL {
  return new URL(`${endpoint.replace(/\/+$/, '')}${path}`);
}

export function callbackUrl(publicUrl: string, jobId: string, attemptNo: number): URL {
  return new URL(`${publicUrl.replace(/\/+$/, '')}/miners/callback/${jobId}/${attemptNo}`);
}

/** As it is sent, and signed. */
export function pathOf({ pathname, search }: URL): string {
  return pathname + search;
}
