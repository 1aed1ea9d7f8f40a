// The health check of the containers: asks the service in this one whether it is ready, prints the answer, which then shows in
// `docker inspect`, and ends with 0 or 1. A plain script without dependencies, because it is started every few seconds.
import { get } from 'node:http';

const [, host = '127.0.0.1', port = ''] = /^(?:\[?(.*?)\]?:)?(\d+)$/.exec(process.env.FLOWHERD_HTTP ?? '') ?? [];
const isAnyAddress = host === '0.0.0.0' || host === '::';

const fail = (reason) => {
  process.stdout.write(`${reason}\n`);
  process.exitCode = 1;
};

if (port === '') fail('FLOWHERD_HTTP names no address to ask');
else {
  const request = get({ host: isAnyAddress ? '127.0.0.1' : host, port, path: '/readyz', timeout: 3_000 }, (response) => {
    process.exitCode = response.statusCode === 200 ? 0 : 1;
    response.pipe(process.stdout);
  });
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.on('error', (error) => fail(error.message));
}
