// The door that the wire tests ask at: the server itself or, named by WIRE_DOOR, its router inside an axum application
// (examples/host.rs), over HTTP/1 or HTTP/2. Says what of an answer is the door's own and therefore not compared.

import { binary, builtExample } from '../harness/server.mjs';
import { Wire } from '../harness/wire.mjs';
import { BEHAVIOURS, FIELDS, FIELDS_OF_STATUS } from '../embed/exceptions.mjs';
import { Http2Wire } from '../embed/http2.mjs';

/** Status and fields, neither in order nor spelled; without those that are excepted. */
function comparable([line, ...fields]) {
  const status = line.split(' ')[1];
  const excepted = { ...FIELDS, ...FIELDS_OF_STATUS[status] };
  const lower = fields.map((field) => field.replace(/^[^:]*/, (name) => name.toLowerCase()));
  return [status, ...lower.filter((field) => !(field.split(':', 1)[0] in excepted)).sort()];
}

const DOORS = {
  server: {
    program: binary,
    open: (port) => Wire.open(port),
    ordered: true,
    name: (name) => name,
    comparable: (lines) => lines,
    switched: (lines) => lines,
    exceptions: {},
  },
  router: {
    program: builtExample('host'),
    open: (port) => Wire.open(port),
    ordered: false,
    name: (name) => name.toLowerCase(),
    comparable,
    // hyper dates every head.
    switched: (lines) => lines.filter((line) => !/^date:/i.test(line)),
    exceptions: BEHAVIOURS.router,
  },
};
DOORS.http2 = { ...DOORS.router, open: (port) => Http2Wire.open(port), exceptions: BEHAVIOURS.http2 };

export const door = DOORS[process.env.WIRE_DOOR ?? 'server'];
