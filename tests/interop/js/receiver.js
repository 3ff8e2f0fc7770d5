'use strict'
// Receivers of money, each with an SPSP endpoint (RFC 9): ilp-protocol-stream, and @interledger/stream-receiver as
// rafiki has it. GET /total tells what came in all.
const crypto = require('crypto')
const http = require('http')
const https = require('https')
const { createServer } = require('ilp-protocol-stream')
const { StreamServer } = require('@interledger/stream-receiver')
const { deserializeIlpPrepare, serializeIlpReply, isIlpReply } = require('ilp-packet')
const ILDCP = require('ilp-protocol-ildcp')
const { task, plugin, emit, run } = require('./common')

let total = 0n

async function listen (credentials, secretText) {
  const server = task.tls ? https.createServer(task.tls) : http.createServer()
  server.on('request', (request, response) => {
    if (request.url === '/total') return response.end(JSON.stringify({ total: String(total) }))
    const { address, secret } = credentials()
    response.writeHead(200, { 'Content-Type': 'application/spsp4+json', 'Cache-Control': 'no-cache' })
    response.end(JSON.stringify({ destination_account: address, shared_secret: secret.toString(secretText) }))
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  emit({ event: 'ready', port: server.address().port })
}

async function stream () {
  const server = await createServer({ plugin: plugin(task.plugin) })
  server.on('connection', connection => connection.on('stream', each => {
    each.setReceiveMax('9223372036854775807')
    each.on('money', amount => { total += BigInt(amount) })
    each.on('data', chunk => emit({ event: 'data', text: chunk.toString() }))
  }))
  await listen(() => {
    const { destinationAccount, sharedSecret } = server.generateAddressAndSecret()
    return { address: destinationAccount, secret: sharedSecret }
  }, 'base64')
}

async function receiver () {
  const link = plugin(task.plugin)
  let server
  // Before connect: the HTTP plugin opens its own server there.
  link.registerDataHandler(async data => {
    const prepare = deserializeIlpPrepare(data)
    const reply = server.createReply(prepare)
    if (isIlpReply(reply)) return serializeIlpReply(reply)
    total += BigInt(prepare.amount)
    reply.setTotalReceived(total.toString())
    return serializeIlpReply(reply.accept())
  })
  await link.connect()
  const { clientAddress, assetCode, assetScale } = await ILDCP.fetch(data => link.sendData(data))
  server = new StreamServer({ serverSecret: crypto.randomBytes(32), serverAddress: clientAddress })
  await listen(() => {
    const made = server.generateCredentials({ asset: { code: assetCode, scale: assetScale } })
    return { address: made.ilpAddress, secret: made.sharedSecret }
  }, 'base64url')
}

run({ stream, receiver })
