// An MCP client of @modelcontextprotocol/sdk 1.x.
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { ClientCredentialsProvider, PrivateKeyJwtProvider, createPrivateKeyJwtAuth } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { CallbackError, drive } from './driver.mjs';

await drive({
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
  createPrivateKeyJwtAuth,
  // This SDK takes the code alone: an error is the application's to notice, and
  // nobody looks at iss.
  async finishAuth(transport, answer) {
    if (answer.has('error')) {
      throw new CallbackError(answer.get('error'));
    }
    await transport.finishAuth(answer.get('code'));
  },
});
