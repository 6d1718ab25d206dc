/**
 * A self-signed certificate for localhost and 127.0.0.1, valid for a hundred years, and its key. Nobody trusts it but a
 * test that names it, and the key opens nothing: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1
 * -nodes -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
 */
export const TEST_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUfNphQ1QBxjhipxVJcv9DQPi+eL4wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjIxMzQ1NloYDzIxMjYxMDI5
MjEzNDU2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASIY07rLlB5Q4Iu54bGz6HZo2T4HDoMZHwRNN5E/ybNZdL+EipDzvZK
aRzaT8Gay4SMsSxjmTI8TlX2odv58IKfo28wbTAdBgNVHQ4EFgQU5iPiQBzSwoUp
wygPp3rVmqiW+HEwHwYDVR0jBBgwFoAU5iPiQBzSwoUpwygPp3rVmqiW+HEwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgcdqN/b7d5RcAnjyARV39otGbr4Dnh6JlUjdZrB3vnEMCIQDt
5wJBxAYeM5op5ZNWUNB/hDUj5O6gHmFAv476zs6yZw==
-----END CERTIFICATE-----
`;

export const TEST_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxr+Bc0f5FL1VRFr8
NfNaToK4mX4+V1vPSUQWOjn9bBehRANCAASIY07rLlB5Q4Iu54bGz6HZo2T4HDoM
ZHwRNN5E/ybNZdL+EipDzvZKaRzaT8Gay4SMsSxjmTI8TlX2odv58IKf
-----END PRIVATE KEY-----
`;
