// An OpenID Provider in the test's hands. Its pages for development take any name and
// any password. It prints its issuer as soon as it listens, takes what its one client
// is as a line of JSON, says that it is ready, and ends with its input.
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import Provider from 'oidc-provider'

const people = {
  bea: { name: 'Bea Okafor', email: 'bea@example.com', email_verified: true, groups: ['staff'] },
}

const server = createServer()
await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
const issuer = `http://127.0.0.1:${server.address().port}`
console.log(JSON.stringify({ issuer }))

const input = createInterface({ input: process.stdin })
input.on('close', () => process.exit(0))
input.once('line', (line) => {
  const { client_id, client_secret, redirect_uri } = JSON.parse(line)
  const provider = new Provider(issuer, {
    clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
    scopes: ['openid', 'profile', 'email', 'groups'],
    claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'], auth_time: null },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
  })
  server.on('request', provider.callback())
  console.log(JSON.stringify({ issuer, ready: true }))
})
