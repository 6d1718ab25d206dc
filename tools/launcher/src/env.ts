/** Servers that the user runs already: `npm start` uses them instead of its own. */
export interface ServerUrls {
  postgres?: string;
  nats?: string;
  redis?: string;
}

export function serverUrls(): ServerUrls {
  return {
    postgres: process.env.STUDIO_POSTGRES_URL || undefined,
    nats: process.env.STUDIO_NATS_URL || undefined,
    redis: process.env.STUDIO_REDIS_URL || undefined,
  };
}
