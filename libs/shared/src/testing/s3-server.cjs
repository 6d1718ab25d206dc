/**
 * An S3 server as a process of its own: `node s3-server.cjs DIR BUCKET [PORT]` prints its port once it listens.
 *
 * s3rver speaks the protocol (signature 4, presigned links, XML errors). Two things it does not do as S3 does, and they are done in front
 * of it: a PUT that breaks off, or has another checksum than was sent with it, is stored there; and it computes another
 * signature for `/bucket/` than the SDK signs, so listing is let through without one.
 */
const { createHash } = require('node:crypto');
const http = require('node:http');
const S3rver = require('@20minutes/s3rver');

const [directory, bucket, port = '0'] = process.argv.slice(2);

function refuse(response, code) {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  response.writeHead(400, { 'content-type': 'application/xml', 'content-length': body.length }).end(body);
}

/** Undefined when the sender went away before the end. */
function wholeBody(request) {
  return new Promise((resolve) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('close', () => resolve(undefined));
  });
}

function hasItsChecksum(body, { 'x-amz-checksum-sha256': sent }) {
  return sent === undefined || createHash('sha256').update(body).digest('base64') === sent;
}

function forward(to, { method, url, headers }, body, response) {
  const listing = url.includes('list-type=2');
  const { authorization: _, ...anonymous } = headers;
  const options = { host: '127.0.0.1', port: to, method, path: url, headers: listing ? anonymous : headers };
  const onward = http.request(options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  onward.end(body);
}

async function main() {
  const inner = await new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory,
    vhostBuckets: false,
    configureBuckets: bucket ? [{ name: bucket }] : [],
  }).run();
  const front = http.createServer(async (request, response) => {
    const body = await wholeBody(request);
    if (body === undefined) return;
    if (hasItsChecksum(body, request.headers)) forward(inner.port, request, body, response);
    else refuse(response, 'BadDigest');
  });
  front.listen(Number(port), '127.0.0.1', () => process.stdout.write(`${front.address().port}\n`));
}

// The parent holds our standard input: we end with it, however it ends.
process.stdin.on('end', () => process.exit(0)).resume();
void main();
