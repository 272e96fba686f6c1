// An MCP client of @modelcontextprotocol/client 2.x.
import {
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
  createPrivateKeyJwtAuth,
} from '@modelcontextprotocol/client';

import { drive } from './driver.mjs';

await drive({
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
  createPrivateKeyJwtAuth,
  // This SDK takes the whole answer: it checks iss, and then reports an error.
  async finishAuth(transport, answer) {
    await transport.finishAuth(answer);
  },
});
