/** Where the demo's clients find a system, whether this program started it or a cluster runs it. */
export interface Doors {
  apiUrl: string;
  registryUrl: string;
  registryAdminUrl: string;
  auditorUrl: string;
  /** A client's. */
  apiKey: string;
  /** An operator's. */
  adminKey: string;
  /** Of the checkout, or of the image: the shipped photographs lie below it. */
  root: string;
}
