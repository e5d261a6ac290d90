// All that the router inside an application has otherwise than the server on the wire, and why. There the connection is
// hyper's: it orders and spells fields, and gives the reason in a status line.

/** Fields that are not compared. */
export const FIELDS = {
  connection: 'hyper decides whether the connection goes on',
  'keep-alive': 'as above',
  'transfer-encoding': 'how a body is framed is the business of whoever writes the connection',
};

/** Fields that are not compared in answers of one status. */
export const FIELDS_OF_STATUS = {
  304: { 'content-length': 'hyper leaves it out where no body can follow' },
};

const PAGE = { reason: 'what is read from the history at once is one piece of the body', failure: /one chunk each/ };
const WORKER = { reason: 'those who subscribe without HTTP count as one more worker', failure: /one worker/ };

/** Behaviours of compat-tests/wire by name, each with the failure it has to end in: what differs no longer is found. */
export const BEHAVIOURS = {
  router: {
    'a message is one chunk': PAGE,
    'the summary has a row for each worker': WORKER,
    'a body that is refused ends the connection': { reason: 'what is left of it is read, the connection goes on', failure: /it is closed/ },
  },
  http2: {
    'a message is one chunk': PAGE,
    'the summary has a row for each worker': WORKER,
    'a body that is refused ends the connection': { reason: 'it ends the stream', failure: /it is closed/ },
    'Expect: 100-continue is answered before the body': {
      reason: 'hyper tells no client of HTTP/2 to go on; they need not be told', failure: /it is told to go on/,
    },
    'the end of an answer to HTTP/1.0 is that of its connection': { reason: 'HTTP/2 has no version 1.0', failure: /it ends/ },
  },
};
